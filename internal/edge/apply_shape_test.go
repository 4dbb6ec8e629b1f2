package edge

import (
	"errors"
	"testing"

	zs "zombiezen.com/go/sqlite"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/rule"
	"github.com/tidemark-sync/tidemark/internal/wire"
)

var teamDDL = []string{
	`CREATE TABLE team (id TEXT PRIMARY KEY, area TEXT, code TEXT, boss TEXT REFERENCES team, UNIQUE (area, code))`,
	`CREATE TABLE member (id TEXT PRIMARY KEY, area TEXT, code TEXT, name TEXT, FOREIGN KEY (area, code) REFERENCES team (area, code) ON DELETE CASCADE)`,
}

func (c *clinic) putTeam(id, area, code string) {
	c.h.put("team", text(id), text(area), text(code), text(id)) // its own boss
}

// Foreign keys need not name the primary key, nor one column: a parent stays while
// pending work hangs on any of its keys, and goes with the outcome; one whose
// children have NULLs, and one that only points at itself, go at once.
func TestTrapS20_ParentByAnotherKey(t *testing.T) {
	c := enrolled(t, teamDDL...)
	for _, id := range []string{"t1", "t2", "t3"} {
		c.putTeam(id, "north", id)
	}
	c.h.put("team", text("bare"), change.Null, text("x"), text("bare"))
	c.dial().sync()
	c.exec(`CREATE TABLE desk (id INTEGER PRIMARY KEY, area TEXT, code TEXT, FOREIGN KEY (area, code) REFERENCES team (area, code) ON DELETE SET NULL);
		CREATE TABLE badge (id INTEGER PRIMARY KEY, area TEXT, code TEXT, FOREIGN KEY (area, code) REFERENCES team (area, code) ON DELETE CASCADE);
		CREATE TABLE lease (id INTEGER PRIMARY KEY, area TEXT, code TEXT, FOREIGN KEY (area, code) REFERENCES team (area, code) ON DELETE RESTRICT);
		INSERT INTO desk VALUES (1, 'north', 't2'); INSERT INTO badge VALUES (1, 'north', 't2'); INSERT INTO lease VALUES (1, 'north', 't3')`)
	c.tx("INSERT INTO member VALUES ('m', 'north', 't1', 'mine')", "INSERT INTO member VALUES ('free', 'north', NULL, 'mine')")
	c.h.decide = parked
	c.dial().sync()
	for _, id := range []string{"t1", "t2", "t3", "bare"} {
		c.h.del("team", text(id))
	}
	c.dial().sync()
	c.want("SELECT id FROM team ORDER BY id", "'t1'") // a pending child; what does not sync holds nothing
	c.want("SELECT code FROM lease", "'t3'")
	c.exec("DELETE FROM lease")
	c.want("SELECT area, code FROM desk", "NULL|NULL")
	c.want("SELECT count(*) FROM badge", "0")
	c.want("SELECT count(*) FROM member", "2")
	c.foreign()
	c.agree(false)

	// It stays through another full fetch, too.
	c.h.floor = len(c.h.log)
	c.h.epoch++
	c.dial().sync()
	c.want("SELECT id FROM team ORDER BY id", "'t1'")
	c.want("SELECT count(*) FROM member", "2")
	c.foreign()

	tx, err := c.e.Queued(c.queue()[0].ID)
	if err != nil {
		t.Fatal(err)
	}
	c.h.conclude(tx, outcomeDiscarded, "")
	c.putTeam("t9", "south", "t9")
	c.dial().sync()
	c.want("SELECT count(*) FROM member", "0")
	c.foreign()
}

// A file may lack a column that the hub has: its rows come without it, and what is
// written here does not touch it.
func TestTrapD16_FileLacksAColumn(t *testing.T) {
	c := newClinic(t)
	c.exec(`CREATE TABLE patient (card TEXT UNIQUE, name TEXT, id TEXT PRIMARY KEY, branch INTEGER); ` + clinicDDL[1])
	c.seedPatients(4)
	l := c.dial()
	l.sync()
	c.want("SELECT id, branch, name FROM patient WHERE id='p0001'", "'p0001'|1|'name p0001'")
	c.h.decide = parked
	c.tx("UPDATE patient SET name='mine' WHERE id='p0001'")
	l.sync()
	c.h.put("patient", text("p0001"), num(2), text("theirs"), num(7), text("c1"))
	c.h.put("patient", text("p0002"), num(2), text("theirs"), num(8), change.Null)
	l.sync()
	c.want("SELECT id, branch, name, card FROM patient WHERE id IN ('p0001', 'p0002') ORDER BY id", "'p0001'|2|'mine'|'c1'\n'p0002'|2|'theirs'|NULL")
	tx, err := c.e.Queued(c.queue()[0].ID)
	if err != nil {
		t.Fatal(err)
	}
	c.h.conclude(tx, outcomeApplied, "")
	l.sync()
	if row := c.h.get("patient", text("p0001")); row[2] != text("mine") || row[3] != num(7) {
		t.Fatalf("hub has %v", row)
	}
}

// A device that loses the right to read a table of everybody's keeps nothing of
// it but its own unsent work.
func TestSession_ScopeOfAllIsRevoked(t *testing.T) {
	c := newClinic(t, teamDDL...)
	c.h.scopeOf = func(table string, _ []change.Value) rule.ScopeID {
		if table == "team" || table == "member" {
			return rule.ScopeAll
		}
		return ""
	}
	c.h.grants = []rule.Grant{{Scope: rule.ScopeAll, Verbs: rule.Every}, {Scope: "branch/1", Verbs: rule.Every}}
	c.putTeam("t1", "north", "t1")
	c.putTeam("t2", "north", "t2")
	c.dial().sync()
	c.tx("INSERT INTO member VALUES ('m', 'north', 't1', 'mine')")
	c.h.decide = parked
	c.h.grants = c.h.grants[1:]
	c.dial().sync()
	c.want("SELECT id FROM team", "'t1'") // the parent of pending work
	c.want("SELECT id FROM member", "'m'")
	c.foreign()
}

// What comes for a table that does not sync here any more is passed over.
func TestApply_RowsOfAnotherTable(t *testing.T) {
	c := enrolled(t)
	_, err := c.e.apply(&incoming{next: change.Cursor{Epoch: 7, Token: "0"}, each: func(fn func(*change.Rows) error) error {
		return fn(&change.Rows{Table: "elsewhere", Columns: []string{"id"}, Key: []int{0}, Values: []change.Value{num(1)}})
	}})
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.e.apply(&incoming{next: change.Cursor{Epoch: 7, Token: "0"}, each: func(fn func(*change.Rows) error) error {
		return fn(&change.Rows{Table: "patient", Columns: []string{"name"}, Values: []change.Value{text("x")}})
	}})
	if err == nil {
		t.Fatal("rows without their key were taken")
	}
	if _, err := c.e.apply(&incoming{}); err == nil {
		t.Fatal("a pull without a cursor was taken")
	}
}

// One pull is one transaction of the application's file, begun when everything is
// staged, however many parts it came in (I4): the lock is held once.
func TestTrapS21_OnePullIsOneTransaction(t *testing.T) {
	c := enrolled(t)
	l := c.dial()
	if err := l.run(); err != nil {
		t.Fatal(err)
	}
	c.seedPatients(300)
	c.h.chunk = 10
	begins, muted := 0, 0
	err := c.e.conn.SetAuthorizer(zs.AuthorizeFunc(func(a zs.Action) zs.AuthResult {
		if a.Type() == zs.OpInsert && a.Table() == "_tidemark_applying" {
			muted++
		}
		return zs.AuthResultOK
	}))
	if err != nil {
		t.Fatal(err)
	}
	c.e.hook = func(step string) error {
		if step == "begin" {
			if begins++; len(l.down) > 0 {
				return errors.New("the file is locked while parts are still to come")
			}
		}
		return nil
	}
	if err := l.p.wake(l.receive); err != nil {
		t.Fatal(err)
	}
	if len(l.down) < 50 {
		t.Fatalf("only %d parts", len(l.down))
	}
	if err := l.run(); err != nil {
		t.Fatal(err)
	}
	c.want("SELECT count(*) FROM patient", "300")
	if begins != 1 || muted != 1 {
		t.Fatalf("%d transactions, %d times muted", begins, muted)
	}
}

func TestEngine_StatusFields(t *testing.T) {
	c := worked(t)
	c.clk.Advance(90e9)
	st := c.status()
	brief, err := c.e.Brief()
	if err != nil {
		t.Fatal(err)
	}
	if st.Rows == 0 || brief.Rows != 0 {
		t.Fatalf("%d rows, briefly %d", st.Rows, brief.Rows)
	}
	st.Rows = 0
	if brief != st {
		t.Fatalf("status %+v, briefly %+v", st, brief)
	}
	if st.Waiting != 2 || st.Quarantined != 2 || st.Aside != 1 || st.Rescues != 1 || st.OldestUnsafe < 90e9 || !st.Complete || st.LastProgress.IsZero() || st.LastContact.IsZero() {
		t.Fatalf("status %+v", st)
	}
	// The clock was set back after the export: what is not exported may be older.
	c.exec("UPDATE _tidemark_outbox SET at=at+1000000 WHERE state=0")
	if older := c.status(); older.OldestUnsafe == 0 || older.OldestUnsafe > st.OldestUnsafe+1e9 {
		t.Fatalf("status %+v", older)
	}
	// Only unexported work: an agent that cannot export is the case to be noticed.
	c.exec("UPDATE _tidemark_outbox SET state=1 WHERE state=0")
	if st := c.status(); st.Waiting != 1 || st.Unsettled != 1 || st.OldestUnsafe == 0 {
		t.Fatalf("status %+v", st)
	}
	if b, err := newClinic(t).e.Brief(); err != nil || b.Installed {
		t.Fatalf("not enrolled: %+v, %v", b, err)
	}
}

// Heartbeats are answered, late chunks passed over, and a hub that has nothing to
// say of what to sync is refused.
func TestSession_OddWords(t *testing.T) {
	c := enrolled(t)
	l := c.dial()
	if err := l.run(); err != nil {
		t.Fatal(err)
	}
	for _, m := range []wire.Message{&wire.Ping{N: 3}, &wire.Pong{N: 3}, &wire.Chunk{Done: true}, &wire.Digests{}} {
		if err := l.s.Receive(t.Context(), m, l.send); err != nil {
			t.Errorf("%T: %v", m, err)
		}
	}
	if p, ok := l.sent[len(l.sent)-1].(*wire.Pong); !ok || p.N != 3 {
		t.Errorf("answered with %+v", l.sent[len(l.sent)-1])
	}
	fresh := newClinic(t)
	l = fresh.dial()
	if err := l.s.Receive(t.Context(), &wire.Welcome{Protocol: 1}, l.send); err == nil {
		t.Error("nothing to sync was taken for an answer")
	}
	if err := l.s.push(l.send); err != nil {
		t.Error(err)
	}
}

// A comparison may be refused anything at any time, too.
func TestVerify_EachRefusalIsUndone(t *testing.T) {
	r := &refuser{seen: map[string]bool{}}
	n := 0
	for done := false; !done; n++ {
		c := newClinic(t)
		c.seedPatients(6)
		l := c.dial()
		l.sync()
		c.exec("INSERT INTO _tidemark_applying VALUES (1); UPDATE patient SET name='silent' WHERE id='p0001'; DELETE FROM visit WHERE id='vp0002'; INSERT INTO visit VALUES ('ghost', 'p0003', 'z'); DELETE FROM _tidemark_applying")
		r.watch(t, c.e)
		where, err := r.try(t, c.e, func() error {
			if err := l.s.Verify(t.Context(), l.send, nil, true); err != nil {
				return err
			}
			return l.run()
		})
		if done = where == ""; done {
			if rep := l.s.VerifyReport(); err != nil || rep == nil || rep.OK() {
				t.Fatalf("report %+v, %v", rep, err)
			}
		} else if err == nil {
			t.Fatalf("refused at %s, and no error", where)
		}
		if err != nil { // nothing is half repaired: another comparison brings it home
			l = c.dial()
			l.sync()
			if err := l.s.Verify(t.Context(), l.send, nil, true); err != nil {
				t.Fatal(err)
			}
			l.sync()
		}
		c.agree(true)
		c.close()
	}
	if n < 15 {
		t.Errorf("only %d refusals", n)
	}
}
