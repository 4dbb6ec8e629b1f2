package edge

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/rule"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
	"github.com/tidemark-sync/tidemark/internal/wire"
)

func TestTrapS21_AppIsNotLockedOutWhileReceiving(t *testing.T) {
	c := enrolled(t)
	l := c.dial()
	if err := l.run(); err != nil {
		t.Fatal(err)
	}
	c.seedPatients(200)
	c.h.chunk = 10
	ctx := context.Background()
	if err := l.p.wake(l.receive); err != nil {
		t.Fatal(err)
	}
	parts := 0
	for len(l.down) > 0 {
		m := l.down[0]
		l.down = l.down[1:]
		if d, ok := m.(*wire.Delta); ok && !d.Last {
			parts++
			// The app has no busy timeout: one lock held now would fail it.
			c.exec(fmt.Sprintf("INSERT INTO patient VALUES ('app%d', 1, 'x', 0, NULL)", parts))
		}
		if err := l.s.Receive(ctx, m, l.send); err != nil {
			t.Fatal(err)
		}
	}
	if parts < 100 {
		t.Fatalf("only %d parts", parts)
	}
	l.sync()
	c.agree(true)
}

// An app that keeps the file locked delays the apply and ends no session.
func TestTrapS21_AppKeepsTheFileLocked(t *testing.T) {
	c := enrolled(t)
	l := c.dial()
	if err := l.run(); err != nil {
		t.Fatal(err)
	}
	c.h.put("patient", text("a"), num(1), text("Ann"), num(0), change.Null)
	c.e.conn.SetBusyTimeout(0)
	c.exec("BEGIN IMMEDIATE; INSERT INTO patient VALUES ('app', 1, 'x', 0, NULL)")
	l.sync()
	c.exec("COMMIT")
	c.want("SELECT count(*) FROM patient", "1")
	if ok, err := l.s.Synced(); err != nil || ok {
		t.Fatalf("synced %v, %v", ok, err)
	}
	c.clk.Advance(time.Second)
	if err := l.s.Tick(context.Background(), l.send); err != nil {
		t.Fatal(err)
	}
	l.sync()
	c.agree(true)
	c.want("SELECT count(*) FROM patient", "2")
}

func TestTrapD3_OwnWriteNeverFlickers(t *testing.T) {
	c := newClinic(t)
	c.h.put("patient", text("a"), num(1), text("Ann"), num(0), change.Null)
	l := c.dial()
	l.sync()
	c.exec("UPDATE patient SET name='mine' WHERE id='a'")
	// A change that somebody else made to another column travels towards us while
	// our push, and its answer, travel too.
	c.h.put("patient", text("a"), num(2), text("Ann"), num(0), change.Null)
	if err := l.s.Nudge(context.Background(), l.send); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		l.limit = l.n + 1
		if err := l.run(); err != nil {
			t.Fatal(err)
		}
		c.want("SELECT name FROM patient", "'mine'")
	}
	l.limit = 0
	l.sync()
	c.want("SELECT branch, name FROM patient", "2|'mine'")
	c.agree(true)
}

func TestTrapD7_AbsentInSnapshotIsDeleted(t *testing.T) {
	c := newClinic(t)
	c.seedPatients(20)
	c.dial().sync()
	for i := range 10 {
		c.h.del("visit", text(fmt.Sprintf("vp%04d", i)))
		c.h.del("patient", text(fmt.Sprintf("p%04d", i)))
	}
	c.h.floor = len(c.h.log) // the tombstones are gone
	c.dial().sync()
	c.want("SELECT count(*) FROM patient", "10")
	c.agree(true)
}

func TestTrapD8_RebootstrapKeepsTheOutbox(t *testing.T) {
	c := newClinic(t)
	c.seedPatients(20)
	c.dial().sync()
	c.exec("INSERT INTO patient VALUES ('new', 1, 'Ada', 0, NULL); UPDATE patient SET name='mine', visits=visits+1 WHERE id='p0001'; DELETE FROM visit WHERE id='vp0002'; UPDATE visit SET note='edited' WHERE id='vp0003'")
	c.h.put("patient", text("p0001"), num(5), text("theirs"), num(11), change.Null)
	c.h.del("visit", text("vp0003"))
	c.h.floor = len(c.h.log)
	c.h.epoch++
	c.h.decide = parked
	l := c.dial()
	l.sync()
	if ok := c.status(); ok.Quarantined != 1 || !ok.Complete {
		t.Fatalf("status %+v", ok)
	}
	c.want("SELECT branch, name, visits FROM patient WHERE id='p0001'", "5|'mine'|12")
	c.want("SELECT count(*) FROM patient WHERE id='new'", "1")
	c.want("SELECT count(*) FROM visit WHERE id='vp0002'", "0")
	c.want("SELECT note FROM visit WHERE id='vp0003'", "'edited'") // gone at the hub: stays until the outcome
	c.agree(false)
	tx, err := c.e.Queued(c.queue()[0].ID)
	if err != nil {
		t.Fatal(err)
	}
	c.h.conclude(tx, outcomeDiscarded, "")
	l.sync()
	c.agree(true)
}

func TestTrapD13_RevokedPausesAndKeeps(t *testing.T) {
	c := newClinic(t)
	c.seedPatients(3)
	c.dial().sync()
	c.exec("UPDATE patient SET name='mine' WHERE id='p0001'")
	l := c.dial()
	err := l.s.Receive(context.Background(), &wire.Fault{Code: "revoked", Message: "device revoked", Fatal: true}, l.send)
	var f *wire.Fault
	if !errors.As(err, &f) || !f.Fatal || f.Code != "revoked" {
		t.Fatalf("error %v", err)
	}
	c.want("SELECT name FROM patient WHERE id='p0001'", "'mine'")
	if st := c.status(); st.Waiting != 1 || st.OldestUnsafe == 0 {
		t.Fatalf("status %+v", st)
	}
}

func TestTrapD14_LargeDeltaStagesInAFile(t *testing.T) {
	c := enrolled(t)
	l := c.dial()
	l.s.stage.limit = 500
	if err := l.run(); err != nil {
		t.Fatal(err)
	}
	c.seedPatients(100)
	if err := l.p.wake(l.receive); err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	spilled := false
	for len(l.down) > 0 {
		m := l.down[0]
		l.down = l.down[1:]
		if err := l.s.Receive(ctx, m, l.send); err != nil {
			t.Fatal(err)
		}
		if exists(l.s.stage.path(deltaFile)) {
			spilled = true
			if l.s.stage.bytes > 500 {
				t.Fatalf("%d bytes in memory", l.s.stage.bytes)
			}
		}
	}
	if !spilled || exists(l.s.stage.path(deltaFile)) {
		t.Fatalf("spilled %v", spilled)
	}
	c.agree(true)
}

func TestTrapD15_RowLeavesScopeWithPendingEdits(t *testing.T) {
	c := newClinic(t)
	c.h.scopeOf = clinicScope(c.h)
	c.h.grants = []rule.Grant{{Scope: "branch/1", Verbs: rule.Every}, {Scope: "branch/2", Verbs: rule.Every}}
	c.h.put("patient", text("a"), num(1), text("Ann"), num(0), change.Null)
	c.h.put("visit", text("v"), text("a"), text("x"))
	l := c.dial()
	l.sync()
	c.h.decide = parked
	c.exec("UPDATE visit SET note='mine' WHERE id='v'")
	c.h.put("patient", text("a"), num(9), text("Ann"), num(0), change.Null)
	l.sync()
	c.want("SELECT note FROM visit", "'mine'")
	c.want("SELECT count(*) FROM patient", "1") // the parent of pending work stays, too
	c.foreign()
	c.agree(false)
	tx, err := c.e.Queued(c.queue()[0].ID)
	if err != nil {
		t.Fatal(err)
	}
	c.h.conclude(tx, outcomeDiscarded, "the row left your branch")
	l.sync()
	c.want("SELECT count(*) FROM visit", "0")
	c.agree(true)
	if st := c.status(); st.Rescues != 1 {
		t.Fatalf("status %+v", st)
	}
}

func clinicScope(h *fakeHub) func(string, []change.Value) rule.ScopeID {
	return func(table string, row []change.Value) rule.ScopeID {
		if table == "visit" {
			if row = h.rows["patient"][change.Key{row[1]}.ID()]; row == nil {
				return ""
			}
		}
		return rule.Of("branch", row[1])
	}
}

func TestSession_ScopesComeAndGo(t *testing.T) {
	c := newClinic(t)
	c.h.scopeOf = clinicScope(c.h)
	c.h.grants = []rule.Grant{{Scope: "branch/0", Verbs: rule.Every}, {Scope: "branch/1", Verbs: rule.Every}}
	c.seedPatients(30)
	c.dial().sync()
	c.want("SELECT group_concat(DISTINCT branch) FROM (SELECT branch FROM patient ORDER BY branch)", "'0,1'")
	c.agree(true)

	c.exec("UPDATE patient SET name='mine' WHERE id='p0000'; UPDATE visit SET note='mine' WHERE id='vp0003'; UPDATE patient SET branch=1 WHERE id='p0006'")
	c.h.decide = parked
	c.h.grants = []rule.Grant{{Scope: "branch/1", Verbs: rule.Every}, {Scope: "branch/2", Verbs: rule.Every}}
	l := c.dial()
	l.sync()
	c.foreign()
	c.agree(false)
	// Unsent work is never lost with its scope, and its parents stay with it.
	c.want("SELECT id FROM patient WHERE id IN (SELECT id FROM patient WHERE branch=0 OR id='p0006') ORDER BY id", "'p0000'\n'p0003'\n'p0006'")
	c.want("SELECT id, note FROM visit WHERE patient_id IN ('p0000','p0003','p0006')", "'vp0003'|'mine'")
	c.want("SELECT count(*) FROM patient WHERE branch=2", "10")
	for _, q := range c.queue() {
		tx, err := c.e.Queued(q.ID)
		if err != nil {
			t.Fatal(err)
		}
		c.h.conclude(tx, outcomeDiscarded, "")
	}
	l.sync()
	c.agree(true)
}

func TestTrapD18_InterruptedBootstrapResumes(t *testing.T) {
	c := newClinic(t)
	c.h.chunk = 7
	c.seedPatients(60)
	r := rand.New(rand.NewPCG(1, 2))
	for cut := 3; ; cut++ {
		l := c.dial()
		fetched := l.s.stage.at.Chunks
		l.limit = cut
		if err := l.run(); err != nil {
			t.Fatal(err)
		}
		if c.status().Complete {
			if fetched == 0 {
				t.Fatal("nothing was resumed")
			}
			break
		}
		if p := l.s.Progress(); cut > 5 && (!p.Fetching || p.Rows == 0 || p.Total == 0) {
			t.Fatalf("progress %+v", p)
		}
		c.want("SELECT count(*) FROM patient", "0") // nothing half is ever shown
		c.h.put("patient", text(fmt.Sprintf("late%03d", cut)), num(1), text("x"), num(0), change.Null)
		if err := l.s.Close(); err != nil {
			t.Fatal(err)
		}
		c.reopen()
		// A crash at any byte: the journal's tail is torn.
		path := c.path + "-tidemark/bootstrap"
		if b, err := os.ReadFile(path); err == nil && len(b) > 0 {
			tear := r.IntN(min(len(b), 400))
			if err := os.Truncate(path, int64(len(b)-tear)); err != nil {
				t.Fatal(err)
			}
		}
	}
	c.dial().sync()
	c.agree(true)
	if exists(c.path + "-tidemark") {
		t.Fatal("the staging directory stays behind")
	}
}

func TestTrapD20_NothingWipesUnsafeWork(t *testing.T) {
	c := newClinic(t)
	c.seedPatients(5)
	c.dial().sync()
	c.exec("UPDATE patient SET name='mine' WHERE id='p0001'")
	c.export()
	// A new setup, other scopes, another history and another epoch at once.
	next := *c.h.setup
	next.Hash = change.Hash{2}
	c.h.setup = &next
	c.h.epoch++
	c.h.log = c.h.log[:3]
	c.h.decide = parked
	c.dial().sync()
	if st := c.status(); st.Quarantined != 1 {
		t.Fatalf("status %+v", st)
	}
	c.want("SELECT name FROM patient WHERE id='p0001'", "'mine'")
	c.agree(false)
}

func TestTrapD4_CloneBecomesAnotherIncarnation(t *testing.T) {
	c := newClinic(t)
	c.seedPatients(5)
	c.dial().sync()
	c.exec("UPDATE patient SET name='before the copy' WHERE id='p0001'; INSERT INTO patient VALUES ('new', 1, 'n', 0, NULL)")
	c.export()
	backup := c.path + ".copy"
	if err := sqlite.Exec(c.app, "VACUUM INTO ?", text(backup)); err != nil {
		t.Fatal(err)
	}
	c.exec("UPDATE patient SET name='after the copy' WHERE id='p0002'")
	c.dial().sync()
	_, inc := c.e.Identity()
	got := len(c.h.received)
	c.h.put("patient", text("p0001"), num(1), text("somebody later"), num(0), change.Null)

	c.close()
	if err := os.Rename(backup, c.path); err != nil {
		t.Fatal(err)
	}
	c.open()
	c.exec("UPDATE patient SET name='in the copy' WHERE id='p0003'")
	c.dial().sync()
	_, now := c.e.Identity()
	if now == inc {
		t.Fatal("the copy goes on under the original's incarnation")
	}
	if len(c.h.received) != got+1 {
		t.Fatalf("%d transactions received, want one more than %d", len(c.h.received), got)
	}
	c.want("SELECT name FROM patient WHERE id IN ('p0001','p0002','p0003') ORDER BY id", "'somebody later'\n'after the copy'\n'in the copy'")
	c.agree(true)
	if ok, err := c.e.quiet(); err != nil || !ok {
		t.Fatalf("quiet %v, %v", ok, err)
	}
}

// A hub restored from a backup gets back what it lost.
func TestSession_HubLostTransactions(t *testing.T) {
	c := newClinic(t)
	c.seedPatients(5)
	c.dial().sync()
	_, inc := c.e.Identity()
	c.tx("UPDATE patient SET name='one' WHERE id='p0001'")
	c.dial().sync()
	keep := *c.h.progress[inc]
	at := len(c.h.log)
	old := map[string][]change.Value{}
	for id, row := range c.h.rows["patient"] {
		old[id] = append([]change.Value(nil), row...)
	}
	c.tx("UPDATE patient SET name='two' WHERE id='p0002'")
	c.tx("INSERT INTO patient VALUES ('new', 1, 'three', 0, NULL)")
	c.dial().sync()
	c.agree(true)

	c.h.progress[inc], c.h.log, c.h.rows["patient"] = &keep, c.h.log[:at], old
	c.h.outcomes, c.h.known = c.h.outcomes[:1], map[change.Hash]wire.TxResult{}
	c.h.epoch++
	c.dial().sync()
	c.want("SELECT name FROM patient WHERE name IN ('two','three') ORDER BY name", "'three'\n'two'")
	if c.h.get("patient", text("new")) == nil {
		t.Fatal("the hub did not get its lost transaction back")
	}
	c.agree(true)
}

func TestSession_ExistingDataAtFirstEnrolment(t *testing.T) {
	c := newClinic(t)
	for _, s := range clinicDDL {
		c.exec(s)
	}
	c.exec(`INSERT INTO patient VALUES ('same', 1, 'S', 0, NULL), ('differs', 1, 'local', 0, NULL), ('own', 1, 'O', 0, 'c9'), ('edited', 1, 'E', 0, NULL), ('removed', 1, 'R', 0, NULL);
		INSERT INTO visit VALUES ('v1', 'own', 'x'), ('v2', 'edited', 'y')`)
	c.h.put("patient", text("same"), num(1), text("S"), num(0), change.Null)
	c.h.put("patient", text("differs"), num(1), text("hub"), num(0), change.Null)
	c.h.put("patient", text("hubs"), num(1), text("H"), num(0), change.Null)
	l := c.dial()
	l.limit = 4
	if err := l.run(); err != nil {
		t.Fatal(err)
	}
	if c.status().Complete || !c.status().Installed {
		t.Fatalf("status %+v", c.status())
	}
	// The app works on while the bootstrap runs.
	c.exec("UPDATE patient SET name='E2' WHERE id='edited'; DELETE FROM patient WHERE id='removed'; INSERT INTO patient VALUES ('later', 1, 'L', 0, NULL); UPDATE patient SET branch=4 WHERE id='same'")
	l.limit = 0
	l.sync()
	c.agree(true)
	c.want("SELECT id, branch, name FROM patient ORDER BY id",
		"'differs'|1|'hub'\n'edited'|1|'E2'\n'hubs'|1|'H'\n'later'|1|'L'\n'own'|1|'O'\n'same'|4|'S'")
	c.want("SELECT count(*) FROM visit", "2")
	rs, err := c.e.Rescues(0, 10)
	if err != nil || len(rs) != 1 || rs[0].Tx.Ops[0].Key[0] != text("differs") || rs[0].Tx.Ops[0].New[2] != text("local") {
		t.Fatalf("rescues %+v, %v", rs, err)
	}
}

func TestSession_SilentHub(t *testing.T) {
	c := enrolled(t)
	l := c.dial()
	if err := l.run(); err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	l.p.mute = true // half-open: what we send goes nowhere
	pings := 0
	for i := 0; ; i++ {
		c.clk.Advance(DefaultInterval)
		err := l.s.Tick(ctx, l.send)
		if errors.Is(err, ErrSilent) {
			if i != 3 {
				t.Fatalf("gave up after %d intervals", i)
			}
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		pings++
	}
	if pings != 3 {
		t.Fatalf("%d pings", pings)
	}
	c.clk.Set(c.clk.Now().Add(-24 * 365 * time.Hour)) // a clock set back is no silence
	if err := l.s.Tick(ctx, l.send); err != nil {
		t.Fatal(err)
	}
}

func TestSession_RefusesNonsense(t *testing.T) {
	c := enrolled(t)
	ctx := context.Background()
	for _, m := range []wire.Message{&wire.Delta{Last: true}, &wire.Welcome{Protocol: 9}, &wire.Hello{}} {
		l := c.dial()
		if err := l.s.Receive(ctx, m, l.send); err == nil {
			t.Errorf("%T was accepted", m)
		}
	}
	for _, m := range []wire.Message{&wire.Delta{Last: true}, &wire.Delta{Body: []byte("junk"), Last: true, Next: c.h.cursor()}, &wire.Hello{},
		&wire.Delta{Last: true, Next: change.Cursor{Epoch: 7, Token: "99"}, Outcomes: []wire.TxResult{{Seq: 1, Status: 77}}}} {
		c.exec("INSERT INTO patient VALUES (hex(randomblob(8)), 1, 'x', 0, NULL)")
		l := c.dial()
		l.p.h = newFakeHub(t, c.h.setup)
		l.limit = 2
		if err := l.run(); err != nil {
			t.Fatal(err)
		}
		if err := l.s.Receive(ctx, m, l.send); err == nil {
			t.Errorf("%+v was accepted", m)
		}
	}
}

func TestSession_Once(t *testing.T) {
	c := newClinic(t)
	c.seedPatients(5)
	l := c.dialAs(SessionConfig{Once: true})
	l.sync()
	c.exec("UPDATE patient SET name='x'")
	l.sync()
	if ok, err := l.s.Synced(); err != nil || !ok {
		t.Fatalf("synced %v, %v", ok, err)
	}
	for _, m := range l.sent {
		if p, ok := m.(*wire.Pull); ok && p.Wait {
			t.Fatal("a single sync asked to wait")
		}
	}
	c.agree(true)
}

func TestSession_Verify(t *testing.T) {
	c := newClinic(t)
	c.seedPatients(50)
	l := c.dial()
	l.sync()
	ctx := context.Background()
	check := func(repair bool) *VerifyReport {
		t.Helper()
		if err := l.s.Verify(ctx, l.send, nil, repair); err != nil {
			t.Fatal(err)
		}
		if l.s.VerifyReport() != nil {
			t.Fatal("a report before the comparison")
		}
		if err := l.s.Verify(ctx, l.send, nil, repair); err == nil {
			t.Fatal("two comparisons at once")
		}
		l.sync()
		r := l.s.VerifyReport()
		if r == nil {
			t.Fatal("no report")
		}
		return r
	}
	if r := check(false); !r.OK() || len(r.Tables) != 2 || r.Tables[0].Rows != 50 {
		t.Fatalf("report %+v", r)
	}
	// Changes that capture did not see.
	c.exec("INSERT INTO _tidemark_applying VALUES (1); UPDATE patient SET name='silent' WHERE id='p0001'; DELETE FROM visit WHERE id='vp0002'; INSERT INTO visit VALUES ('ghost', 'p0003', 'z'); DELETE FROM _tidemark_applying")
	c.h.decide = parked
	c.exec("UPDATE patient SET name='pending' WHERE id='p0004'") // is no difference
	if r := check(false); r.OK() || len(r.Tables[0].Differ) != 1 || len(r.Tables[1].Missing) != 1 || len(r.Tables[1].Extra) != 1 || r.Tables[0].Repaired {
		t.Fatalf("report %+v", r)
	}
	c.want("SELECT name FROM patient WHERE id='p0001'", "'silent'")
	if r := check(true); r.OK() || !r.Tables[0].Repaired || !r.Tables[1].Repaired {
		t.Fatalf("report %+v", r)
	}
	if r := check(true); !r.OK() {
		t.Fatalf("report %+v", r)
	}
	c.agree(false)
	c.want("SELECT name FROM patient WHERE id='p0004'", "'pending'")
	rs, err := c.e.Rescues(0, 10)
	if err != nil || len(rs) != 2 || !strings.Contains(rs[0].Reason, "without a captured change") {
		t.Fatalf("rescues %+v, %v", rs, err)
	}
	if err := l.s.Verify(ctx, l.send, []string{"nowhere"}, false); err == nil {
		t.Fatal("an unknown table was accepted")
	}
}

func TestApply_CrashAtAnyStep(t *testing.T) {
	c := newClinic(t)
	c.seedPatients(5)
	c.dial().sync()
	crash := errors.New("crash")
	for _, step := range []string{"begin", "lift", "rows", "sweep", "evict", "lower", "settle", "overlay", "displaced", "foreign keys", "shadow", "commit"} {
		c.exec("UPDATE patient SET name='before " + step + "' WHERE id='p0001'")
		c.h.put("patient", text("p0002"), num(1), text("hub "+step), num(0), change.Null)
		c.h.put("patient", text("p0001"), num(1), text("hub "+step), num(0), change.Null)
		hit := false
		c.e.hook = func(s string) error {
			if s == step {
				hit = true
				return crash
			}
			return nil
		}
		l := c.dial()
		if err := l.run(); !errors.Is(err, crash) || !hit {
			t.Fatalf("%s: %v", step, err)
		}
		c.want("SELECT name FROM patient WHERE id='p0001'", "'before "+step+"'")
		c.want("SELECT name <> 'hub "+step+"' FROM patient WHERE id='p0002'", "1")
		c.want("SELECT count(*) FROM _tidemark_applying", "0")
		c.reopen()
		c.dial().sync()
		c.want("SELECT name FROM patient WHERE id='p0002'", "'hub "+step+"'")
		c.agree(true)
	}
}
