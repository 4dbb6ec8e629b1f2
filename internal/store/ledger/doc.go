// Package ledger is what a hub's store keeps beside the user's tables, as far as it
// is the same in every database: the words of the change log, which tables sync and
// how their rows get a scope, what a changed schema does to what was written before,
// the journal's batches, lives, and digests that are remembered.
//
// Nothing here speaks SQL or knows a connection. The stores ask their database, hand
// over what it said, and write what they are told.
package ledger
