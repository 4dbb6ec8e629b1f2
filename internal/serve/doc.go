// Package serve is the hub as a service: it listens, lets devices in, wakes their
// sessions when the database changed, and looks after it. Its neighbour is run, the
// service at an edge; neither knows the other.
//
// A hub is one directory:
//
//	hub.db         the synced tables, and Tidemark's own beside them
//	tidemark.yaml  the configuration in force
//	tls/           the hub's certificate and key
//	parcel.key     opens sealed outboxes
//	seal.key       the hub's mark on the cursors it gives out
//	lineage.json   how far hub.db went when the hub last served it
//	endpoint.json  where it listens, and the pin of its certificate
//	lock           held while a hub serves
//
// Any number of processes may open it as an Office, for administration; one at a
// time serves it as a Hub.
//
// Instead of hub.db there may be a PostgreSQL database (a base is either). That one any
// number of hubs serve at once, each with a directory of its own and the same keys. They
// tell one another over the vine what the change log does not show, and one at a time
// has the duty of the chores.
package serve
