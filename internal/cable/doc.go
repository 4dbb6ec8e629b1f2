// Package cable is a network that can be cut: a TCP relay between edges and a hub,
// on the loopback interface, for the demo and for tests.
package cable
