// Package run holds the services at an edge: the agent beside files, and single
// runs that join, sync, verify or detach one. Here, and in serve for the hub, the
// rooms meet goroutines, timers and sockets. An application has this room in its own
// process, so it must not look at the hub's side.
//
// Each service has one shape: a Config, New, Start, Stop (safe twice), Status.
// The services end when their context ends; what they were doing is either
// committed or undone by SQLite, never half.
//
// Beside an edge's file APP.db there is one directory, APP.db-tidemark/:
//
//	agent.json     the hub's address and pin, the device's name
//	device.key     the device's private key
//	status.json    what the agent last said of itself
//	lock           held while an agent or a sync run works on the file
package run
