// Package checkup looks at a SQLite file and its machine from outside, and collects
// what it finds, for `tidemark doctor`.
package checkup
