// Package run holds the long-lived services: the hub that serves, the agent
// beside files, and one sync run for cron. Here, and only here, the rooms meet
// goroutines, timers, sockets and signals.
//
// Each service has one shape: a Config, New, Start, Stop (safe twice), Status.
// The services end when their context ends; what they were doing is either
// committed or undone by SQLite, never half.
//
// On disk, a hub is one directory:
//
//	hub.db         the synced tables, and Tidemark's own beside them
//	tidemark.yaml  the configuration in force
//	tls/           the hub's certificate and key
//	endpoint.json  where it listens, and the pin of its certificate
//	lock           held while a hub serves
//
// and beside an edge's file APP.db there is one directory, APP.db-tidemark/:
//
//	agent.json     the hub's address and pin, the device's name
//	device.key     the device's private key
//	status.json    what the agent last said of itself
//	lock           held while an agent or a sync run works on the file
package run
