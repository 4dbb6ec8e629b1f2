package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// A system is something that syncs: the ruler, or Tidemark.
type system struct {
	name         string
	server, edge string // roles
}

var (
	ruler    = system{"ruler", "ruler server", "ruler edge"}
	tidemark = system{"tidemark", "hub", "edge"}
	served   = system{"tidemark on PostgreSQL", "hub", "edge"}
)

// A stage is one running server with its edges.
type stage struct {
	system
	dir    string
	server *peer
	rows   int
	edges  []*peer
	file   string               // of the newest edge
	next   int                  // number of the next edge
	bare   bool                 // edges that join have no file until they fill it
	base   func() time.Duration // CPU time of the database's processes; nil when it has none
}

// A sample is one measured run.
type sample struct {
	took           time.Duration   // until the last edge was done
	each           []time.Duration // per edge, or per change
	client, server time.Duration   // CPU
	up, down       int64           // bytes on the socket, or of payload when socket is set
	socket         string          // bytes on the socket, for people
	peak           int64           // of the server, resident bytes
}

// open starts a server over rows seed rows.
func (b *bench) open(s system, rows int) (*stage, error) {
	dir, err := os.MkdirTemp(b.dir, "stage")
	if err != nil {
		return nil, err
	}
	st := &stage{system: s, dir: dir, rows: rows}
	if st.server, err = start(s.server, b.inside); err != nil {
		return nil, err
	}
	a := ask{Do: "open", Dir: dir, Rows: rows}
	if s == served {
		if a.DSN, err = b.database(); err != nil {
			return nil, err
		}
		st.base = b.serverCPU
	}
	_, err = st.server.call(a)
	return st, err
}

// join starts a process of n new and empty edges; the newest is edges[0].
func (b *bench) join(st *stage, n int) error {
	return b.joinBy(st, n, func(token string) (string, error) { return token, nil })
}

// joinBy is join with tokens that by changed.
func (b *bench) joinBy(st *stage, n int, by func(token string) (string, error)) error {
	p, err := start(st.edge, b.inside)
	if err != nil {
		return err
	}
	st.edges = slices.Insert(st.edges, 0, p)
	st.next++
	dir := filepath.Join(st.dir, fmt.Sprint("edge", st.next))
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	inv, err := st.server.call(ask{Do: "invite", Edges: n})
	if err != nil {
		return err
	}
	for i := range inv.Tokens {
		if inv.Tokens[i], err = by(inv.Tokens[i]); err != nil {
			return err
		}
	}
	r, err := p.call(ask{Do: "open", Dir: dir, Tokens: inv.Tokens, Rows: st.rows, Writer: st.next, Bare: st.bare})
	st.file = r.Address
	return err
}

// trim ends all but the newest n edge processes.
func (st *stage) trim(n int) error {
	for len(st.edges) > n {
		last := len(st.edges) - 1
		if err := st.edges[last].stop(); err != nil {
			return err
		}
		st.edges = st.edges[:last]
	}
	return nil
}

func (st *stage) close() error {
	err := st.trim(0)
	if e := st.server.stop(); err == nil {
		err = e
	}
	if e := os.RemoveAll(st.dir); err == nil {
		err = e
	}
	return err
}

// measure runs one command of the newest edge process, with what it cost.
func (b *bench) measure(st *stage, do, label string) (sample, error) {
	var s sample
	edge := st.edges[0]
	if b.profile != "" {
		stop, err := b.startProfiles(st, label)
		if err != nil {
			return s, err
		}
		defer stop()
	}
	before, err := st.meter()
	if err != nil {
		return s, err
	}
	r, err := edge.call(ask{Do: do})
	if err != nil {
		return s, err
	}
	after, err := st.meter()
	if err != nil {
		return s, err
	}
	for _, n := range r.Nanos {
		s.each = append(s.each, time.Duration(n))
	}
	s.took = slices.Max(s.each)
	s.client, s.server = after.client-before.client, after.server-before.server
	s.up, s.down, s.peak = after.up-before.up, after.down-before.down, after.peak
	if r.Up+r.Down > 0 { // the role told the payload from what carries it
		s.socket = size(s.up) + " up, " + size(s.down) + " down"
		s.up, s.down = r.Up, r.Down
	}
	return s, nil
}

// meter reads the counters of the newest edge process and of the server.
func (st *stage) meter() (s sample, err error) {
	e, err := st.edges[0].call(ask{Do: "usage"})
	if err != nil {
		return s, err
	}
	h, err := st.server.call(ask{Do: "usage"})
	if err != nil {
		return s, err
	}
	n, err := st.server.call(ask{Do: "bytes"})
	s.client, s.server, s.peak = time.Duration(e.CPU), time.Duration(h.CPU), h.Peak
	s.up, s.down = n.Up, n.Down
	if st.base != nil {
		s.server += st.base()
	}
	return s, err
}

// rest lets both sides collect the garbage of preparing.
func (st *stage) rest() error {
	for _, p := range []*peer{st.server, st.edges[0]} {
		if _, err := p.call(ask{Do: "rest"}); err != nil {
			return err
		}
	}
	return nil
}

// same fails when the newest n edge processes do not hold what the server holds.
func (b *bench) same(st *stage, workload string, n int) error {
	want, err := st.server.call(ask{Do: "hash"})
	if err != nil {
		return err
	}
	for i, p := range st.edges[:n] {
		got, err := p.call(ask{Do: "hash"})
		if err != nil {
			return err
		}
		if got.Hash != want.Hash {
			return fmt.Errorf("%s: %s: content check: edge %d holds %d rows with hash %s, the server %d with %s",
				workload, st.name, i, got.Rows, got.Hash, want.Rows, want.Hash)
		}
	}
	return nil
}

// startProfiles records CPU profiles of both sides until the returned function.
func (b *bench) startProfiles(st *stage, label string) (func(), error) {
	type running struct {
		p    *peer
		file string
	}
	var all []running
	for side, p := range map[string]*peer{"server": st.server, "edge": st.edges[0]} {
		file := filepath.Join(b.profile, fmt.Sprintf("%s-%s-%s.pprof", label, st.name, side))
		if _, err := p.call(ask{Do: "profile", Dir: file}); err != nil {
			return nil, err
		}
		all = append(all, running{p, file})
	}
	return func() {
		for _, r := range all {
			if _, err := r.p.call(ask{Do: "profiled"}); err == nil {
				b.profiles[label] = append(b.profiles[label], r.file)
			}
		}
	}, nil
}

// median of the samples by one measure.
func median[T interface{ ~int64 | ~float64 }](s []sample, of func(sample) T) T {
	v := make([]T, len(s))
	for i := range s {
		v[i] = of(s[i])
	}
	return quantile(v, 0.5)
}

// quantile q of the values; the mean of the middle two never matters here.
func quantile[T interface{ ~int64 | ~float64 }](v []T, q float64) T {
	if len(v) == 0 {
		return 0
	}
	v = slices.Clone(v)
	slices.Sort(v)
	return v[min(int(q*float64(len(v))), len(v)-1)]
}
