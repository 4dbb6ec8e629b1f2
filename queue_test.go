package tidemark_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/tidemark-sync/tidemark"
	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/tidemarktest"
)

// parked makes two devices take one slip number: the second one's transaction is
// parked at the hub.
func parked(t *testing.T, hub *tidemarktest.Hub, one, two *tidemark.DB) tidemark.Queued {
	t.Helper()
	write(t, one, `INSERT INTO sale (id, stock, slip) VALUES ('a', 'aspirin', 'no. 1')`)
	write(t, two, `INSERT INTO sale (id, stock, slip) VALUES ('b', 'plaster', 'no. 1')`)
	for _, db := range []*tidemark.DB{one, two} {
		if err := db.Sync(ctx); err != nil {
			t.Fatal(err)
		}
	}
	list, err := two.Queue(ctx)
	if err != nil || len(list) != 1 {
		t.Fatalf("%+v, %v", list, err)
	}
	return list[0]
}

func TestQueueTellsWhatIsParkedAndWhy(t *testing.T) {
	hub := newHub(t)
	one, two := hub.Open(t, "one", "all"), hub.Open(t, "two", "all")
	q := parked(t, hub, one, two)
	if q.State != tidemark.Quarantine || !strings.Contains(q.Reason, "slip") || len(q.Ops) != 1 {
		t.Fatalf("%+v", q)
	}
	op := q.Ops[0]
	if op.Table != "sale" || op.Kind != change.Insert || op.Key.String() != "'b'" || op.New[op.Column("slip")].Str() != "no. 1" {
		t.Fatalf("%+v", op)
	}
	if st := status(t, two); st.Quarantined != 1 || st.Unsafe != 0 {
		t.Fatalf("%+v", st)
	}
}

func TestADiscardLeavesARescueCopy(t *testing.T) {
	hub := newHub(t)
	one, two := hub.Open(t, "one", "all"), hub.Open(t, "two", "all")
	q := parked(t, hub, one, two)
	hub.Discard(t, q.ID, "slip taken twice")
	hub.Settle(t, one, two)
	list, err := two.Rescues(ctx)
	if err != nil || len(list) != 1 || !strings.Contains(list[0].Reason, "slip taken twice") || len(list[0].Ops) != 1 || list[0].At.IsZero() {
		t.Fatalf("%+v, %v", list, err)
	}
	if got := text(t, two, `SELECT group_concat(id) FROM sale`); got != "'a'" {
		t.Fatalf("in the table: %s", got)
	}
	id := list[0].ID
	// The same slip again does not fit beside the other one, now that it is here.
	if err := two.Reapply(ctx, id); err == nil || !strings.Contains(err.Error(), "UNIQUE") {
		t.Fatalf("reapplied over another row: %v", err)
	}
	write(t, two, `UPDATE sale SET slip = 'no. 0' WHERE id = 'a'`)
	if err := two.Reapply(ctx, id); err != nil {
		t.Fatal(err)
	}
	hub.Settle(t, one, two)
	if got := hub.Query(t, `SELECT id, slip FROM sale ORDER BY id`); got != "'a'|'no. 0'\n'b'|'no. 1'" {
		t.Fatalf("at the hub:\n%s", got)
	}
	for what, err := range map[string]error{"reapply": two.Reapply(ctx, id), "dismiss": two.Dismiss(ctx, id)} {
		if !errors.Is(err, tidemark.ErrGone) {
			t.Errorf("%s again: %v", what, err)
		}
	}
}

// Each kind of operation of a rescue copy can be entered again, on rows that are
// there and rows that are not.
func TestReapplyEntersEachKindOfChange(t *testing.T) {
	hub := newHub(t)
	one, two := hub.Open(t, "one", "all"), hub.Open(t, "two", "all")
	write(t, two, `INSERT INTO tag VALUES ('x', 1), ('y', 2)`)
	hub.Settle(t, one, two)
	write(t, one, `INSERT INTO sale (id, stock, slip) VALUES ('a', 'aspirin', 'no. 1')`)
	// One transaction that the slip parks, whatever else it did.
	err := two.Write(ctx, func(tx *tidemark.Tx) error {
		return errors.Join(tx.Exec(`INSERT INTO sale (id, stock, slip) VALUES ('b', 'plaster', 'no. 1')`),
			tx.Exec(`UPDATE stock SET note = 'mine' WHERE id = 'plaster'`), tx.Exec(`DELETE FROM tag WHERE a = 'x'`), tx.Exec(`INSERT INTO tag VALUES ('z', 3)`))
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(one.Sync(ctx), two.Sync(ctx)); err != nil {
		t.Fatal(err)
	}
	list, err := two.Queue(ctx)
	if err != nil || len(list) != 1 || len(list[0].Ops) != 4 {
		t.Fatalf("%+v, %v", list, err)
	}
	hub.Discard(t, list[0].ID, "no")
	hub.Settle(t, one, two)
	if got := text(t, two, `SELECT note || (SELECT group_concat(a) FROM tag) FROM stock WHERE id='plaster'`); got != "'bluex,y'" {
		t.Fatalf("after the discard: %s", got)
	}
	rescues, err := two.Rescues(ctx)
	if err != nil || len(rescues) != 1 {
		t.Fatalf("%+v, %v", rescues, err)
	}
	// Meanwhile: the new rows exist with other values, the changed one is gone.
	write(t, two, `UPDATE sale SET slip = NULL`)
	write(t, two, `INSERT INTO sale (id, stock, slip) VALUES ('b', 'aspirin', 'other')`)
	write(t, two, `INSERT INTO tag VALUES ('z', 3)`)
	write(t, two, `DELETE FROM stock WHERE id = 'plaster'`)
	if err := two.Reapply(ctx, rescues[0].ID); err == nil {
		t.Fatal("reapplied without the row that it changes")
	}
	write(t, two, `INSERT INTO stock VALUES ('plaster', 1, 'new')`)
	if err := two.Reapply(ctx, rescues[0].ID); err != nil {
		t.Fatal(err)
	}
	if got := text(t, two, `SELECT note || (SELECT group_concat(a) FROM tag) || (SELECT stock || slip FROM sale WHERE id='b') FROM stock WHERE id='plaster'`); got != "'miney,zplasterno. 1'" {
		t.Fatalf("after all: %s", got)
	}
}

func TestReapplyIntoAnotherSchema(t *testing.T) {
	hub := newHub(t)
	one, two := hub.Open(t, "one", "all"), hub.Open(t, "two", "all")
	hub.Discard(t, parked(t, hub, one, two).ID, "no")
	hub.Settle(t, one, two)
	list, err := two.Rescues(ctx)
	if err != nil || len(list) != 1 {
		t.Fatalf("%+v, %v", list, err)
	}
	write(t, two, `ALTER TABLE sale RENAME TO sold`)
	if err := two.Reapply(ctx, list[0].ID); err == nil || !strings.Contains(err.Error(), "another key") {
		t.Fatalf("the table is gone: %v", err)
	}
	if err := two.Dismiss(ctx, list[0].ID, 99); !errors.Is(err, tidemark.ErrGone) {
		t.Fatalf("one that does not exist: %v", err)
	}
	if err := two.Dismiss(ctx, list[0].ID); err != nil {
		t.Fatal(err)
	}
	if st := status(t, two); st.Rescues != 0 {
		t.Fatalf("%+v", st)
	}
}
