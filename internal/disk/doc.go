// Package disk holds the small things that processes of ours tell each other by:
// locks on side files, small files replaced at once, and notice of another
// connection's commit.
package disk
