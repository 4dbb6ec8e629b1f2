// Package proposal reads an application's SQLite file and proposes a
// tidemark.yaml for it: which tables can sync, by which rows they could be divided
// into scopes, what stands in the way and how to fix it.
//
// Read only looks: it never writes to the file. What it proposes is valid
// (config.ValidateAgainst finds no fault) and closed under foreign keys: a device
// that gets a row gets the rows it points at. Where the data itself shows rows
// that point across scopes, the parent table is proposed for reference.
package proposal
