// Package storetest is the contract of hub.Store in executable form: every
// database that a hub can stand on must pass Run.
package storetest
