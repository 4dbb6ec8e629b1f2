// Package parcel is the sealed outbox: work that a device could not hand in, in one
// file that travels by other means than the network. It is encrypted to the hub's
// key, so that whoever carries it learns nothing, and signed with the device's own,
// so that the hub knows whose work it is.
//
// A Writer packs transactions, an Open verifies all of a file before it gives out
// the first of them: checksum, seal, completeness, signature. FORMAT.md has the bytes.
// What the transactions do is decided by the hub's ingest, as for any push.
package parcel
