package edge

import (
	"errors"
	"strings"
	"testing"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/wire"
)

// A transaction larger than a frame travels in parts and is applied whole; what
// follows flows.
func TestTrapD14_LargerThanAFrameTravelsInParts(t *testing.T) {
	b := newBranch(t, hub.Limits{Frame: 6 << 10, Tx: 200_000})
	b.session()
	b.tx("INSERT INTO patient VALUES ('small', 1, 'x', 0, NULL)")
	b.big("big", 100_000)
	b.tx("INSERT INTO patient VALUES ('later', 1, 'x', 0, NULL)")
	b.session()
	if n, largest := b.parts(); n < 10 || largest > 6<<10 {
		t.Fatalf("%d frames, the largest of %d bytes", n, largest)
	}
	b.atHub("SELECT group_concat(id || length(name), ' ') FROM (SELECT * FROM patient ORDER BY id)", "'big100000 later1 small1'")
	if st := b.status(); st.Waiting+st.Unsettled+st.Quarantined != 0 {
		t.Fatalf("status %+v", st)
	}
	b.want("SELECT count(*) FROM _tidemark_meta WHERE key LIKE 'stub:%'", "0")
}

// The line is cut at every frame in turn, with the agent or the hub restarting: no
// half body is ever taken for a whole one, and none is left behind.
func TestTrapD14_CutBetweenParts(t *testing.T) {
	lim := hub.Limits{Frame: 6 << 10, Tx: 100_000}
	b := newBranch(t, lim)
	b.session()
	b.big("big", 20_000)
	b.tx("INSERT INTO patient VALUES ('later', 1, 'x', 0, NULL)")
	cuts := 0
	for n := 1; ; n++ {
		cut := false
		b.lost = func(at int, m wire.Message) bool { cut = cut || at > n; return cut }
		b.session()
		b.atHub("SELECT count(*)=(SELECT count(*) FROM visit) FROM patient WHERE id='big'", "1")
		if !cut {
			break
		}
		if cuts++; n%2 == 0 {
			b.reopen()
		} else {
			b.serve(lim)
		}
		if n == 40 {
			t.Fatal("it never gets through")
		}
	}
	if cuts < 5 {
		t.Fatalf("only %d cuts", cuts)
	}
	b.lost = nil
	b.session()
	b.atHub("SELECT group_concat(id, ' ') FROM (SELECT id FROM patient ORDER BY id)", "'big later'")
	if st := b.status(); st.Waiting+st.Unsettled+st.Quarantined != 0 {
		t.Fatalf("status %+v", st)
	}
}

// Above the hub's limit on a transaction, but receivable: the hub keeps it.
func TestTrapD14_LargerThanTheHubAppliesIsParkedWhole(t *testing.T) {
	b := newBranch(t, hub.Limits{Frame: 20 << 10, Tx: 100_000})
	b.session()
	b.big("big", 115_000)
	b.tx("INSERT INTO patient VALUES ('later', 1, 'x', 0, NULL)")
	b.session()
	q := b.waiting()
	if len(q) != 1 || q[0].Code != "oversized" || q[0].Absent || len(q[0].Tx) < 115_000 {
		t.Fatalf("at the hub: %d, %+v", len(q), q[0].Reason)
	}
	b.atHub("SELECT group_concat(id) FROM patient", "'later'")
	if st := b.status(); st.Quarantined != 1 || st.Waiting != 0 {
		t.Fatalf("status %+v", st)
	}
}

// Too large even to receive: its place in the chain is taken by a stub. Both ends
// show it, what depends on it waits for it, everything else flows, and it goes in
// once the hub takes more.
func TestTrapD14_LargerThanTheHubReceives(t *testing.T) {
	b := newBranch(t, hub.Limits{Frame: 6 << 10, Tx: 40_000})
	b.session()
	b.big("big", 200_000)
	b.tx("INSERT INTO patient VALUES ('later', 1, 'x', 0, NULL)")
	b.tx("UPDATE patient SET branch=2 WHERE id='big'", "INSERT INTO visit VALUES ('v2', 'big', 'child')")
	b.tx("INSERT INTO patient VALUES ('last', 1, 'x', 0, NULL)")
	b.session()
	b.atHub("SELECT group_concat(id, ' ') FROM (SELECT id FROM patient ORDER BY id)", "'last later'")
	if _, largest := b.parts(); largest > 6<<10 {
		t.Fatalf("a frame of %d bytes", largest)
	}
	list := b.waiting()
	if len(list) != 2 || !list[0].Absent || list[0].Code != "oversized" || list[1].Code != "depends" || list[1].DependsOn[0] != list[0].ID {
		t.Fatalf("at the hub: %+v", list)
	}
	q := b.queue()
	if len(q) != 2 || q[0].State != "quarantined" || !strings.Contains(q[0].Reason, "more than this hub takes in") || q[0].ID != list[0].ID {
		t.Fatalf("queue %+v", q)
	}
	if st := b.status(); st.Quarantined != 2 || st.Waiting != 0 || st.OldestUnsafe != 0 {
		t.Fatalf("status %+v", st)
	}
	b.want("SELECT length(name), branch FROM patient WHERE id='big'", "200000|2") // nothing is lost

	// Nobody can apply what is not there.
	if _, err := b.hub.Retry(t.Context(), list[0].ID); err == nil || !strings.Contains(err.Error(), "still at the device") {
		t.Fatalf("retry: %v", err)
	}
	if _, err := b.hub.Edit(t.Context(), list[0].ID, []hub.Edit{{Op: 0, Drop: true}}); err == nil || !strings.Contains(err.Error(), "still at the device") {
		t.Fatalf("edit: %v", err)
	}
	// Sessions with the same limits do not send it again.
	b.session()
	if n, _ := b.parts(); n != 0 {
		t.Fatalf("%d frames of pushes without work", n)
	}

	b.serve(hub.Limits{Frame: 6 << 10, Tx: 400_000})
	b.reopen()
	b.session()
	b.session() // the outcome of what waited for it
	if list = b.waiting(); len(list) != 0 {
		t.Fatalf("still in quarantine: %+v", list)
	}
	b.atHub("SELECT length(name) || ' ' || branch || ' ' || (SELECT count(*) FROM visit WHERE patient_id='big') FROM patient WHERE id='big'", "'200000 2 2'")
	if st := b.status(); st.Quarantined+st.Unsettled+st.Waiting != 0 {
		t.Fatalf("status %+v", st)
	}
	b.want("SELECT length(name), branch FROM patient WHERE id='big'", "200000|2")
	b.session()
	b.want("SELECT count(*) FROM _tidemark_meta WHERE key LIKE 'stub:%'", "0")
}

// Discarding a transaction whose values never came leaves a rescue copy of them.
func TestTrapD14_DiscardedStubLeavesARescueCopy(t *testing.T) {
	b := newBranch(t, hub.Limits{Frame: 6 << 10, Tx: 40_000})
	b.session()
	b.big("big", 200_000)
	b.session()
	list := b.waiting()
	if len(list) != 1 {
		t.Fatalf("at the hub: %+v", list)
	}
	if _, err := b.hub.Discard(t.Context(), list[0].ID, "not needed"); err != nil {
		t.Fatal(err)
	}
	b.session()
	b.want("SELECT count(*) FROM patient", "0")
	rs, err := b.e.Rescues(0, 9)
	if err != nil || len(rs) != 1 || len(rs[0].Tx.Ops[0].New[2].Str()) != 200_000 {
		t.Fatalf("%d rescues, %v", len(rs), err)
	}
	b.session() // settled: the mark goes
	b.want("SELECT count(*) FROM _tidemark_meta WHERE key LIKE 'stub:%'", "0")
}

// Too many rows to unpack, though the bytes are few: the stub carries no rows then.
func TestTrapD14_MoreRowsThanTheHubUnpacks(t *testing.T) {
	b := newBranch(t, hub.Limits{Ops: 50})
	b.session()
	b.tx("WITH n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<300) INSERT INTO patient SELECT 'p'||i, 1, 'x', 0, NULL FROM n")
	for range 3 {
		b.tx("WITH n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<45) INSERT INTO patient SELECT hex(randomblob(8)), 1, 'x', 0, NULL FROM n")
	}
	b.session()
	b.atHub("SELECT count(*) FROM patient", "135")
	list := b.waiting()
	if len(list) != 1 || !list[0].Absent || !strings.Contains(list[0].Reason, "300 rows") {
		t.Fatalf("at the hub: %+v", list)
	}
	if st := b.status(); st.Quarantined != 1 || st.Waiting+st.Unsettled != 0 {
		t.Fatalf("status %+v", st)
	}
	b.serve(hub.Limits{Ops: 1000})
	b.session()
	b.atHub("SELECT count(*) FROM patient", "435")
	b.session()
	if st := b.status(); st.Quarantined+st.Unsettled+st.Waiting != 0 {
		t.Fatalf("status %+v", st)
	}
}

// The file is restored from a backup made while the hub had a stub only, and the
// hub takes more by now: the whole comes under another incarnation, and takes the
// stub's place once.
func TestTrapD14_StubFilledByARestoredFile(t *testing.T) {
	b := newBranch(t, hub.Limits{Frame: 6 << 10, Tx: 40_000})
	b.session()
	b.big("big", 200_000)
	b.tx("INSERT INTO patient VALUES ('later', 1, 'x', 0, NULL)")
	b.export()
	b.lost = func(_ int, m wire.Message) bool { _, pull := m.(*wire.Pull); return pull }
	b.session()
	b.lost = nil
	if err := b.e.locked(b.e.fork); err != nil { // as if the file had been found to be a copy
		t.Fatal(err)
	}
	b.serve(hub.Limits{Frame: 6 << 10, Tx: 400_000})
	b.session()
	b.session()
	if list := b.waiting(); len(list) != 0 {
		t.Fatalf("still in quarantine: %+v", list)
	}
	b.atHub("SELECT group_concat(id, ' ') FROM (SELECT id FROM patient ORDER BY id)", "'big later'")
	if st := b.status(); st.Quarantined+st.Unsettled+st.Waiting != 0 {
		t.Fatalf("status %+v", st)
	}
	b.want("SELECT length(name) FROM patient WHERE id='big'", "200000")
}

// A file that the application keeps locked delays a stub, and ends no session.
func TestTrapD14_StubWaitsForALockedFile(t *testing.T) {
	b := newBranch(t, hub.Limits{Frame: 6 << 10, Tx: 40_000})
	b.session()
	b.big("big", 200_000)
	b.export()
	b.e.conn.SetBusyTimeout(0)
	b.exec("BEGIN IMMEDIATE")
	b.session()
	b.exec("COMMIT")
	if len(b.waiting()) != 0 {
		t.Fatal("a stub went without its mark")
	}
	b.session()
	if len(b.waiting()) != 1 {
		t.Fatal("the stub did not go")
	}
}

// A hub collects no more than it says it does.
func TestTrapD14_HubBoundsWhatItCollects(t *testing.T) {
	b := newBranch(t, hub.Limits{Frame: 6 << 10, Tx: 40_000})
	b.session()
	_, inc := b.e.Identity()
	for name, push := range map[string]func() *wire.Push{
		"oversized": func() *wire.Push { return &wire.Push{Body: make([]byte, 6000), More: true} },
		"corrupt":   func() *wire.Push { return &wire.Push{More: true} },
		"malformed": func() *wire.Push {
			body, err := change.SealTransactions(nil)
			if err != nil {
				t.Fatal(err)
			}
			return &wire.Push{Body: body, Stub: &wire.Stub{}}
		},
	} {
		s := b.hub.NewSession(b.dev)
		none := func(wire.Message) error { return nil }
		if err := s.Receive(t.Context(), &wire.Hello{Min: 1, Max: 1, Device: b.dev, Incarnation: inc}, none); err != nil {
			t.Fatal(err)
		}
		var err error
		n := 0
		for ; err == nil && n < 100; n++ {
			err = s.Receive(t.Context(), push(), none)
		}
		var f *wire.Fault
		if !errors.As(err, &f) || f.Code != name || n > 1+(6<<10+50_000)/6000 {
			t.Errorf("%s: after %d parts %v", name, n, err)
		}
	}
}

// Of a stub the hub knows which rows it updates, not which columns: later updates
// of such a row wait, rows that only hang on it do not.
func TestTrapD14_LaterUpdatesWaitForAStub(t *testing.T) {
	b := newBranch(t, hub.Limits{Frame: 6 << 10, Tx: 40_000})
	b.session()
	b.tx("INSERT INTO patient VALUES ('p', 1, 'x', 0, NULL)")
	b.session()
	b.tx("UPDATE patient SET name=hex(randomblob(100000)) WHERE id='p'")
	b.tx("UPDATE patient SET branch=2 WHERE id='p'")
	b.tx("INSERT INTO visit VALUES ('v', 'p', 'child')")
	b.session()
	b.atHub("SELECT name || branch || (SELECT count(*) FROM visit) FROM patient", "'x11'")
	if list := b.waiting(); len(list) != 2 || list[1].Code != "depends" {
		t.Fatalf("%d wait at the hub", len(list))
	}
	// Once the long one is discarded, what waited for it is decided.
	if _, err := b.hub.Discard(t.Context(), b.waiting()[0].ID, "not needed"); err != nil {
		t.Fatal(err)
	}
	b.session()
	if list := b.waiting(); len(list) != 0 {
		t.Fatalf("%d wait at the hub", len(list))
	}
	b.want("SELECT name, branch FROM patient", "'x'|2")
	b.atHub("SELECT name || branch FROM patient", "'x2'")
}
