package edge

import (
	"slices"
	"strings"
	"testing"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/rule"
	"github.com/tidemark-sync/tidemark/internal/wire"
)

// A gap that an older version noted is closed like any other.
func TestGap_OfAnOlderLayout(t *testing.T) {
	b := shaped(t)
	if err := b.e.setMeta(metaGap, change.Text(`["visit"]`)); err != nil {
		t.Fatal(err)
	}
	if err := b.e.setMeta(metaShared, change.Null); err != nil { // that version kept none
		t.Fatal(err)
	}
	b.reopen()
	b.exec("INSERT INTO _tidemark_applying VALUES (1); UPDATE visit SET note='uncaptured' WHERE id='v1'; DELETE FROM _tidemark_applying")
	b.settled()
	b.atHub("SELECT note FROM visit WHERE id='v1'", "'uncaptured'")
	if g, err := b.e.gap(); len(g) != 0 || err != nil {
		t.Fatal(g, err)
	}
	ev, err := b.e.Events()
	if err != nil || !slices.ContainsFunc(ev, func(e Event) bool { return e.Kind == EventFound && strings.Contains(e.Detail, "1 row of visit held") }) {
		t.Fatalf("%+v, %v", ev, err)
	}
	if err := b.e.setMeta(metaGap, change.Text(`nonsense`)); err != nil {
		t.Fatal(err)
	}
	if _, err := b.e.gap(); err == nil {
		t.Fatal("nonsense was read")
	}
}

// Work that is parked lies over a row whose other values were written without capture:
// it is handed in like any other edit of that row.
func TestTrapS18_UncapturedBesideParkedWork(t *testing.T) {
	b := shaped(t)
	b.exec("UPDATE patient SET card='taken' WHERE id='a'")
	b.atTheHub("UPDATE patient SET card='taken' WHERE id='b'")
	b.settled()
	if n := len(b.waiting()); n != 1 {
		t.Fatalf("%d parked", n)
	}
	b.exec("PRAGMA foreign_keys=OFF;" + rebuild + "UPDATE patient SET name='uncaptured' WHERE id='a'")
	b.settled()
	list := b.waiting()
	if len(list) != 1 {
		t.Fatalf("%d parked", len(list))
	}
	b.atHub("SELECT name FROM patient WHERE id='a'", "'uncaptured'")
	if _, err := b.hub.Discard(t.Context(), list[0].ID, "no"); err != nil {
		t.Fatal(err)
	}
	b.settled()
	b.atHub("SELECT name||card FROM patient WHERE id='a'", "'uncapturedc1'")
	b.want("SELECT name||card FROM patient WHERE id='a'", "'uncapturedc1'")
	b.agrees()
}

// A row of the hub's that could not stand here, because another one has its unique
// value, was not deleted by anybody.
func TestTrapS18_RowWithoutRoomIsNoDelete(t *testing.T) {
	b := shaped(t)
	b.exec("CREATE UNIQUE INDEX only_here ON patient (branch, visits)")
	b.atTheHub("INSERT INTO patient VALUES ('twin',1,'same place',2,NULL)")
	b.settled()
	b.want("SELECT count(*) FROM patient WHERE branch=1 AND visits=2", "1")
	b.exec("DROP TRIGGER _tidemark_1_update") // another program's doing
	b.settled()
	b.atHub("SELECT count(*) FROM patient", "4")
}

// Names that the hub gives meanwhile: pending work, shadows and gaps follow.
func TestSchema_PendingWorkUnderFormerNames(t *testing.T) {
	b := shaped(t)
	b.exec("UPDATE patient SET card='taken' WHERE id='a'")
	b.atTheHub("UPDATE patient SET card='taken' WHERE id='b'")
	b.settled() // the card is parked
	b.exec("UPDATE patient SET name='unsent' WHERE id='c'; INSERT INTO visit VALUES ('v9','c','pending')")
	b.exec("ALTER TABLE patient ADD COLUMN email TEXT; UPDATE patient SET name='unsent too', email=id WHERE id IN ('a','c')")
	b.export()
	b.atTheHub("ALTER TABLE patient RENAME COLUMN name TO full_name; ALTER TABLE patient RENAME COLUMN card TO badge; ALTER TABLE patient RENAME TO client; ALTER TABLE client ADD COLUMN email TEXT")
	b.rules = &rule.Rules{Tables: []rule.Table{
		{Name: "client", Scope: rule.Scope{All: true}, Was: []string{"patient"}, Columns: map[string]rule.Column{
			"full_name": {Was: []string{"name"}}, "badge": {Was: []string{"card"}}}},
		{Name: "visit", Scope: rule.Scope{Via: "patient_id"}},
	}}
	b.serve(hub.Limits{})
	b.settled()
	b.atHub("SELECT full_name||email FROM client WHERE id='c'", "'unsent tooc'")
	b.want("SELECT DISTINCT tbl FROM _tidemark_pending", "'client'")
	for _, p := range b.waiting() {
		if _, err := b.hub.Discard(t.Context(), p.ID, "no"); err != nil {
			t.Fatal(err)
		}
	}
	b.settled()
	b.want("SELECT card FROM patient WHERE id='a'", "'c1'")
	b.agrees()
	b.exec("ALTER TABLE patient RENAME TO client; ALTER TABLE client RENAME COLUMN name TO full_name; UPDATE client SET full_name='last' WHERE id='b'")
	b.settled()
	b.atHub("SELECT full_name FROM client WHERE id='b'", "'last'")
	b.agrees()
}

// A connected edge tells the hub of another shape of its file, and the hub may ask.
func TestSession_TellsItsShape(t *testing.T) {
	c := enrolled(t)
	l := c.dial()
	if err := l.run(); err != nil {
		t.Fatal(err)
	}
	c.exec("ALTER TABLE patient ADD COLUMN email TEXT")
	c.export()
	var up []wire.Message
	send := func(m wire.Message) error { up = append(up, m); return nil }
	c.line.s.mu.Lock()
	c.line.s.pulling = false
	c.line.s.mu.Unlock()
	if err := c.line.s.Tick(t.Context(), send); err != nil {
		t.Fatal(err)
	}
	h, ok := up[0].(*wire.Hello)
	own := c.e.fileSchema()
	if !ok || len(up) != 1 || h.Schema != own.Hash() || own.Table("patient").Column("email") < 0 {
		t.Fatalf("%#v", up)
	}
	up = nil
	w := &wire.Welcome{Protocol: wire.MaxProtocol, Epoch: c.h.epoch, Clock: c.clk.Now(), Grants: c.h.grants, Scopes: c.h.scopes(), AskShape: true}
	if pr := c.h.progress[h.Incarnation]; pr != nil {
		w.Progress, w.Sum = pr.seq, pr.sum
	}
	if err := c.line.s.Receive(t.Context(), w, send); err != nil {
		t.Fatal(err)
	}
	s, ok := up[0].(*wire.Shape)
	if !ok || s.Schema.Hash() != h.Schema {
		t.Fatalf("%#v", up)
	}
}

// A migration may rename what a rename of before, or a parked edit, already knows.
func TestMigrateNames(t *testing.T) {
	b := shaped(t)
	b.migrate(MigrateOptions{}, "ALTER TABLE main.patient RENAME name TO n1", "ALTER TABLE patient RENAME COLUMN n1 TO n2", "ALTER TABLE patient RENAME TO p1",
		"ALTER TABLE p1 RENAME TO p2", "ALTER TABLE p2 RENAME COLUMN id TO pid", "ALTER TABLE p2 DROP COLUMN visits")
	b.exec("UPDATE p2 SET n2='Ann' WHERE pid='a'")
	b.settled()
	b.atHub("SELECT name FROM patient WHERE id='a'", "'Ann'")
	b.reopen()
	b.atTheHub("UPDATE patient SET name='hub' WHERE id='b'; DELETE FROM visit; DELETE FROM patient WHERE id='c'")
	b.settled()
	b.want("SELECT pid||n2 FROM p2 ORDER BY 1", "'aAnn'\n'bhub'")
	for sql, want := range map[string]alteration{
		"SELECT 1":                              {},
		"ALTER TABLE a ADD b":                   {table: "a", adds: true},
		"ALTER TABLE x.a DROP b":                {table: "a"},
		"alter table [a b] rename to \"c\"":     {table: "a b", to: "c"},
		"ALTER TABLE a RENAME COLUMN b TO c":    {table: "a", from: "b", to: "c"},
		"ALTER TABLE a RENAME b TO c":           {table: "a", from: "b", to: "c"},
		"ALTER TABLE a RENAME column TO c":      {table: "a", from: "column", to: "c"},
		"ALTER TABLE a RENAME COLUMN column TO": {table: "a"},
	} {
		if got := alters(sql); got != want {
			t.Errorf("%s: %+v", sql, got)
		}
	}
}

// What a comparison found is left out when it is no longer so.
func TestFound_OutOfDate(t *testing.T) {
	b := shaped(t)
	row := func() []change.Value {
		var out []change.Value
		tb := b.e.tableNamed("visit")
		if err := b.e.locked(func() (err error) { out, err = b.e.readRow(tb, change.Key{text("v1")}); return err }); err != nil {
			t.Fatal(err)
		}
		return out
	}
	own := row()
	f := []*finding{{table: "visit", fix: &change.Rows{Table: "visit"}, found: []foundRow{{rowDiff: rowDiff{key: change.Key{text("v1")}, own: own}}}}}
	b.exec("INSERT INTO _tidemark_applying VALUES (1); UPDATE visit SET note='newer' WHERE id='v1'; DELETE FROM _tidemark_applying")
	cursor, _, _, err := b.e.position()
	if err != nil {
		t.Fatal(err)
	}
	r := &VerifyReport{At: cursor, Tables: []VerifyTable{{Table: "visit"}}}
	if err := b.e.resolve(f, r); err != nil || r.Tables[0].Captured != 0 {
		t.Fatal(r, err)
	}
	r.At = change.Cursor{}
	if err := b.e.resolve(f, r); err == nil {
		t.Fatal("a comparison at another cursor counted")
	}
}

// Work that waits lies over a row that was written without capture. What was written
// is known from the file alone, and handed in at once: neither the outcome of that
// work, nor what the hub sends of the row meanwhile, takes it away.
func TestTrapS18_UncapturedBesidePendingWork(t *testing.T) {
	lose := "PRAGMA foreign_keys=OFF;" + rebuild + "UPDATE patient SET visits=77"
	park := func(b *branch) {
		b.exec("UPDATE patient SET card='taken' WHERE id='a'")
		b.atTheHub("UPDATE patient SET card='taken' WHERE id='b'")
		b.settled()
	}
	for name, story := range map[string]func(b *branch){
		"not handed in yet": func(b *branch) {
			b.exec("UPDATE patient SET name='mine', visits=30 WHERE id='a'")
			if _, err := b.e.Export(); err != nil {
				b.t.Fatal(err)
			}
			b.exec(lose)
		},
		"discarded meanwhile": func(b *branch) {
			park(b)
			b.exec(lose)
			if _, err := b.hub.Discard(t.Context(), b.waiting()[0].ID, "no"); err != nil {
				b.t.Fatal(err)
			}
		},
		"the hub writes the row": func(b *branch) {
			park(b)
			b.exec(lose)
			b.atTheHub("UPDATE patient SET name='hub' WHERE id='a'")
		},
		"deleted": func(b *branch) {
			b.exec("UPDATE patient SET name='mine' WHERE id='c'; DELETE FROM visit")
			if _, err := b.e.Export(); err != nil {
				b.t.Fatal(err)
			}
			b.exec(lose + "; DELETE FROM patient WHERE id='c'; INSERT INTO patient VALUES ('c2',1,'new',77,NULL)")
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := shaped(t)
			story(b)
			if _, err := b.e.CheckDrift(); err != nil {
				t.Fatal(err)
			}
			b.settled()
			b.atHub("SELECT group_concat(visits) FROM patient", "'77,77,77'")
			b.want("SELECT group_concat(visits) FROM patient", "'77,77,77'")
			if name != "the hub writes the row" { // its work is still parked
				b.agrees()
			}
		})
	}
}

// A table that was made anew without its rows was not emptied, also where work waits.
func TestTrapS18_TableMadeAnewWithPendingWork(t *testing.T) {
	b := shaped(t)
	b.exec("UPDATE visit SET note='mine' WHERE id='v1'")
	if _, err := b.e.Export(); err != nil {
		t.Fatal(err)
	}
	b.exec("PRAGMA foreign_keys=OFF; DROP TABLE visit; " + clinicDDL[1])
	b.settled()
	b.want("SELECT count(*) FROM visit", "3")
	b.atHub("SELECT count(*) FROM visit", "3")
	b.atHub("SELECT note FROM visit WHERE id='v1'", "'mine'")
}

// What was written without capture is not swept away by a full fetch that comes
// before the comparison: it may never have been at the hub.
func TestTrapS18_FullFetchKeepsUncapturedRows(t *testing.T) {
	b := shaped(t)
	b.exec("PRAGMA foreign_keys=OFF;" + rebuild + "INSERT INTO patient VALUES ('u',1,'uncaptured',0,NULL)")
	if err := b.e.setMeta(metaCursor, change.Text(change.Cursor{}.String())); err != nil {
		t.Fatal(err)
	}
	b.reopen()
	b.settled()
	list, err := b.e.Rescues(0, 10)
	if err != nil || len(list) != 1 || list[0].Tx.Ops[0].New[2] != text("uncaptured") {
		t.Fatalf("%+v, %v", list, err)
	}
	b.want("SELECT count(*) FROM patient WHERE id='u'", "0")
}
