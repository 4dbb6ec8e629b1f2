// Command bench measures Tidemark, and prints one table: what each thing costs
// beside a ceiling or a ruler measured in the same run.
//
// A ceiling is the same work without Tidemark: the same rows written without
// capture, or upserted raw. The ruler is the least that could be called sync:
// SQLite session changesets over plain HTTP, without conflicts, scopes, TLS or
// crash safety. Milliseconds depend on the machine, ratios much less, so every
// target is a ratio; the two sides of a ratio take turns, and medians of several
// rounds are compared.
//
// Server and client of a workload are separate processes (the program starts
// itself again), so that the CPU time and memory of each can be told apart.
//
// With the hub on PostgreSQL the program starts a server of its own, with fsync, on the
// disk that is measured, and the CPU time of all its processes counts to the hub's side.
// Of PostgreSQL's lines, capture's are CPU time of the one backend that writes. That no
// change is ever skipped has no line: it is a test, TestTrapP1 of the store.
//
// A missed target is marked MISS and does not fail the run. Wrong content does:
// after each workload the rows on both sides must be the same.
package main
