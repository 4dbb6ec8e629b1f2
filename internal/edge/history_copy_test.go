package edge

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/rule"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
	"github.com/tidemark-sync/tidemark/internal/wire"
)

// The hub's database is put back and nobody notices: its log was pruned since, so that
// no cursor proves anything, and a copy of the file went on with the chain, beyond where
// this one was. That the hub knows nothing of what it confirmed last tells (I9).
func TestTrapD5_HubSetBack_UnnoticedBesideACopy(t *testing.T) {
	f := newDistrict(t, 1)
	a := f.sites[0]
	b := &branch{clinic: &clinic{t: t, clk: f.clk, path: filepath.Join(t.TempDir(), "copy.db"), seed: 77}, dev: a.dev}
	if err := sqlite.Exec(a.app, "VACUUM INTO ?", change.Text(b.clinic.path)); err != nil {
		t.Fatal(err)
	}
	b.open()
	t.Cleanup(b.close)
	restore := f.backup()
	a.tx("INSERT INTO patient VALUES ('a1', 1, 'Ann', 1, NULL)", "INSERT INTO visit VALUES ('va', 'a1', 'first')")
	if err := f.session(a); err != nil {
		t.Fatal(err)
	}
	restore()
	for _, id := range []string{"b1", "b2", "b3"} {
		b.tx("INSERT INTO patient VALUES ('" + id + "', 1, 'Bob', 1, NULL)")
		b.export()
	}
	if err := f.session(b); err != nil {
		t.Fatal(err)
	}
	f.write("INSERT INTO patient VALUES ('h1', 1, 'Hub', 0, NULL)")
	if _, err := f.store.Prune(t.Context(), f.clk.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	for range 3 { // until it is told apart from its copy
		if err := f.session(a); err != nil {
			t.Log(err) // it has to greet again
		}
	}
	f.same("'a1'|'Ann'|1\n'b1'|'Bob'|1\n'b2'|'Bob'|1\n'b3'|'Bob'|1\n'h1'|'Hub'|0\n'va'|'a1'|'first'")
	a.want("SELECT count(*) FROM _tidemark_event WHERE kind='hub-restored'", "1")
}

// The rows of a scope that came to a device were fetched, and the line broke before the
// delta that belongs to them. Then the hub is set back behind them: what it has no more
// must not come in with a delta that says nothing of it (I2).
func TestTrapD18_HubSetBackBehindFetchedRows(t *testing.T) {
	f := newDistrict(t, 1)
	a := f.sites[0]
	f.rules.Tables[0].Scope = rule.Scope{Kind: "branch", Column: "branch"}
	if err := f.store.Close(); err != nil {
		t.Fatal(err)
	}
	f.serve()
	grantTo(t, f.hub, a.dev, branchGrants(1)...)
	f.write("INSERT INTO patient VALUES ('p1', 1, 'Ann', 0, NULL), ('p2', 2, 'Bob', 0, NULL)")
	f.sync()
	grantTo(t, f.hub, a.dev, branchGrants(1, 2)...)
	restore := f.backup()
	f.write("INSERT INTO patient VALUES ('lost', 2, 'Eve', 0, NULL)")
	es, hs := NewSession(a.e, SessionConfig{Device: a.dev}), f.hub.NewSession(a.dev)
	fetched := false
	err := converse(t.Context(), es, hs, func(m wire.Message) (wire.Message, bool) { return copied(t, m), !fetched },
		func(m wire.Message) (wire.Message, bool) {
			_, chunk := m.(*wire.Chunk)
			fetched = fetched || chunk
			return copied(t, m), true
		})
	if es.Close(); err != nil || !fetched {
		t.Fatal(fetched, err)
	}
	restore()
	if _, err := f.hub.Begin(t.Context(), change.Restored); err != nil {
		t.Fatal(err)
	}
	f.sync()
	f.same("'p1'|'Ann'|0\n'p2'|'Bob'|0")
}

// The hub was set back on purpose, and got what it lost from an outbox that had been
// packed before, so that the file's chain fits. What it parked this time waits here, too,
// whatever the hub said in the life before (I4).
func TestTrapD5_OutcomeOfALifeThatIsOver(t *testing.T) {
	f := newDistrict(t, 1)
	a := f.sites[0]
	f.write("INSERT INTO patient VALUES ('p', 1, 'Ann', 10, NULL)")
	f.sync()
	restore := f.backup()
	a.tx("UPDATE patient SET visits=visits+1 WHERE id='p'")
	a.export()
	packed, err := a.e.outboxRows(0)
	if err != nil || len(packed) != 1 {
		t.Fatal(packed, err)
	}
	tx, err := a.e.transaction(packed[0].seq)
	if err != nil {
		t.Fatal(err)
	}
	f.sync()
	f.same("'p'|'Ann'|11")
	restore()
	if _, err := f.hub.Begin(t.Context(), change.Undone); err != nil {
		t.Fatal(err)
	}
	grantTo(t, f.hub, a.dev, rule.Grant{Scope: rule.ScopeAll, Verbs: rule.Read})
	if res, err := f.hub.Push(t.Context(), a.dev, []*change.Transaction{tx}); err != nil || res.Durable != 1 {
		t.Fatal(res, err)
	}
	f.sync()
	if codes, _ := f.parked(); codes != "rights" {
		t.Fatalf("parked: %s", codes)
	}
	a.want("SELECT visits FROM patient", "11") // 10 at the hub, and what waits
	a.want("SELECT count(*) FROM _tidemark_pending", "1")
}

// What the outbox holds as confirmed need not be named: the hub's end of the chain tells
// whether it is there. What only the redo ring holds has to be.
func TestHello_NamesWhatTheChainDoesNotTell(t *testing.T) {
	c := enrolled(t)
	named := func(why string, want bool) {
		t.Helper()
		h, err := c.e.Hello("agent", testDevice)
		if err != nil {
			t.Fatal(err)
		}
		if got := !h.Newest.ID.IsZero(); got != want {
			t.Fatalf("%s: a transaction is named: %v", why, got)
		}
	}
	named("nothing was handed in", false)
	c.add("a", 3)
	c.dial().sync()
	named("the hub has the chain", false)
	if err := c.e.locked(c.e.fork); err != nil {
		t.Fatal(err)
	}
	named("a life of the file is over", true)
	c.add("b", 1)
	c.dial().sync()
	named("the next one's work is there", false)
}
