package hub_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/clock"
	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/rule"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
	sqlitestore "github.com/tidemark-sync/tidemark/internal/store/sqlite"
	"github.com/tidemark-sync/tidemark/internal/wire"
)

var shopDDL = []string{
	`CREATE TABLE customer (id TEXT PRIMARY KEY, branch TEXT, name TEXT NOT NULL, email TEXT UNIQUE, age INTEGER, weight REAL)`,
	`CREATE TABLE orders (id TEXT PRIMARY KEY, customer TEXT REFERENCES customer(id) ON DELETE CASCADE ON UPDATE CASCADE, status TEXT, total INTEGER DEFAULT 7)`,
	`CREATE TABLE line (ord TEXT REFERENCES orders(id) ON DELETE CASCADE, n INTEGER, item TEXT, PRIMARY KEY (ord, n))`,
	`CREATE TABLE ticket (id TEXT PRIMARY KEY, branch TEXT, customer TEXT REFERENCES customer(id) ON DELETE SET NULL, note TEXT)`,
	`CREATE TABLE visit (id TEXT PRIMARY KEY, branch TEXT, customer TEXT DEFAULT 'walk-in' REFERENCES customer(id) ON DELETE SET DEFAULT)`,
	`CREATE TABLE invoice (id TEXT PRIMARY KEY, branch TEXT, customer TEXT REFERENCES customer(id), number INTEGER UNIQUE)`,
	`CREATE TABLE product (id TEXT PRIMARY KEY, name TEXT, price INTEGER, code TEXT UNIQUE)`,
	`CREATE TABLE stock (code TEXT REFERENCES product(code), place TEXT, qty INTEGER, PRIMARY KEY (code, place))`,
	`CREATE TABLE mix (id TEXT PRIMARY KEY, la, ar, hu, ed, co INTEGER, mi INTEGER, ma INTEGER, se TEXT, te TEXT, st TEXT, man TEXT)`,
	`CREATE TABLE pair (id TEXT PRIMARY KEY, x INTEGER, y INTEGER)`,
	`CREATE TABLE hard (id TEXT PRIMARY KEY, a INTEGER)`,
	`CREATE TABLE country (id TEXT PRIMARY KEY, name TEXT)`,
}

func shopRules() *rule.Rules {
	branch := rule.Scope{Kind: "branch", Column: "branch"}
	all := rule.Scope{All: true}
	return &rule.Rules{Tables: []rule.Table{
		{Name: "customer", Scope: branch},
		{Name: "orders", Scope: rule.Scope{Via: "customer"}, Checks: []rule.Check{{Name: "positive", Expr: "row.total == null || row.total >= 0", Message: "a total is never negative"}}},
		{Name: "line", Scope: rule.Scope{Via: "ord"}},
		{Name: "ticket", Scope: branch},
		{Name: "visit", Scope: branch},
		{Name: "invoice", Scope: branch},
		{Name: "product", Scope: all},
		{Name: "stock", Scope: all, Columns: map[string]rule.Column{"qty": {Policy: rule.Counter}}},
		{Name: "mix", Scope: all, Columns: map[string]rule.Column{
			"ar": {Policy: rule.Arrival}, "hu": {Policy: rule.Hub}, "ed": {Policy: rule.Edge}, "co": {Policy: rule.Counter},
			"mi": {Policy: rule.Min}, "ma": {Policy: rule.Max}, "se": {Policy: rule.Set}, "te": {Policy: rule.TextMix},
			"st":  {Policy: rule.States, States: map[string][]string{"new": {"open"}, "open": {"done", "new"}}},
			"man": {Policy: rule.Manual}}},
		{Name: "pair", Scope: all, ByRow: true},
		{Name: "hard", Scope: all, OnDelete: rule.DeleteWins},
		{Name: "country", Scope: all, Reference: true},
	}}
}

// A world is a hub over a real file, with a clock moved by hand.
type world struct {
	t     testing.TB
	ctx   context.Context
	path  string
	clock *clock.Manual
	rand  *rand.ChaCha8
	rules *rule.Rules
	store *sqlitestore.Store
	hub   *hub.Hub
	ids   uint64
}

var epochDay = time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC)

func newWorld(t testing.TB, edit ...func(*hub.Config)) *world {
	t.Helper()
	w := &world{t: t, ctx: context.Background(), path: filepath.Join(t.TempDir(), "hub.db"), clock: clock.NewManual(epochDay),
		rand: rand.NewChaCha8([32]byte{1}), rules: shopRules()}
	empty, err := template()
	w.must(err)
	w.must(os.WriteFile(w.path, empty, 0o600))
	w.open(edit...)
	t.Cleanup(func() { _ = w.store.Close() })
	return w
}

// open starts the hub over its file.
func (w *world) open(edit ...func(*hub.Config)) {
	w.t.Helper()
	var err error
	w.store, err = sqlitestore.Open(sqlitestore.Config{Path: w.path, Rules: w.rules, Clock: w.clock, Rand: w.rand, NoSync: true})
	w.must(err)
	cfg := hub.Config{Store: w.store, Rules: w.rules, Clock: w.clock, Rand: w.rand, DDL: w.store.DDL}
	for _, e := range edit {
		e(&cfg)
	}
	w.hub, err = hub.New(w.ctx, cfg)
	w.must(err)
}

// template is an empty hub's file: making one takes its time on a busy machine.
var template = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "hub")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "hub.db")
	if err := sqlitestore.Create(path, shopDDL); err != nil {
		return nil, err
	}
	s, err := sqlitestore.Open(sqlitestore.Config{Path: path, Rules: shopRules(), Clock: clock.NewManual(epochDay), Rand: rand.NewChaCha8([32]byte{9}), NoSync: true})
	if err != nil {
		return nil, err
	}
	if err := s.Close(); err != nil {
		return nil, err
	}
	return os.ReadFile(path)
})

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// sql writes to the hub's file as another program would.
func (w *world) sql(q string) {
	w.t.Helper()
	c, err := sqlite.Open(w.path, sqlite.Options{NoSync: true})
	w.must(err)
	defer c.Close()
	w.must(sqlite.Exec(c, "PRAGMA foreign_keys=ON"))
	w.must(sqlite.Script(c, q))
}

// get renders the result of a query: columns joined by |, rows by newlines.
func (w *world) get(q string) string { w.t.Helper(); return strings.Join(w.lines(q), "\n") }

func (w *world) lines(q string) []string {
	w.t.Helper()
	c, err := sqlite.Open(w.path, sqlite.Options{ReadOnly: true})
	w.must(err)
	defer c.Close()
	var rows []string
	w.must(sqlite.Query(c, q, func(s *sqlite.Stmt) error {
		var cols []string
		for i := range s.ColumnCount() {
			v := sqlite.Column(s, i)
			if v.Kind() == change.KindText {
				cols = append(cols, v.Str())
			} else {
				cols = append(cols, v.String())
			}
		}
		rows = append(rows, strings.Join(cols, "|"))
		return nil
	}))
	return rows
}

func (w *world) want(q, want string) {
	w.t.Helper()
	if got := w.get(q); got != want {
		w.t.Errorf("%s\n got: %s\nwant: %s", q, got, want)
	}
}

func (w *world) receipts() []hub.Receipt {
	w.t.Helper()
	list, err := w.hub.Receipts(w.ctx, hub.ReceiptFilter{})
	w.must(err)
	return list
}

func (w *world) queue() []hub.Parked {
	w.t.Helper()
	list, err := w.hub.Queue(w.ctx, change.DeviceID{})
	w.must(err)
	return list
}

// A site is a model of an edge: it keeps the hub's rows as it was given them and
// builds transactions on top.
type site struct {
	*world
	id      change.DeviceID
	inc     change.Incarnation
	seq     uint64
	prev    change.Hash
	base    change.Cursor
	mark    uint64
	scopes  change.Hash
	session *hub.Session
	skew    time.Duration              // its clock − the hub's
	sent    []*change.Transaction      // by seq-1
	rows    map[string]map[string]rowV // the hub's rows as far as it knows: table → key
	fetched int
	done    map[uint64]hub.Status
}

type rowV struct {
	key  change.Key
	vals map[string]change.Value
}

func (w *world) site(name string, grants ...rule.Grant) *site {
	w.t.Helper()
	inv, err := w.hub.AddDevice(w.ctx, name, grants, 0)
	w.must(err)
	id, _, err := w.hub.Join(w.ctx, inv.Secret, []byte("key of "+name))
	w.must(err)
	s := &site{world: w, id: id}
	s.live()
	s.connect()
	s.bootstrap()
	return s
}

func (s *site) live() {
	inc, err := change.NewIncarnation(s.rand)
	s.must(err)
	s.inc, s.seq, s.prev, s.sent, s.done = inc, 0, change.Hash{}, nil, map[uint64]hub.Status{}
}

func (s *site) hello() *wire.Hello {
	return &wire.Hello{Min: 1, Max: 1, Device: s.id, Incarnation: s.inc, Clock: s.clock.Now().Add(s.skew), Rules: s.hub.Setup().Hash, Agent: "test"}
}

func (s *site) connect() *wire.Welcome {
	s.t.Helper()
	s.session = s.hub.NewSession(s.id)
	out := s.ask(s.hello())
	w := out[0].(*wire.Welcome)
	s.scopes = w.Scopes
	return w
}

// ask sends one message and returns the answers.
func (s *site) ask(m wire.Message) []wire.Message {
	s.t.Helper()
	out, err := s.tryAsk(m)
	s.must(err)
	return out
}

func (s *site) tryAsk(m wire.Message) (out []wire.Message, err error) {
	err = s.session.Receive(s.ctx, m, func(m wire.Message) error { out = append(out, m); return nil })
	return out, err
}

// bootstrap reads everything anew.
func (s *site) bootstrap() {
	s.t.Helper()
	s.read()
	s.pull()
}

// bootstrapEcho reads everything anew in a file that has sent work.
func (s *site) bootstrapEcho() {
	s.t.Helper()
	s.read()
	s.pulled(s.ask(&wire.Pull{Cursor: s.base, Scopes: s.scopes, Outcome: s.mark, Echo: true}))
}

func (s *site) read() {
	s.t.Helper()
	s.rows = map[string]map[string]rowV{}
	m := &wire.Fetch{Window: 2}
	first := change.Cursor{}
	for done := false; !done; {
		for _, a := range s.ask(m) {
			c := a.(*wire.Chunk)
			if first.IsZero() {
				first = c.At
			}
			s.take(c.Body, nil)
			m, done = &wire.Fetch{Window: 2, Table: c.Table, After: c.After}, c.Done
		}
	}
	s.base = first
}

// take applies sealed rows to the model.
func (s *site) take(body []byte, seen map[string]bool) {
	s.t.Helper()
	if len(body) == 0 {
		return
	}
	list, err := change.OpenRows(body, change.Limits{})
	s.must(err)
	for _, r := range list {
		s.fetched += r.Len() + r.GoneLen()
		tab := s.rows[r.Table]
		if tab == nil {
			tab = map[string]rowV{}
			s.rows[r.Table] = tab
		}
		for i := range r.Len() {
			v := rowV{key: r.KeyOf(i), vals: map[string]change.Value{}}
			for j, c := range r.Columns {
				v.vals[c] = r.Row(i)[j]
			}
			tab[v.key.ID()] = v
			if seen != nil {
				seen[r.Table+"\x00"+v.key.ID()] = true
			}
		}
		for i := range r.GoneLen() {
			delete(tab, r.GoneKey(i).ID())
			if seen != nil {
				seen[r.Table+"\x00"+r.GoneKey(i).ID()] = true
			}
		}
	}
}

// pull takes what is new and settles by it, as an edge does. It returns how many
// rows came.
func (s *site) pull() int {
	s.t.Helper()
	return s.pulled(s.ask(&wire.Pull{Cursor: s.base, Scopes: s.scopes, Outcome: s.mark}))
}

func (s *site) pulled(answers []wire.Message) int {
	s.t.Helper()
	before := s.fetched
	seen := map[string]bool{}
	for _, a := range answers {
		d, ok := a.(*wire.Delta)
		if !ok {
			s.t.Fatalf("pull answered %#v", a)
		}
		s.take(d.Body, seen)
		if !d.Last {
			continue
		}
		s.base, s.mark = d.Next, d.Mark
		for _, o := range d.Outcomes {
			s.done[o.Seq] = hub.Status(o.Status)
			if (hub.Status(o.Status) == hub.Applied || hub.Status(o.Status) == hub.Merged) && int(o.Seq) <= len(s.sent) {
				s.advance(s.sent[o.Seq-1], seen)
			}
		}
	}
	return s.fetched - before
}

// advance takes the transaction's own operations for the hub's state, where the
// pull brought none.
func (s *site) advance(t *change.Transaction, seen map[string]bool) {
	for _, op := range t.Ops {
		if seen[op.Table+"\x00"+op.Key.ID()] {
			continue
		}
		tab := s.rows[op.Table]
		if tab == nil {
			tab = map[string]rowV{}
			s.rows[op.Table] = tab
		}
		if op.Kind == change.Delete {
			delete(tab, op.Key.ID())
			continue
		}
		v, ok := tab[op.Key.ID()]
		if !ok {
			v = rowV{key: op.Key, vals: map[string]change.Value{}}
			tab[op.Key.ID()] = v
		}
		for i, c := range op.Columns {
			v.vals[c] = op.New[i]
		}
	}
}

// tx builds the next transaction of the site's chain.
func (s *site) tx(ops ...change.Op) *change.Transaction {
	s.t.Helper()
	id, err := change.NewTxID(s.rand)
	s.must(err)
	s.seq++
	for i := range ops {
		if len(ops[i].Rows) == 0 {
			s.ids++
			ops[i].Rows = []uint64{s.ids}
		}
	}
	t := &change.Transaction{ID: id, Device: s.id, Incarnation: s.inc, Seq: s.seq, Prev: s.prev, Bases: []change.Cursor{s.base},
		HLC: change.NewHLC(s.clock.Now().Add(s.skew).UnixMilli(), uint16(s.seq)), Offset: -s.skew, Ops: ops}
	s.prev = t.Sum()
	s.sent = append(s.sent, t)
	return t
}

func (s *site) push(txs ...*change.Transaction) wire.PushResult {
	s.t.Helper()
	body, err := change.SealTransactions(txs)
	s.must(err)
	res := *s.ask(&wire.Push{Body: body})[0].(*wire.PushResult)
	if !res.Fork && len(txs) > 0 && res.Durable != txs[len(txs)-1].Seq {
		s.t.Fatalf("durable %d, pushed up to %d", res.Durable, txs[len(txs)-1].Seq)
	}
	return res
}

// do pushes one transaction and returns its outcome.
func (s *site) do(ops ...change.Op) wire.TxResult {
	s.t.Helper()
	return s.push(s.tx(ops...)).Results[0]
}

// applies pushes one transaction that must be applied as it is.
func (s *site) applies(ops ...change.Op) { s.t.Helper(); s.ends(hub.Applied, ops...) }

// merges pushes one transaction that must be merged.
func (s *site) merges(ops ...change.Op) { s.t.Helper(); s.ends(hub.Merged, ops...) }

// parks pushes one transaction that must be quarantined, for a reason holding why.
func (s *site) parks(why string, ops ...change.Op) change.TxID {
	s.t.Helper()
	if r := s.ends(hub.Quarantined, ops...); !strings.Contains(r.Reason, why) {
		s.t.Fatalf("reason %q, want it to say %q", r.Reason, why)
	}
	return s.sent[len(s.sent)-1].ID
}

func (s *site) ends(want hub.Status, ops ...change.Op) wire.TxResult {
	s.t.Helper()
	r := s.do(ops...)
	if hub.Status(r.Status) != want {
		s.t.Fatalf("transaction was %v (%s), want %v", hub.Status(r.Status), r.Reason, want)
	}
	return r
}

// same checks that the model holds exactly the hub's rows of a table in scope.
func (s *site) same(table, where string) {
	s.t.Helper()
	cols := strings.Split(s.get("SELECT group_concat(name,'|') FROM pragma_table_info('"+table+"')"), "|")
	var mine []string
	for _, r := range s.rows[table] {
		var b []string
		for _, c := range cols {
			b = append(b, r.vals[c].String())
		}
		mine = append(mine, strings.Join(b, "|"))
	}
	slices.Sort(mine)
	quoted := make([]string, len(cols))
	for i, c := range cols {
		quoted[i] = "quote(" + c + ")"
	}
	theirs := s.lines("SELECT " + strings.Join(quoted, ",") + " FROM " + table + " WHERE " + where)
	slices.Sort(theirs)
	if a, b := strings.Join(mine, "\n"), strings.Join(theirs, "\n"); a != b {
		s.t.Errorf("table %s at the site:\n%s\nat the hub:\n%s", table, a, b)
	}
}

// val makes a value of a Go one.
func val(v any) change.Value {
	switch v := v.(type) {
	case nil:
		return change.Null
	case int:
		return change.Int(int64(v))
	case float64:
		return change.Float(v)
	case string:
		return change.Text(v)
	case change.Value:
		return v
	}
	panic("value?")
}

var columnsOf = map[string][]string{
	"customer": {"id", "branch", "name", "email", "age", "weight"},
	"orders":   {"id", "customer", "status", "total"},
	"line":     {"ord", "n", "item"},
	"ticket":   {"id", "branch", "customer", "note"},
	"visit":    {"id", "branch", "customer"},
	"invoice":  {"id", "branch", "customer", "number"},
	"product":  {"id", "name", "price", "code"},
	"stock":    {"code", "place", "qty"},
	"mix":      {"id", "la", "ar", "hu", "ed", "co", "mi", "ma", "se", "te", "st", "man"},
	"pair":     {"id", "x", "y"},
	"hard":     {"id", "a"},
	"country":  {"id", "name"},
}

func keyLen(table string) int {
	if table == "line" || table == "stock" {
		return 2
	}
	return 1
}

// ins is an insert; missing values at the end are NULL.
func ins(table string, vals ...any) change.Op {
	cols := columnsOf[table]
	op := change.Op{Table: table, Kind: change.Insert, Columns: cols, New: make([]change.Value, len(cols))}
	for i, v := range vals {
		op.New[i] = val(v)
	}
	op.Key = change.Key(op.New[:keyLen(table)])
	return op
}

// del is a delete of a row with this last image.
func del(table string, vals ...any) change.Op {
	op := ins(table, vals...)
	op.Kind, op.Base, op.New = change.Delete, op.New, nil
	return op
}

// upd is an update of one-column-key rows: column, base, new; repeated.
func upd(table, id string, sets ...any) change.Op {
	return updKey(table, change.Key{change.Text(id)}, sets...)
}

func updKey(table string, key change.Key, sets ...any) change.Op {
	op := change.Op{Table: table, Kind: change.Update, Key: key}
	for i := 0; i < len(sets); i += 3 {
		op.Columns = append(op.Columns, sets[i].(string))
		op.Base = append(op.Base, val(sets[i+1]))
		op.New = append(op.New, val(sets[i+2]))
	}
	return op
}

func branchGrant(n string) rule.Grant {
	return rule.Grant{Scope: rule.ScopeID("branch/" + n), Verbs: rule.Every}
}

var everywhere = rule.Grant{Scope: rule.ScopeAll, Verbs: rule.Every}

func faultCode(err error) string {
	if f, ok := errors.AsType[*wire.Fault](err); ok {
		return f.Code
	}
	return ""
}
