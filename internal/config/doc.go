// Package config reads tidemark.yaml: how the hub and the edges run, and the
// rules of each table.
//
// Reading is strict. Every fault is reported at once, with its line and its path
// in the file, and names that look like a known one say so:
//
//	line 12: tables.orders.columns.total.policy: unknown policy "lates"; did you mean "latest"?
//
// Parse and Validate judge the file alone. ValidateAgainst judges the rules
// against the tables they are for. The keys, their defaults and their ranges are
// one table (keys.go), from which Reference writes the page for people.
package config
