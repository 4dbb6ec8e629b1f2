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
package sim
