package main

import (
	"net"
	"sync/atomic"
)

// A counter listens and counts the bytes of every connection it accepted, as the
// socket carries them: what TLS and HTTP add is included.
type counter struct {
	net.Listener
	up, down atomic.Int64 // towards the server, away from it
}

func (c *counter) Accept() (net.Conn, error) {
	conn, err := c.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &counted{conn, c}, nil
}

type counted struct {
	net.Conn
	c *counter
}

func (c *counted) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.c.up.Add(int64(n))
	return n, err
}

func (c *counted) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.c.down.Add(int64(n))
	return n, err
}

// listen opens a loopback port that counts.
func listen() (*counter, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	return &counter{Listener: l}, nil
}
