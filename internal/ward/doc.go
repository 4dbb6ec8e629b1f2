// Package ward runs the servers that tests need as real processes, and sees to it
// that none outlives the tests: a watchdog process holds the other end of a pipe,
// and when the test binary is gone, however it went, it ends the servers that are
// still running and removes their directory.
package ward
