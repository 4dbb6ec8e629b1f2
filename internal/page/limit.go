package page

import (
	"net"
	"sync"
)

// limit lets n connections of a listener be open at once; more wait to be accepted.
func limit(ln net.Listener, n int) net.Listener {
	return &limited{Listener: ln, room: make(chan struct{}, n), done: make(chan struct{})}
}

type limited struct {
	net.Listener
	room chan struct{} // has an element for each open connection
	once sync.Once
	done chan struct{} // closed with the listener
}

func (l *limited) Accept() (net.Conn, error) {
	select {
	case l.room <- struct{}{}:
	case <-l.done:
		return nil, net.ErrClosed
	}
	c, err := l.Listener.Accept()
	if err != nil {
		<-l.room
		return nil, err
	}
	return &counted{Conn: c, left: func() { <-l.room }}, nil
}

func (l *limited) Close() error {
	l.once.Do(func() { close(l.done) })
	return l.Listener.Close()
}

type counted struct {
	net.Conn
	once sync.Once
	left func()
}

func (c *counted) Close() error {
	defer c.once.Do(c.left)
	return c.Conn.Close()
}
