// Package sim runs the real core (edge engines and sessions, hub, store) over
// real SQLite files in one goroutine, on a virtual clock and a virtual network,
// with faults drawn from a seed, and checks the invariants of ARCHITECTURE.md
// after every history.
//
// One seed is one history: two runs give one trace. What is random inside SQLite
// (row ids of the capture log, nonces of the change log) is compared for equality
// only and never enters the trace.
//
// A history is a few hundred steps, each drawn from a weighted list: an
// application commits a transaction at an edge, another program writes plain SQL at the
// hub, a message is delivered, a link is cut with messages under way, messages of an
// ended session arrive late, an edge or the hub crashes in the middle of a call,
// clocks jump, weeks pass, the log is pruned, scopes are granted and revoked,
// parked transactions are retried and discarded. Hard histories come in families,
// which each seed draws: a site's file is copied and both copies go on, the hub is put
// back from a copy and its operator says why or does not, tables change at the hub or
// at a site first, numbers and stock are handed out, a site dies and its sealed outbox
// is carried to the hub. Then the network comes back,
// everything is delivered, and the world is compared with what the oracle kept.
//
// The hub's database is a SQLite file, or one on a PostgreSQL server, see TestSeedsPostgres:
// then two or three processes may serve it, which are told late of what the others do, other
// programs keep transactions open or commit in the middle of the hub's, connections are
// cut, the server is killed, and its whole disk is put back. The server's clock is the
// virtual one; the transaction numbers that it gives out are its own, and no oracle
// knows them.
package sim
