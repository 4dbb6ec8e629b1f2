// Package pgtest gives tests a real PostgreSQL, a pgbouncer in front of it, and a
// real Redis: started on the first use in a test binary, in memory, reached by
// sockets of the loopback interface and the file system only, and gone with the
// test binary. scripts/setup installs the programs.
package pgtest
