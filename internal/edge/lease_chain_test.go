package edge

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/clock"
	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/rule"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
	store "github.com/tidemark-sync/tidemark/internal/store/sqlite"
	"github.com/tidemark-sync/tidemark/internal/wire"
)

// A chain is a real hub of shops with the stock tables and several devices.
type chain struct {
	t     reporter
	dir   string
	clk   *clock.Manual
	hub   *hub.Hub
	store *store.Store
	rules rule.Rules
	edges []*clinic
	devs  []change.DeviceID
	seed  uint64
	lost  func(m wire.Message) bool // an answer that never arrives; the session ends
}

func newChain(t reporter, dir string, n int) *chain {
	t.Helper()
	f := &chain{t: t, dir: dir, clk: clock.NewManual(time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)), rules: stockRules()}
	f.must(store.Create(f.path(), stockDDL))
	f.serve()
	f.atHub("INSERT INTO stock VALUES ('tea', 1, 30, NULL)")
	for i := range n {
		f.join()
		f.open(i)
	}
	for i := range n {
		f.sync(i)
	}
	return f
}

// again is a chain with the files that another left in a directory.
func again(t reporter, from, dir string, devs []change.DeviceID, seed uint64) *chain {
	t.Helper()
	f := &chain{t: t, dir: dir, clk: clock.NewManual(time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)), rules: stockRules(), seed: seed, devs: devs}
	names, err := filepath.Glob(filepath.Join(from, "*.db"))
	f.must(err)
	for _, n := range names {
		b, err := os.ReadFile(n)
		f.must(err)
		f.must(os.WriteFile(filepath.Join(dir, filepath.Base(n)), b, 0o600))
	}
	f.serve()
	for i := range devs {
		f.open(i)
	}
	return f
}

func (f *chain) must(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

func (f *chain) path() string { return filepath.Join(f.dir, "hub.db") }

func (f *chain) serve() {
	f.t.Helper()
	var key [32]byte
	f.seed++
	binary.LittleEndian.PutUint64(key[:], f.seed)
	rnd := rand.NewChaCha8(key)
	var err error
	f.store, err = store.Open(store.Config{Path: f.path(), Rules: &f.rules, Clock: f.clk, Rand: rnd, NoSync: true})
	f.must(err)
	f.hub, err = hub.New(context.Background(), hub.Config{Store: f.store, Rules: &f.rules, Clock: f.clk, Rand: rnd, DDL: f.store.DDL})
	f.must(err)
}

func (f *chain) atHub(sql string) string {
	f.t.Helper()
	c, err := sqlite.Open(f.path(), sqlite.Options{NoSync: true})
	f.must(err)
	defer c.Close()
	v, _, err := sqlite.One(c, sql)
	f.must(err)
	return v.String()
}

// add is a device that joins and syncs.
func (f *chain) add() *clinic {
	f.t.Helper()
	f.join()
	i := len(f.devs) - 1
	f.open(i)
	f.sync(i)
	return f.edges[i]
}

func (f *chain) join() {
	f.t.Helper()
	i := len(f.devs)
	inv, err := f.hub.AddDevice(context.Background(), fmt.Sprintf("d%d", i), []rule.Grant{{Scope: rule.ScopeAll, Verbs: rule.Every}}, time.Hour)
	f.must(err)
	dev, _, err := f.hub.Join(context.Background(), inv.Secret, fmt.Appendf(nil, "key %d", i))
	f.must(err)
	f.devs = append(f.devs, dev)
}

func (f *chain) open(i int) {
	f.t.Helper()
	c := &clinic{t: f.t, path: filepath.Join(f.dir, fmt.Sprintf("d%d.db", i)), clk: f.clk, seed: f.seed*100 + uint64(i)*20}
	c.open()
	f.edges = append(f.edges, c)
}

func (f *chain) close() {
	for _, c := range f.edges {
		c.close()
	}
	_ = f.store.Close()
}

// sync is one session of a device, until both sides are idle or an answer is lost.
func (f *chain) sync(i int) {
	f.t.Helper()
	ctx := context.Background()
	es, hs := NewSession(f.edges[i].e, SessionConfig{Device: f.devs[i], Once: true}), f.hub.NewSession(f.devs[i])
	defer es.Close()
	f.must(converse(ctx, es, hs, func(m wire.Message) (wire.Message, bool) { return copied(f.t, m), true },
		func(m wire.Message) (wire.Message, bool) { return m, f.lost == nil || !f.lost(m) }))
}

func (f *chain) syncAll() {
	for range 2 {
		for i := range f.edges {
			f.sync(i)
		}
	}
}

func (f *chain) parked() []hub.Parked {
	list, err := f.hub.Queue(context.Background(), change.DeviceID{})
	f.must(err)
	// What a device still has of a hub that was set back is another matter.
	return slices.DeleteFunc(list, func(p hub.Parked) bool { return p.Salvage })
}

func (f *chain) report() *hub.LeaseReport {
	r, err := f.hub.Leases(context.Background())
	f.must(err)
	return r
}

func (c *clinic) one(sql string) int64 {
	c.t.Helper()
	v, _, err := sqlite.One(c.app, sql)
	if err != nil {
		c.t.Fatal(err)
	}
	return v.Int()
}

func started(t *testing.T, n int) *chain {
	f := newChain(t, t.TempDir(), n)
	t.Cleanup(f.close)
	return f
}

const (
	leftNo = "SELECT left FROM tidemark_number WHERE name = 'invoice.no'"
	myTea  = "SELECT left FROM tidemark_share WHERE key = 'tea/1'"
)

func TestLease_ThreeDevicesOfflineForWeeks(t *testing.T) {
	f := started(t, 3)
	for week := range 3 {
		for i, c := range f.edges {
			for n := range 9 {
				c.exec(fmt.Sprintf("INSERT INTO invoice (id) VALUES ('%d-%d-%d')", i, week, n))
				c.exec(fmt.Sprintf("INSERT INTO ticket SELECT next, '%d-%d-%d' FROM tidemark_number WHERE name = 'ticket.id'", i, week, n))
			}
		}
		f.clk.Advance(7 * 24 * time.Hour)
		f.syncAll()
	}
	if list := f.parked(); len(list) > 0 {
		t.Fatalf("parked: %+v", list[0])
	}
	if got := f.atHub("SELECT count(DISTINCT no) || ' ' || count(*) || ' ' || (SELECT count(*) FROM ticket) FROM invoice"); got != "'81 81 81'" {
		t.Fatal(got)
	}
	for _, c := range f.edges {
		c.want("SELECT count(*) FROM invoice", "81")
		if n := c.one(leftNo); n < 4 {
			t.Fatalf("not topped up: %d left", n)
		}
	}
	r := f.report()
	if len(r.Numbers) != 2 || r.Numbers[0].Name != "invoice.no" || len(r.Numbers[0].Left) != 3 || len(r.Numbers[0].Ranges) < 9 || r.Numbers[0].Size != 10 {
		t.Fatalf("%+v", r.Numbers)
	}
	seen := map[int64]bool{}
	for _, g := range r.Numbers[0].Ranges {
		for n := g.First; n <= g.Last; n++ {
			if seen[n] {
				t.Fatalf("%d was handed out twice", n)
			}
			seen[n] = true
		}
	}
}

func TestLease_NumbersInTheTableAreNotHandedOut(t *testing.T) {
	f := started(t, 0)
	f.atHub("INSERT INTO invoice VALUES ('old', 4711, 1)")
	c := f.add()
	c.want("SELECT next, left FROM tidemark_number WHERE name = 'invoice.no'", "4712|10")
}

func TestLease_LostAnswersBurnNothing(t *testing.T) {
	f := started(t, 1)
	c := f.edges[0]
	next := func() int64 { return f.report().Numbers[0].Next }
	for range 8 {
		c.exec("INSERT INTO invoice (id) VALUES (hex(randomblob(8)))")
	}
	before := next()
	f.lost = func(m wire.Message) bool { _, ok := m.(*wire.LeaseGrant); return ok }
	for range 3 {
		f.sync(0)
	}
	f.lost = nil
	c.want(leftNo, "2")
	f.sync(0)
	f.sync(0)
	c.want(leftNo, "12")
	if got := next(); got != before+10 {
		t.Fatalf("handed out up to %d, was %d", got, before)
	}
}

func TestLease_ForkAsksAnewAndOldRangesStayUsed(t *testing.T) {
	f := started(t, 2)
	c := f.edges[0]
	c.exec("INSERT INTO invoice (id) VALUES ('a'); UPDATE stock SET qty = qty - 2")
	before := f.report().Numbers[0].Next
	if err := c.e.locked(c.e.fork); err != nil {
		t.Fatal(err)
	}
	f.syncAll()
	c.exec("INSERT INTO invoice (id) VALUES ('b')")
	c.want("SELECT no FROM invoice WHERE id = 'b'", fmt.Sprint(before))
	f.syncAll()
	if list := f.parked(); len(list) > 0 {
		t.Fatalf("parked: %+v", list[0])
	}
	// What the life before held is free: shares are even parts of 28.
	c.want(myTea, "10")
}

func TestLease_RestoredHubSkipsAhead(t *testing.T) {
	f := started(t, 2)
	before := f.report().Numbers[0].Next
	if _, err := f.store.Begin(t.Context(), change.Restored); err != nil {
		t.Fatal(err)
	}
	f.syncAll()
	for range 8 {
		f.edges[0].exec("INSERT INTO invoice (id) VALUES (hex(randomblob(8)))")
	}
	f.syncAll()
	if next := f.report().Numbers[0].Next; next != before+16*10+10 {
		t.Fatalf("next is %d after %d", next, before)
	}
	// A device that got a range in the lost life says so, and it is passed by.
	c := f.edges[1]
	c.exec("INSERT INTO _tidemark_lease VALUES ('invoice.no', 5001, 5010, 5011)")
	for range 8 {
		c.exec("INSERT INTO invoice (id) VALUES (hex(randomblob(8)))")
	}
	f.syncAll()
	c.want("SELECT max(last) FROM _tidemark_lease WHERE name = 'invoice.no'", "5020")
}

// skippedTwice checks that the invoices' numbers go on behind all that two lives may have
// granted, of which before was the first.
func (f *chain) skippedTwice(before int64) {
	f.t.Helper()
	f.syncAll()
	for range 8 {
		f.edges[0].exec("INSERT INTO invoice (id) VALUES (hex(randomblob(8)))")
	}
	f.syncAll()
	if next := f.report().Numbers[0].Next; next != before+2*16*10+10 {
		f.t.Fatalf("next is %d after %d", next, before)
	}
}

// A life that begins from a copy without the grants of the life before, which had skipped
// ahead itself, skips further than that one.
func TestLease_HubSetBackTwiceSkipsTwice(t *testing.T) {
	f := started(t, 2)
	before := f.report().Numbers[0].Next
	for range 2 { // what the first of these lives granted is lost with it
		if _, err := f.store.Begin(t.Context(), change.Restored); err != nil {
			t.Fatal(err)
		}
	}
	f.skippedTwice(before)
}

// A copy that is put back twice knows nothing of the life between.
func TestLease_LifeThatTheDatabaseForgotIsSkippedToo(t *testing.T) {
	f := started(t, 2)
	before := f.report().Numbers[0].Next
	if err := f.hub.Outlive(t.Context(), []change.Epoch{77}); err != nil {
		t.Fatal(err)
	}
	if _, err := f.store.Begin(t.Context(), change.Restored); err != nil {
		t.Fatal(err)
	}
	f.skippedTwice(before)
}

// Three devices and the hub share what there is; nothing is sold twice, and what a
// device does not need comes to the others in time.
func TestShare_FairParts(t *testing.T) {
	f := started(t, 3)
	f.syncAll()
	for _, c := range f.edges {
		c.want(myTea, "8") // of 30: a fourth each, one part stays free
	}
	a, b := f.edges[0], f.edges[1]
	a.exec("UPDATE stock SET qty = qty - 8")
	a.refused("UPDATE stock SET qty = qty - 1", "share does not reach")
	f.sync(0)
	a.want(myTea, "6") // of 22: all that was free
	b.exec("UPDATE stock SET qty = qty + 100")
	b.want(myTea, "108")
	f.syncAll()
	f.syncAll() // asked to give back, reported, granted
	if n := b.one(myTea); n > 2*31 || n < 31 {
		t.Fatalf("b keeps %d of 122", n)
	}
	if n := a.one(myTea); n < 20 {
		t.Fatalf("a has %d of 122", n)
	}
	r := f.report()
	if len(r.Shares) != 3 || r.Shares[0].Column != "qty" || r.Shares[0].Rows != 1 {
		t.Fatalf("%+v", r.Shares)
	}
	if err := f.hub.Revoke(t.Context(), f.devs[1], "lost"); err != nil {
		t.Fatal(err)
	}
	if r := f.report(); len(r.Shares) != 2 {
		t.Fatalf("a revoked device holds shares: %+v", r.Shares)
	}
}

// Without a share, as from an application whose triggers were gone, a sale of what
// others hold waits in quarantine, and goes through when they gave it up.
func TestShare_SaleOfWhatOthersHoldIsParked(t *testing.T) {
	f := started(t, 2)
	f.syncAll()
	a, b := f.edges[0], f.edges[1]
	a.want(myTea, "10")
	b.exec("UPDATE _tidemark_share SET left = 100; UPDATE stock SET qty = qty - 25")
	f.sync(1)
	list := f.parked()
	if len(list) != 1 || list[0].Code != "floor" || !strings.Contains(list[0].Reason, "qty would be 5, and must not go below 10: other devices hold shares of 10 of it") {
		t.Fatalf("%+v", list)
	}
	if err := f.hub.Revoke(t.Context(), f.devs[0], "lost"); err != nil {
		t.Fatal(err)
	}
	if _, err := f.hub.Retry(t.Context(), list[0].ID); err != nil {
		t.Fatal(err)
	}
	if got := f.atHub("SELECT qty FROM stock"); got != "5" {
		t.Fatal(got)
	}
	b.exec("UPDATE _tidemark_share SET left = 100; UPDATE stock SET qty = qty - 6")
	f.sync(1)
	if list = f.parked(); len(list) != 1 || !strings.Contains(list[0].Reason, "below its floor 0") {
		t.Fatalf("%+v", list)
	}
	if _, err := f.hub.Discard(t.Context(), list[0].ID, "no such stock"); err != nil {
		t.Fatal(err)
	}
	f.sync(1)
	b.want("SELECT qty FROM stock", "5")
}

func TestShare_InsertedRowBelongsToItsMaker(t *testing.T) {
	f := started(t, 2)
	a, b := f.edges[0], f.edges[1]
	a.exec("INSERT INTO stock VALUES ('oil', 1, 40, NULL)")
	a.exec("UPDATE stock SET qty = qty - 10 WHERE code = 'oil'")
	f.syncAll()
	f.syncAll()
	b.exec("UPDATE stock SET qty = qty - 5 WHERE code = 'oil'")
	a.exec("UPDATE stock SET qty = qty - 5 WHERE code = 'oil'")
	f.syncAll()
	if list := f.parked(); len(list) > 0 {
		t.Fatalf("parked: %+v", list[0])
	}
	if got := f.atHub("SELECT qty FROM stock WHERE code = 'oil'"); got != "20" {
		t.Fatal(got)
	}
	a.exec("DELETE FROM stock WHERE code = 'oil'")
	f.syncAll()
	b.exec("UPDATE stock SET note = 'nothing there' WHERE code = 'oil'")
	f.syncAll()
	if n := f.atHub("SELECT count(*) FROM _tidemark_record WHERE kind = 'share'"); n != "1" {
		t.Fatalf("%s share records are left", n)
	}
}

// Random sales, restocks, sessions, lost answers and copies of files: the stock is
// never below its floor anywhere, everything sold was there, and nothing is parked.
func TestShare_NeverBelowTheFloor(t *testing.T) {
	first := newChain(t, t.TempDir(), 3)
	first.close()
	seed := uint64(1)
	rapid.Check(t, func(rt *rapid.T) {
		seed++
		f := again(rt, first.dir, t.TempDir(), first.devs, seed)
		defer f.close()
		stock, moved := int64(30), int64(0)
		for range rapid.IntRange(5, 25).Draw(rt, "steps") {
			i := rapid.IntRange(0, len(f.edges)-1).Draw(rt, "device")
			c := f.edges[i]
			switch rapid.IntRange(0, 9).Draw(rt, "what") {
			case 0:
				n := rapid.Int64Range(1, 6).Draw(rt, "in")
				c.exec(fmt.Sprintf("UPDATE stock SET qty = qty + %d", n))
				moved += n
			case 1, 2, 3, 4, 5:
				n := rapid.Int64Range(1, 8).Draw(rt, "out")
				if c.try(fmt.Sprintf("UPDATE stock SET qty = qty - %d", n)) == nil {
					moved -= n
				}
			case 6:
				kill := rapid.IntRange(1, 6).Draw(rt, "lost")
				f.lost = func(wire.Message) bool { kill--; return kill < 0 }
				f.sync(i)
				f.lost = nil
			case 7:
				f.must(c.e.locked(c.e.fork))
			default:
				f.sync(i)
			}
			for _, c := range f.edges {
				if n := c.one("SELECT min(qty) FROM stock"); n < 0 {
					rt.Fatalf("a device shows %d", n)
				}
			}
		}
		f.syncAll()
		if list := f.parked(); len(list) > 0 {
			rt.Fatalf("parked: %+v", list[0])
		}
		want := fmt.Sprint(stock + moved)
		if got := f.atHub("SELECT qty FROM stock"); got != want || stock+moved < 0 {
			rt.Fatalf("the hub has %s of %s", got, want)
		}
		held := int64(0)
		for _, c := range f.edges {
			c.want("SELECT qty FROM stock", want)
			held += c.one("SELECT coalesce(sum(left), 0) FROM tidemark_share")
		}
		if held > stock+moved {
			rt.Fatalf("devices hold %d of %s", held, want)
		}
	})
}

// put puts an earlier copy of the hub's file back, as after a disaster.
func (f *chain) put(old []byte) {
	f.t.Helper()
	f.must(f.store.Close())
	for _, tail := range []string{"-wal", "-shm"} {
		_ = os.Remove(f.path() + tail)
	}
	f.must(os.WriteFile(f.path(), old, 0o600))
	f.serve()
	_, err := f.store.Begin(context.Background(), change.Restored)
	f.must(err)
}

// copy is the hub's file now.
func (f *chain) copy() []byte {
	f.t.Helper()
	f.must(f.store.Close())
	b, err := os.ReadFile(f.path())
	f.must(err)
	f.serve()
	return b
}

// A hub that was set back hears from its devices what they hold: numbers of the
// lost life are not handed out again, shares count as they are.
func TestLease_HubSetBackAYear(t *testing.T) {
	f := started(t, 2)
	f.syncAll()
	old := f.copy()
	a, b := f.edges[0], f.edges[1]
	for _, c := range f.edges {
		for range 27 {
			if c.one(leftNo) == 0 {
				f.syncAll()
			}
			c.exec("INSERT INTO invoice (id) VALUES (hex(randomblob(8)))")
		}
	}
	a.exec("UPDATE stock SET qty = qty - 8")
	f.syncAll()
	b.exec("UPDATE stock SET qty = qty - 3")
	f.syncAll()
	held := []string{a.rows(myTea), b.rows(myTea)}
	f.put(old)
	f.syncAll()
	f.syncAll()
	if list := f.parked(); len(list) > 0 {
		t.Fatalf("parked: %+v", list[0])
	}
	if got := f.atHub("SELECT count(DISTINCT no) || ' ' || count(*) || ' ' || (SELECT qty FROM stock) FROM invoice"); got != "'54 54 19'" {
		t.Fatal(got)
	}
	if n := a.one(myTea) + b.one(myTea); n > 19 {
		t.Fatalf("devices hold %d of 19, held %v", n, held)
	}
	for i, c := range f.edges {
		for range 15 {
			if c.one(leftNo) == 0 {
				f.sync(i)
			}
			c.exec("INSERT INTO invoice (id) VALUES (hex(randomblob(8)))")
		}
		for c.try("UPDATE stock SET qty = qty - 1") == nil { // all that it may
			c.one(myTea)
		}
	}
	f.syncAll()
	if list := f.parked(); len(list) > 0 {
		t.Fatalf("parked: %+v", list[0])
	}
	if got := f.atHub("SELECT count(DISTINCT no) || ' ' || count(*) FROM invoice"); got != "'84 84'" {
		t.Fatal(got)
	}
}

func TestLease_HubAnswersOnlyWhatItCan(t *testing.T) {
	f := started(t, 1)
	ctx, dev := t.Context(), f.devs[0]
	_, inc := f.edges[0].e.Identity()
	f.atHub("INSERT INTO stock VALUES ('gone', 1, 5, NULL)")
	g, err := f.hub.Lease(ctx, dev, inc, &wire.LeaseAsk{ID: 90, Numbers: []wire.NumberLeft{{Name: "invoice.total"}, {Name: "nothing.at_all"}}, Shares: []wire.ShareLeft{
		{Table: "nothing", Key: change.Key{text("x")}, Column: "qty"}, {Table: "stock", Key: change.Key{text("x")}, Column: "qty"},
		{Table: "stock", Key: change.Key{text("x"), num(1)}, Column: "note"}, {Table: "stock", Key: change.Key{text("x"), num(1)}, Column: "qty", Left: -1},
		{Table: "stock", Key: change.Key{text("unheard"), num(1)}, Column: "qty"},
		{Table: "stock", Key: change.Key{text("gone"), num(1)}, Column: "qty", Left: 1000},
	}})
	if err != nil || len(g.Numbers) != 0 || len(g.Shares) != 2 || g.Shares[0].Add != 0 || g.Shares[1].Add != 3-1000 {
		t.Fatalf("%+v %v", g, err)
	}
	f.must(f.hub.SetGrants(ctx, dev, []rule.Grant{{Scope: rule.ScopeAll, Verbs: rule.Read}}))
	g, err = f.hub.Lease(ctx, dev, inc, &wire.LeaseAsk{ID: 91, Numbers: []wire.NumberLeft{{Name: "invoice.no"}},
		Shares: []wire.ShareLeft{{Table: "stock", Key: change.Key{text("tea"), num(1)}, Column: "qty"}}})
	if err != nil || len(g.Numbers) != 0 || g.Shares[0].Add != 0 {
		t.Fatalf("a device that only reads got %+v %v", g, err)
	}
	f.must(f.hub.SetGrants(ctx, dev, []rule.Grant{{Scope: rule.ScopeAll, Verbs: rule.Every}}))
	_, err = f.hub.Begin(ctx, change.Restored) // only then a device may know better
	f.must(err)
	g, err = f.hub.Lease(ctx, dev, inc, &wire.LeaseAsk{ID: 92, Numbers: []wire.NumberLeft{{Name: "invoice.no", Highest: rule.MaxNumber - 3}}})
	if err != nil || len(g.Numbers) != 0 {
		t.Fatalf("numbers beyond the last: %+v %v", g, err)
	}
	if _, err = f.hub.Lease(ctx, dev, inc, &wire.LeaseAsk{ID: 93, Numbers: make([]wire.NumberLeft, 20_000)}); err == nil {
		t.Fatal("a question of any length is taken")
	}
	if _, err = f.hub.Lease(ctx, change.DeviceID{1}, inc, &wire.LeaseAsk{ID: 1}); err == nil {
		t.Fatal("a device that nobody knows gets an answer")
	}
}

func TestShare_RowsOfOddValuesAreParked(t *testing.T) {
	f := started(t, 1)
	f.syncAll()
	c := f.edges[0]
	c.exec("DROP TRIGGER _tidemark_2_taken_2; DROP TRIGGER _tidemark_2_replaced_2")
	c.exec("UPDATE stock SET qty = 7.25")
	f.sync(0)
	if list := f.parked(); len(list) != 1 || !strings.Contains(list[0].Reason, "counts whole things, and would be 7.25") {
		t.Fatalf("%+v", list)
	}
}
