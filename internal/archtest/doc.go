// Package archtest holds the house plan as a test: which room may import which.
// It reads the sources with go/parser instead of asking `go list`, whose cached
// test results would hide a new violation.
package archtest
