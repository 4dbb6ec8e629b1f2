package hub_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/rule"
	"github.com/tidemark-sync/tidemark/internal/wire"
)

// A tenant asks for numbers and shares, each question under a new ID.
type tenant struct {
	*site
	asked uint64
}

func (a *tenant) lease(ask *wire.LeaseAsk) *wire.LeaseGrant {
	a.t.Helper()
	a.asked++
	return a.leaseAs(a.asked, ask)
}

func (a *tenant) leaseAs(id uint64, ask *wire.LeaseAsk) *wire.LeaseGrant {
	a.t.Helper()
	ask.ID = id
	g, err := a.hub.Lease(a.ctx, a.id, a.inc, ask)
	a.must(err)
	return g
}

// numbers asks for a range of a series of which nothing is left.
func (a *tenant) numbers(name string) wire.NumberRange {
	a.t.Helper()
	g := a.lease(&wire.LeaseAsk{Numbers: []wire.NumberLeft{{Name: name}}})
	if len(g.Numbers) != 1 {
		a.t.Fatalf("granted %+v", g.Numbers)
	}
	return g.Numbers[0]
}

func leased(w *world, was ...string) {
	w.rule("invoice", func(r *rule.Table) {
		r.Columns = map[string]rule.Column{"number": {Lease: &rule.Lease{Size: 10, Low: 2, Start: 1}, Was: was}}
	})
}

func (w *world) leases() *hub.LeaseReport {
	w.t.Helper()
	r, err := w.hub.Leases(w.ctx)
	w.must(err)
	return r
}

// The same backup is put back again and again. Each life may have handed out numbers
// that no database remembers, and none of them is handed out twice.
func TestLease_BackupPutBackTwice(t *testing.T) {
	for _, recovers := range []bool{false, true} {
		t.Run(fmt.Sprintf("recover=%v", recovers), func(t *testing.T) {
			w := newWorld(t, sealed)
			leased(w)
			a := &tenant{site: w.site("a", everywhere)}
			got := []wire.NumberRange{a.numbers("invoice.number")}
			old := w.backup()
			var known []change.Epoch // as the note beside the database has them
			for i := range 4 {
				w.sql(fmt.Sprintf("INSERT INTO country VALUES ('c%d', 'x')", i))
				list, err := w.hub.Lineage(w.ctx)
				w.must(err)
				for _, b := range list {
					known = append(known, b.Epoch)
				}
				st, err := w.hub.Status(w.ctx)
				w.must(err)
				at := w.clock.Now()
				w.clock.Advance(time.Minute)
				w.putBack(old, func(c *hub.Config) { c.Recover = recovers })
				w.must(w.hub.Compare(w.ctx, st.Cursor, at))
				if waits := w.hub.Behind() != nil; waits == recovers {
					t.Fatalf("the hub waits: %v", waits)
				}
				w.must(w.hub.Outlive(w.ctx, known))
				if !recovers {
					_, err = w.hub.Begin(w.ctx, change.Restored)
					w.must(err)
				}
				for range i + 1 {
					n := a.numbers("invoice.number")
					for _, o := range got {
						if n.First <= o.Last && o.First <= n.Last {
							t.Fatalf("after %d restores %v is leased, which overlaps %v", i+1, n, o)
						}
					}
					got = append(got, n)
				}
				w.clock.Advance(time.Minute)
			}
		})
	}
}

// Lives that are known to be over are noted once.
func TestOutlive_WritesWhatIsMissing(t *testing.T) {
	w := newWorld(t)
	n := func() string { return w.get("SELECT count(*) FROM _tidemark_record WHERE kind='replaced'") }
	list, err := w.hub.Lineage(w.ctx)
	w.must(err)
	w.must(w.hub.Outlive(w.ctx, []change.Epoch{list[0].Epoch, 7}))
	if got := n(); got != "1" {
		t.Fatalf("%s lives are over, want 1", got)
	}
	before := w.get("SELECT rowid, kind, id FROM _tidemark_record WHERE kind='replaced'")
	w.sql("CREATE TRIGGER watch BEFORE INSERT ON _tidemark_record WHEN new.kind='replaced' AND new.id IN (SELECT id FROM _tidemark_record WHERE kind='replaced') BEGIN SELECT raise(ABORT, 'written again'); END")
	w.must(w.hub.Outlive(w.ctx, []change.Epoch{7, 8}))
	if got := n(); got != "2" || !strings.Contains(w.get("SELECT rowid, kind, id FROM _tidemark_record WHERE kind='replaced'"), before) {
		t.Fatalf("%s lives are over, want 2", got)
	}
}

// A column is renamed, and gets its first name back: its numbers go on from the
// highest, whatever name they were handed out under.
func TestLease_ColumnRenamedAndBack(t *testing.T) {
	w := newWorld(t)
	leased(w, "no")
	a := &tenant{site: w.site("a", everywhere)}
	var first []int64
	ask := func(name string) { first = append(first, a.numbers(name).First) }
	rename := func(from, to string) {
		w.sql("ALTER TABLE invoice RENAME COLUMN " + from + " TO " + to)
		w.must(w.hub.Reload(w.ctx, w.rules))
	}
	series := func() string {
		return strings.Join(w.lines("SELECT id FROM _tidemark_record WHERE kind='lease' ORDER BY id"), " ")
	}
	ask("invoice.number")
	rename("number", "no")
	if r := w.leases(); len(r.Numbers) != 1 || r.Numbers[0].Name != "invoice.no" || r.Numbers[0].Size != 10 || r.Numbers[0].Next != 11 || len(r.Numbers[0].Ranges) != 1 || len(r.Numbers[0].Left) != 1 {
		t.Errorf("reported before anybody asked: %+v", r.Numbers)
	}
	ask("invoice.no")
	if got := series(); got != "invoice.no" {
		t.Errorf("series %s", got)
	}
	ask("invoice.no")
	// A record of the first name, as older builds left them.
	w.sql(`INSERT INTO _tidemark_record(kind, id, body) VALUES ('lease', 'invoice.number', CAST('{"next":11}' AS BLOB))`)
	rename("no", "number")
	if got := series(); got != "invoice.number" {
		t.Errorf("series %s", got)
	}
	ask("invoice.number")
	ask("invoice.number")
	if want := []int64{1, 11, 21, 31, 41}; !slices.Equal(first, want) {
		t.Errorf("ranges begin with %v, want %v", first, want)
	}
	if got := series(); got != "invoice.number" {
		t.Errorf("series %s", got)
	}
	r := w.leases()
	if len(r.Numbers) != 1 || r.Numbers[0].Next != 51 || len(r.Numbers[0].Ranges) != 5 {
		t.Fatalf("reported %+v", r.Numbers)
	}
	for i, g := range r.Numbers[0].Ranges {
		if g.First != first[i] || g.Name != "invoice.number" {
			t.Errorf("range %d is %+v", i, g)
		}
	}
}

// A name that another column has now keeps its own numbers.
func TestLease_FormerNameOfAnotherColumn(t *testing.T) {
	w := newWorld(t)
	w.sql("ALTER TABLE invoice ADD COLUMN no INTEGER")
	lease := &rule.Lease{Size: 10, Low: 2, Start: 1}
	w.rule("invoice", func(r *rule.Table) {
		r.Columns = map[string]rule.Column{"number": {Lease: lease, Was: []string{"no"}}, "no": {Lease: lease}}
	})
	a := &tenant{site: w.site("a", everywhere)}
	for _, n := range []string{"invoice.no", "invoice.number"} {
		if r := a.numbers(n); r.First != 1 {
			t.Errorf("%s begins with %d", n, r.First)
		}
	}
}

func TestLease_DamagedSeries(t *testing.T) {
	w := newWorld(t)
	leased(w, "no")
	a := &tenant{site: w.site("a", everywhere)}
	ask := &wire.LeaseAsk{ID: 1, Numbers: []wire.NumberLeft{{Name: "invoice.number"}}}
	w.sql(`INSERT INTO _tidemark_record(kind, id, body) VALUES ('lease', 'invoice.no', CAST('no JSON' AS BLOB))`)
	w.must(w.hub.Reload(w.ctx, w.rules))
	if g, err := w.hub.Lease(w.ctx, a.id, a.inc, ask); err == nil {
		t.Errorf("granted %+v over a damaged record", g.Numbers)
	}
	if _, err := w.hub.Leases(w.ctx); err == nil {
		t.Error("reported over a damaged record")
	}
	w.sql("DELETE FROM _tidemark_record WHERE kind='lease'")
	a.numbers("invoice.number")
	w.sql(`INSERT INTO _tidemark_record(kind, id, body) VALUES ('lease', 'invoice.no', CAST('no JSON' AS BLOB))`)
	w.must(w.hub.Reload(w.ctx, w.rules))
	if g, err := w.hub.Lease(w.ctx, a.id, a.inc, &wire.LeaseAsk{ID: 9, Numbers: ask.Numbers}); err == nil {
		t.Errorf("granted %+v over a damaged record of a former name", g.Numbers)
	}
	w.sql(`UPDATE _tidemark_record SET body=CAST('{"next":5}' AS BLOB) WHERE kind='lease'`)
	w.sql("UPDATE _tidemark_record SET body=CAST('no JSON' AS BLOB) WHERE kind='grant'")
	if _, err := w.hub.Leases(w.ctx); err == nil {
		t.Error("reported over a damaged range")
	}
	w.sql("UPDATE _tidemark_record SET id='invoice.no/1' WHERE kind='grant'; UPDATE _tidemark_record SET id='invoice.no' WHERE kind='lease'")
	if err := w.hub.Reload(w.ctx, w.rules); err == nil || !strings.Contains(err.Error(), "range") {
		t.Errorf("a range that cannot be read was renamed: %v", err)
	}
}

// A former name becomes another column's before anybody asked under the present one.
func TestLease_FormerNameGivenToAnother(t *testing.T) {
	w := newWorld(t)
	leased(w, "no")
	a := &tenant{site: w.site("a", everywhere)}
	a.numbers("invoice.number")
	w.sql("ALTER TABLE invoice RENAME COLUMN number TO no")
	w.must(w.hub.Reload(w.ctx, w.rules))
	w.sql("ALTER TABLE invoice ADD COLUMN number INTEGER")
	lease := &rule.Lease{Size: 10, Low: 2, Start: 1}
	w.rule("invoice", func(r *rule.Table) {
		r.Columns = map[string]rule.Column{"number": {Lease: lease}, "no": {Lease: lease}}
	})
	if n := a.numbers("invoice.number"); n.First != 1 {
		t.Errorf("the new column begins with %d", n.First)
	}
	if n := a.numbers("invoice.no"); n.First != 11 {
		t.Errorf("the renamed one goes on with %d", n.First)
	}
}

// A series that went on under two names in different lives of the hub skips as much as
// the older record makes necessary.
func TestLease_NamesOfDifferentLives(t *testing.T) {
	w := newWorld(t)
	leased(w, "no")
	a := &tenant{site: w.site("a", everywhere)}
	a.numbers("invoice.number")
	w.sql("UPDATE _tidemark_record SET id='invoice.no' WHERE kind='lease'")
	b := w.begin(change.Restored)
	w.sql(fmt.Sprintf(`INSERT INTO _tidemark_record(kind, id, body) VALUES ('lease', 'invoice.number', CAST('{"next":41,"epoch":%d}' AS BLOB))`, uint64(b.Epoch)))
	w.must(w.hub.Reload(w.ctx, w.rules))
	if n := a.numbers("invoice.number"); n.First != 41+160 {
		t.Errorf("goes on with %d", n.First)
	}
}

func bounded(w *world) (change.Key, func(a *tenant, id uint64, left int64) int64) {
	zero := int64(0)
	w.rule("stock", func(r *rule.Table) {
		r.Columns = map[string]rule.Column{"qty": {Policy: rule.Counter, Floor: &zero}}
	})
	key := change.Key{change.Text("k"), change.Text("x")}
	return key, func(a *tenant, id uint64, left int64) int64 {
		g := a.leaseAs(id, &wire.LeaseAsk{Shares: []wire.ShareLeft{{Table: "stock", Key: key, Column: "qty", Left: left}}})
		return g.Shares[0].Add
	}
}

func (w *world) holds(a *tenant) (n int64) {
	w.t.Helper()
	for _, s := range w.leases().Shares {
		if s.Device == a.id {
			n += s.Held
		}
	}
	return n
}

// A question that was overtaken by the next one, on a connection that is only half
// gone, does not take away what the device was given since.
func TestLease_QuestionThatComesLate(t *testing.T) {
	w := newWorld(t)
	_, ask := bounded(w)
	a, b := &tenant{site: w.site("a", everywhere)}, &tenant{site: w.site("b", everywhere)}
	w.sql("INSERT INTO product VALUES ('p','n',1,'k'); INSERT INTO stock VALUES ('k','x',30)")
	has := ask(a, 1, 0)
	w.sql("UPDATE stock SET qty=60")
	has += ask(a, 2, has)
	answer := w.get("SELECT CAST(body AS TEXT) FROM _tidemark_record WHERE kind='holder'")
	w.sql("UPDATE stock SET qty=22")
	ask(a, 1, 0)
	if got := w.holds(a); has != 20 || got < has {
		t.Errorf("the device holds %d, and by the hub %d", has, got)
	}
	if got := w.get("SELECT CAST(body AS TEXT) FROM _tidemark_record WHERE kind='holder'"); got != answer {
		t.Errorf("of the device is kept %s, want %s", got, answer)
	}
	if got := ask(b, 1, 0); has+got > 22 {
		t.Errorf("of 22 one device holds %d, another got %d", has, got)
	}
	if got := ask(a, 2, 10); got != 10 {
		t.Errorf("the later question asked again is answered %+d", got)
	}
}

// One row has one share, of whatever type the device's key column is.
func TestLease_KeyOfAnotherType(t *testing.T) {
	w := newWorld(t)
	key, ask := bounded(w)
	a, b := &tenant{site: w.site("a", everywhere)}, &tenant{site: w.site("b", everywhere)}
	w.sql("INSERT INTO product VALUES ('p','n',1,'7'); INSERT INTO stock VALUES ('7','x',30)")
	key[0] = change.Int(7)
	g := a.lease(&wire.LeaseAsk{Shares: []wire.ShareLeft{{Table: "stock", Key: key, Column: "qty"}}})
	if len(g.Shares) != 1 || g.Shares[0].Add != 10 || g.Shares[0].Key[0] != change.Int(7) {
		t.Fatalf("granted %+v", g.Shares)
	}
	a.applies(updKey("stock", key, "qty", 30, 26))
	key[0] = change.Text("7")
	if got := ask(b, 1, 0); got != 9 {
		t.Errorf("another device got %d", got)
	}
	if n := w.get("SELECT count(*) FROM _tidemark_record WHERE kind='share'"); n != "1" || w.holds(a) != 6 {
		t.Errorf("%s records of shares, the device holds %d by them", n, w.holds(a))
	}
}
