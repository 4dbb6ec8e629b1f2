package main

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
)

// A scissors is a TCP proxy that cuts its first connection after so many bytes
// came down, in the middle of whatever that is, and lets later ones through.
type scissors struct {
	net.Listener
	to    string
	after int64
	cuts  atomic.Int64
	wg    sync.WaitGroup

	mu   sync.Mutex
	open []net.Conn // guarded by mu
}

// cutter listens before the server at the address to.
func cutter(to string, after int64) (*scissors, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &scissors{Listener: l, to: to, after: after}
	s.wg.Go(s.serve)
	return s, nil
}

func (s *scissors) serve() {
	for {
		near, err := s.Accept()
		if err != nil {
			return
		}
		far, err := net.Dial("tcp", s.to)
		if err != nil {
			_ = near.Close()
			continue
		}
		s.mu.Lock()
		s.open = append(s.open, near, far)
		s.mu.Unlock()
		s.wg.Go(func() { pass(far, near, near) })
		s.wg.Go(func() {
			var down io.Reader = far
			if s.cuts.Load() == 0 {
				down = io.LimitReader(far, s.after)
			}
			pass(near, down, far)
			s.cuts.Add(1)
		})
	}
}

// pass copies until either end is done, then closes both.
func pass(dst net.Conn, from io.Reader, src net.Conn) {
	_, _ = io.Copy(dst, from)
	_ = dst.Close()
	_ = src.Close()
}

// close ends the proxy and every connection through it.
func (s *scissors) close() {
	_ = s.Close()
	s.mu.Lock()
	for _, c := range s.open {
		_ = c.Close()
	}
	s.mu.Unlock()
	s.wg.Wait()
}
