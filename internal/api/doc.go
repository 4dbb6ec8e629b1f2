// Package api is the hub's front door for people: the service of admin.proto over one
// TLS listener, and the console's pages beside it. The browser, scripts with curl and the
// command line all come through here.
//
//	door.go       what HTTP must look like: headers, sizes, origins, the console's files
//	guard.go      before each method: who asks, may they, is it them; after it: the audit
//	service.go    what the methods work with
//	entrance.go, people.go, fleet.go, conflicts.go, quarantine.go, data.go: the methods
//	watch.go      the event stream
//	local.go      the same service without a network, for the hub's own machine
//	dial.go       the same service across one
//	cert.go       the listener's certificate
//
// A method says in admin.proto who may call it and whether it writes; what says nothing
// is refused. Whatever writes is put down in the audit, also when it was refused.
package api
