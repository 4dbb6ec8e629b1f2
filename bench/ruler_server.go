package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"sync"

	zsqlite "zombiezen.com/go/sqlite"

	"github.com/tidemark-sync/tidemark/internal/sqlite"
)

// A rulerServer is the hub of the ruler: a SQLite file, and in memory the list
// of every transaction's changeset. It applies what is pushed blindly and hands
// out what it has: no conflicts, no rights, no receipts, no crash safety of the
// list. Commits are durable (synchronous=FULL), as the hub's are. The changeset
// that bootstraps is made before anybody asks.
type rulerServer struct {
	conn *sqlite.Conn
	http *http.Server
	port *counter

	mu   sync.Mutex
	list []entry
	more chan struct{} // closed, and replaced, when the list grows
	all  []byte        // the answer to a bootstrap, until the list grows
}

type entry struct {
	edge string // who pushed it
	set  []byte // a changeset
}

func (s *rulerServer) do(a ask) (reply, error) {
	switch a.Do {
	case "open":
		return reply{}, s.open(a)
	case "invite": // an address is all it takes
		return reply{Tokens: slices.Repeat([]string{"http://" + s.port.Addr().String()}, a.Edges)}, nil
	case "write":
		return reply{}, s.write(a)
	case "hash":
		s.mu.Lock()
		defer s.mu.Unlock()
		h, n, err := contentHash(s.conn)
		return reply{Hash: h, Rows: n}, err
	case "bytes":
		return reply{Up: s.port.up.Load(), Down: s.port.down.Load()}, nil
	}
	return reply{}, fmt.Errorf("unknown command %q", a.Do)
}

func (s *rulerServer) open(a ask) (err error) {
	s.conn, err = create(filepath.Join(a.Dir, "hub.db"), sqlite.Options{Full: true, CacheKB: rulerCache})
	if err != nil {
		return err
	}
	if err := fill(s.conn, seedRows(a.Rows), insertSQL); err != nil {
		return err
	}
	if err := s.prepare(); err != nil {
		return err
	}
	if s.port, err = listen(); err != nil {
		return err
	}
	s.more = make(chan struct{})
	mux := http.NewServeMux()
	mux.HandleFunc("GET /bootstrap", s.bootstrap)
	mux.HandleFunc("POST /push", s.push)
	mux.HandleFunc("GET /pull", s.pull)
	s.http = &http.Server{Handler: mux}
	go func() { _ = s.http.Serve(s.port) }()
	return nil
}

// write commits steps as an application at the hub would.
func (s *rulerServer) write(a ask) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, st := range steps(a.Steps, a.Rows, a.Writer, 1) {
		set, err := record(s.conn, st.commit)
		if err != nil {
			return err
		}
		s.add("", set)
	}
	return nil
}

// add appends to the list; s.mu is held.
func (s *rulerServer) add(edge string, set []byte) {
	s.list = append(s.list, entry{edge, set})
	s.all = nil
	close(s.more)
	s.more = make(chan struct{})
}

// bootstrap answers with the position, then all rows as one changeset.
func (s *rulerServer) bootstrap(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all == nil {
		if err := s.prepare(); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
	}
	_, _ = w.Write(s.all)
}

// prepare makes the answer to a bootstrap; nobody else uses s meanwhile.
func (s *rulerServer) prepare() error {
	return difference(s.conn, func(set []byte) error {
		s.all = frame(binary.BigEndian.AppendUint64(nil, uint64(len(s.list))), set)
		return nil
	})
}

// push applies every changeset of the body in one commit.
func (s *rulerServer) push(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	err = sqlite.Immediate(s.conn, func() error { return applySets(s.conn, body) })
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	edge := r.URL.Query().Get("edge")
	_ = eachFrame(body, func(set []byte) error { s.add(edge, set); return nil })
}

// pull answers with the position, then each changeset after the asked one that
// the asking edge did not push. It waits for the first when asked to.
func (s *rulerServer) pull(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	after, err := strconv.Atoi(q.Get("after"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	for {
		s.mu.Lock()
		list, more := s.list, s.more
		s.mu.Unlock()
		if len(list) > after || q.Get("wait") == "" {
			out := binary.BigEndian.AppendUint64(nil, uint64(len(list)))
			for _, e := range list[after:] {
				if e.edge != q.Get("edge") {
					out = frame(out, e.set)
				}
			}
			_, _ = w.Write(out)
			return
		}
		select {
		case <-more:
		case <-r.Context().Done():
			return
		}
	}
}

func (s *rulerServer) close() error {
	if s.http == nil {
		return nil
	}
	return errors.Join(s.http.Close(), s.conn.Close())
}

// rulerCache is the page cache of the ruler's connections: nothing it needs is
// ever read twice from disk.
const rulerCache = 256 << 10

// record runs a write and returns its changeset.
func record(c *sqlite.Conn, write func(*sqlite.Conn) error) ([]byte, error) {
	s, err := c.CreateSession("main")
	if err != nil {
		return nil, err
	}
	defer s.Delete()
	if err := s.Attach(""); err != nil {
		return nil, err
	}
	if err := write(c); err != nil {
		return nil, err
	}
	var b bytes.Buffer
	err = s.WriteChangeset(&b)
	return b.Bytes(), err
}

// difference hands the changeset from an empty database to this one to use, and
// must not be called within a transaction.
func difference(c *sqlite.Conn, use func(set []byte) error) (err error) {
	if err := sqlite.Exec(c, "ATTACH ':memory:' AS empty"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, sqlite.Exec(c, "DETACH empty")) }()
	s, err := c.CreateSession("main")
	if err != nil {
		return err
	}
	defer s.Delete()
	for _, t := range tables {
		ddl := "CREATE TABLE empty." + t.ddl[len("CREATE TABLE "):]
		if err := errors.Join(sqlite.Exec(c, ddl), s.Attach(t.name)); err != nil {
			return err
		}
		if err := s.Diff("empty", t.name); err != nil {
			return err
		}
	}
	var b bytes.Buffer
	if err := s.WriteChangeset(&b); err != nil {
		return err
	}
	return use(b.Bytes())
}

// applySets applies each framed changeset; one that collides is an error.
func applySets(c *sqlite.Conn, body []byte) error {
	return eachFrame(body, func(set []byte) error {
		return c.ApplyChangeset(bytes.NewReader(set), nil,
			func(t zsqlite.ConflictType, _ *zsqlite.ChangesetIterator) zsqlite.ConflictAction {
				if t == zsqlite.ChangesetData { // two writers updated one row: the later one stays
					return zsqlite.ChangesetReplace
				}
				return zsqlite.ChangesetAbort
			})
	})
}

// frame appends a length and the bytes.
func frame(dst, b []byte) []byte {
	return append(binary.BigEndian.AppendUint32(dst, uint32(len(b))), b...)
}

func eachFrame(b []byte, fn func([]byte) error) error {
	for len(b) > 0 {
		if len(b) < 4 || len(b)-4 < int(binary.BigEndian.Uint32(b)) {
			return errors.New("torn frame")
		}
		n := int(binary.BigEndian.Uint32(b))
		if err := fn(b[4 : 4+n]); err != nil {
			return err
		}
		b = b[4+n:]
	}
	return nil
}
