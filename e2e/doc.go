// Package e2e tests the built binary as its users run it: real processes, real
// files, real sockets, other programs writing plain SQL, kill -9, full disks,
// cut networks, and a database nobody here wrote.
package e2e
