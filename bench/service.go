package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/clock"
	"github.com/tidemark-sync/tidemark/internal/rule"
	service "github.com/tidemark-sync/tidemark/internal/serve"
	"github.com/tidemark-sync/tidemark/internal/wire/transport"
)

// A serviceRole is the hub as it is run, with its admission control and its caches, over
// a PostgreSQL database.
type serviceRole struct{ hub *service.Hub }

func (s *serviceRole) do(a ask) (reply, error) {
	switch a.Do {
	case "open":
		return s.open(a)
	case "memory":
		return reply{Peak: resident()}, nil
	}
	return reply{}, fmt.Errorf("unknown command %q", a.Do)
}

// open serves, on one core when the ask is for one.
func (s *serviceRole) open(a ask) (r reply, err error) {
	if a.Cores > 0 {
		runtime.GOMAXPROCS(a.Cores)
	}
	conf := filepath.Join(a.Dir, "tidemark.yaml")
	if err := os.WriteFile(conf, []byte("hub:\n  listen: 127.0.0.1:0\n  limits: {sessions: 100000}\n"+a.Rules), 0o600); err != nil {
		return r, err
	}
	s.hub, err = service.NewHub(service.HubConfig{Dir: service.HubDir(filepath.Join(a.Dir, "hub")), ConfigFile: conf, Database: a.DSN, Clock: clock.System{}, Rand: rand.Reader})
	if err != nil {
		return r, err
	}
	if err := s.hub.Start(context.Background()); err != nil {
		return r, err
	}
	at := s.hub.Endpoint()
	t := transport.Token{URL: at.URL, Pin: at.Pin, Secret: "none", Name: "bench"}
	return reply{Address: t.String()}, nil
}

func (s *serviceRole) close() error {
	if s.hub == nil {
		return nil
	}
	return s.hub.Stop()
}

// resident is the memory that this process holds now, in bytes.
func resident() (n int64) {
	raw, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	if _, after, ok := strings.Cut(string(raw), "VmRSS:"); ok {
		_, _ = fmt.Sscanf(after, "%d", &n) // stays 0, which shows in the table
	}
	return n << 10
}

// The rules of the workload's tables: all of them everywhere, or each customer and what
// hangs on it in the scope of the customer's city.
const (
	everywhere = "tables:\n  customers: {scope: all}\n  orders: {scope: all}\n  order_lines: {scope: all}\n"
	byCity     = "tables:\n  customers: {scope: \"city/{city}\"}\n  orders: {scope: {via: customer_id}}\n  order_lines: {scope: {via: order_id}}\n"
)

// ruled is one of the two as a store takes it.
func ruled(text string) rule.Rules {
	if text == everywhere {
		return rules()
	}
	return rule.Rules{Tables: []rule.Table{
		{Name: tables[customers].name, Scope: rule.Scope{Kind: "city", Column: "city"}},
		{Name: tables[orders].name, Scope: rule.Scope{Via: "customer_id"}},
		{Name: tables[lines].name, Scope: rule.Scope{Via: "order_id"}},
	}}
}

// cityOf is the scope of a row of customers.
func cityOf(row []change.Value) rule.ScopeID { return rule.Of("city", row[4]) }

// A yard is a database on the server with hub processes that serve it, and one process
// of devices that have no files.
type yard struct {
	b       *bench
	dir     string
	dsn     string
	hubs    []*peer
	tokens  []string // where the hubs are
	callers *peer
	rules   string
}

// openYard makes a database of seed rows, and n devices of it.
func (b *bench) openYard(rows, n int, rules string) (y *yard, err error) {
	y = &yard{b: b, rules: rules}
	if y.dir, err = os.MkdirTemp(b.dir, "yard"); err != nil {
		return nil, err
	}
	if y.dsn, err = b.database(); err != nil {
		return nil, err
	}
	if err := createServed(context.Background(), y.dsn, seedRows(rows).keyOrder()); err != nil {
		return nil, err
	}
	if y.callers, err = start("callers", b.inside); err != nil {
		return nil, err
	}
	_, err = y.callers.call(ask{Do: "open", DSN: with(y.dsn, "synchronous_commit", "off"), Rows: rows, Edges: n, Rules: rules})
	if err != nil {
		err = errors.Join(err, y.close())
	}
	return y, err
}

// serve starts one more hub process, on so many cores; 0: as it likes.
func (y *yard) serve(cores int) error {
	dir := filepath.Join(y.dir, fmt.Sprint("hub", len(y.hubs)))
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	if len(y.hubs) > 0 { // all processes have the same keys
		if err := copyKeys(filepath.Join(y.dir, "hub0", "hub"), filepath.Join(dir, "hub")); err != nil {
			return err
		}
	}
	p, err := start("service", y.b.inside)
	if err != nil {
		return err
	}
	y.hubs = append(y.hubs, p)
	dsn := with(with(y.dsn, "pg_stat_statements.track", "all"), "application_name", "hub")
	r, err := p.call(ask{Do: "open", Dir: dir, DSN: dsn, Rules: y.rules, Cores: cores})
	y.tokens = append(y.tokens, r.Address)
	return err
}

// copyKeys gives a hub's directory the keys of another one's.
func copyKeys(from, to string) error {
	list, err := filepath.Glob(filepath.Join(from, "tls", "*"))
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(to, "tls"), 0o700); err != nil {
		return err
	}
	for _, name := range append(list, filepath.Join(from, "seal.key"), filepath.Join(from, "parcel.key")) {
		b, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(to, strings.TrimPrefix(name, from)), b, 0o600); err != nil {
			return err
		}
	}
	return nil
}

func (y *yard) close() error {
	return errors.Join(y.stopHubs(), os.RemoveAll(y.dir))
}

// stopHubs ends the devices' process, then the hubs'.
func (y *yard) stopHubs() error {
	var errs []error
	if y.callers != nil {
		errs = append(errs, y.callers.stop())
	}
	for _, h := range y.hubs {
		errs = append(errs, h.stop())
	}
	y.callers, y.hubs = nil, nil
	return errors.Join(errs...)
}
