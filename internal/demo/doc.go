// Package demo tells what Tidemark does, in under a minute and for real: a hub,
// two branches of a clinic chain, applications that write plain SQL, and a
// network that is cut while both branches work on.
//
// Everything is what a person at a terminal would do. The hub, the agents and
// every verb are this very binary, started as processes of their own; the
// applications are the sqlite3 shell; the network is a cable.Link, a small TCP relay
// between the branches and the hub that can be cut. No number on the screen is
// written down beforehand: each is read from the files or from the verbs' JSON,
// and each claim is checked before it is shown. A claim that is not true ends the
// demo with an error.
package demo
