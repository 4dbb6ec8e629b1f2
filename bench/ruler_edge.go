package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"sync"
	"time"

	"github.com/tidemark-sync/tidemark/internal/sqlite"
)

// rulerEdges are edges of the ruler, in one process.
type rulerEdges struct {
	rows  int
	edges []*rulerEdge
}

// A rulerEdge writes its file through a session that records changesets, and
// keeps them in memory until pushed.
type rulerEdge struct {
	name string
	url  string
	http *http.Client
	conn *sqlite.Conn

	mu    sync.Mutex // guards conn and what follows
	after uint64     // position in the server's list
	sets  []byte     // framed changesets to push
	live  *arrivals
}

func (r *rulerEdges) do(a ask) (reply, error) {
	switch a.Do {
	case "open":
		return r.open(a)
	case "write":
		return reply{}, each(r.edges, func(i int, e *rulerEdge) error {
			return e.write(steps(a.Steps, r.rows, a.Writer+i, len(r.edges)))
		})
	case "push":
		return timed(r.edges, (*rulerEdge).push)
	case "pull", "idle", "settle":
		return timed(r.edges, func(e *rulerEdge) error { return e.pull("") })
	case "poke":
		list := steps(a.Steps, r.rows, a.Writer, 1)[a.Steps-1:]
		at := now()
		err := r.edges[0].write(list)
		if err == nil {
			err = r.edges[0].push()
		}
		return reply{Nanos: []int64{at}}, err
	case "live":
		r.edges[0].live = newArrivals()
		go r.edges[0].follow()
		return reply{}, nil
	case "await":
		at, err := r.edges[0].live.await()
		return reply{Nanos: at}, err
	case "hash":
		e := r.edges[len(r.edges)-1]
		e.mu.Lock()
		defer e.mu.Unlock()
		h, n, err := contentHash(e.conn)
		return reply{Hash: h, Rows: n}, err
	}
	return reply{}, fmt.Errorf("unknown command %q", a.Do)
}

func (r *rulerEdges) open(a ask) (reply, error) {
	r.rows = a.Rows
	for i, url := range a.Tokens {
		e := &rulerEdge{name: fmt.Sprintf("%d.%d", a.Writer, i), url: url, http: &http.Client{Transport: &http.Transport{}}}
		c, err := create(filepath.Join(a.Dir, "edge"+e.name+".db"), sqlite.Options{Full: true, CacheKB: rulerCache})
		if err != nil {
			return reply{}, err
		}
		e.conn = c
		r.edges = append(r.edges, e)
	}
	return reply{}, nil
}

func (r *rulerEdges) close() error {
	var err error
	for _, e := range r.edges {
		e.http.CloseIdleConnections()
		err = errors.Join(err, e.conn.Close())
	}
	return err
}

func (e *rulerEdge) write(list []step) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	for i := range list {
		set, err := record(e.conn, list[i].commit)
		if err != nil {
			return err
		}
		e.sets = frame(e.sets, set)
	}
	return nil
}

func (e *rulerEdge) push() error {
	e.mu.Lock()
	body := e.sets
	e.sets = nil
	e.mu.Unlock()
	resp, err := e.http.Post(e.url+"/push?edge="+e.name, "", bytes.NewReader(body))
	if err != nil {
		return err
	}
	_, err = read(resp)
	return err
}

// pull applies what is new, all of it in one commit; the first one bootstraps.
func (e *rulerEdge) pull(wait string) error {
	url := e.url + "/bootstrap"
	e.mu.Lock()
	if e.after > 0 || e.live != nil || !e.empty() {
		url = fmt.Sprintf("%s/pull?edge=%s&after=%d%s", e.url, e.name, e.after, wait)
	}
	e.mu.Unlock()
	resp, err := e.http.Get(url)
	if err != nil {
		return err
	}
	body, err := read(resp)
	if err != nil {
		return err
	}
	if len(body) < 8 {
		return errors.New("short answer")
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(body) > 8 {
		if err := sqlite.Immediate(e.conn, func() error { return applySets(e.conn, body[8:]) }); err != nil {
			return err
		}
	}
	e.after = binary.BigEndian.Uint64(body)
	return nil
}

func (e *rulerEdge) empty() bool {
	_, any, err := sqlite.One(e.conn, "SELECT 1 FROM customers LIMIT 1")
	return err == nil && !any
}

// follow pulls for ever, and notes when each answer stood in the file.
func (e *rulerEdge) follow() {
	for {
		if err := e.pull("&wait=1"); err != nil {
			return
		}
		e.live.note(now())
	}
}

func read(resp *http.Response) ([]byte, error) {
	body, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", resp.Status, bytes.TrimSpace(body))
	}
	return body, err
}

// arrivals are the moments at which changes stood in a file.
type arrivals struct{ at chan int64 }

func newArrivals() *arrivals { return &arrivals{make(chan int64, pokes)} }

func (a *arrivals) note(at int64) { a.at <- at }

// await waits for the next change, and returns when it came.
func (a *arrivals) await() ([]int64, error) {
	late := time.NewTimer(patience)
	defer late.Stop()
	select {
	case at := <-a.at:
		return []int64{at}, nil
	case <-late.C:
		return nil, fmt.Errorf("the change did not come within %v", patience)
	}
}

// patience is how long a live change may take before the run is given up.
const patience = 30 * time.Second

// now is the wall clock in nanoseconds: processes of one machine share it.
func now() int64 { return time.Now().UnixNano() }

// each runs fn for every edge at once.
func each[E any](edges []E, fn func(i int, e E) error) error {
	errs := make([]error, len(edges))
	var wg sync.WaitGroup
	for i, e := range edges {
		wg.Go(func() { errs[i] = fn(i, e) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// timed runs fn for every edge at once, and returns how long each took.
func timed[E any](edges []E, fn func(E) error) (reply, error) {
	r := reply{Nanos: make([]int64, len(edges))}
	from := time.Now()
	err := each(edges, func(i int, e E) error {
		err := fn(e)
		r.Nanos[i] = int64(time.Since(from))
		return err
	})
	return r, err
}
