package cable

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
)

// A Link is the network between edges and a hub: a TCP relay on a
// loopback port that can be cut and restored. Its methods may be called
// concurrently.
type Link struct {
	target   string
	listener net.Listener
	wait     sync.WaitGroup
	up, down atomic.Int64

	mu    sync.Mutex
	cut   bool                  // guarded by mu, as are the others
	shut  bool                  //
	conns map[net.Conn]struct{} // both ends of each relayed connection
}

// New relays connections from a free loopback port to target, until Close.
func New(target string) (*Link, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("lay the network link: %w", err)
	}
	k := &Link{target: target, listener: l, conns: map[net.Conn]struct{}{}}
	k.wait.Go(k.accept)
	return k, nil
}

// Addr is where the edges reach the hub.
func (k *Link) Addr() string { return k.listener.Addr().String() }

// Bytes is how much passed since the beginning, towards the hub and back.
func (k *Link) Bytes() (up, down int64) { return k.up.Load(), k.down.Load() }

// Cut breaks every connection and lets no new one through. The port stays
// taken, so that no other program can sit down on it meanwhile: a caller is
// reset, as by a router that has lost its line.
func (k *Link) Cut() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.cut = true
	k.breakAll()
}

// Restore lets connections through again.
func (k *Link) Restore() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.cut = false
}

// IsCut reports whether the link is cut.
func (k *Link) IsCut() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.cut
}

// Close ends the link and waits for what it started. It is safe to call twice.
func (k *Link) Close() {
	k.mu.Lock()
	k.shut, k.cut = true, true
	k.breakAll()
	k.mu.Unlock()
	_ = k.listener.Close() // nothing is lost with a listener
	k.wait.Wait()
}

// breakAll resets all connections; mu is held.
func (k *Link) breakAll() {
	for c := range k.conns {
		reset(c)
	}
	clear(k.conns)
}

// reset closes a connection without a goodbye, as a dead line does.
func reset(c net.Conn) {
	if t, ok := c.(*net.TCPConn); ok {
		_ = t.SetLinger(0) // a failure means that it is broken already
	}
	_ = c.Close()
}

func (k *Link) accept() {
	for {
		c, err := k.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // out of descriptors: the caller tries again
			continue
		}
		k.wait.Go(func() { k.relay(c) })
	}
}

func (k *Link) relay(near net.Conn) {
	if !k.admit(near) {
		return
	}
	defer k.leave(near)
	far, err := net.Dial("tcp", k.target)
	if err != nil || !k.admit(far) {
		return
	}
	defer k.leave(far)
	var both sync.WaitGroup
	both.Go(func() { pump(far, near, &k.up) })
	both.Go(func() { pump(near, far, &k.down) })
	both.Wait()
}

// admit takes a connection in, or resets it when the link is cut.
func (k *Link) admit(c net.Conn) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.cut || k.shut {
		reset(c)
		return false
	}
	k.conns[c] = struct{}{}
	return true
}

func (k *Link) leave(c net.Conn) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.conns, c)
	_ = c.Close() // it may be closed already
}

// pump copies one direction until either end closes, and passes the end on.
func pump(to, from net.Conn, n *atomic.Int64) {
	_, err := io.Copy(counted{to, n}, from)
	t, ok := to.(*net.TCPConn)
	if err != nil || !ok {
		reset(to)
		return
	}
	_ = t.CloseWrite() // the other side may be gone already
}

// counted adds up what is written, before anyone can read it.
type counted struct {
	net.Conn
	n *atomic.Int64
}

func (c counted) Write(b []byte) (int, error) {
	c.n.Add(int64(len(b)))
	n, err := c.Conn.Write(b)
	c.n.Add(int64(n - len(b)))
	return n, err
}
