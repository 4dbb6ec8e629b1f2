package people_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/people"
)

func (w *world) note(n int) {
	w.t.Helper()
	for i := range n {
		e := people.Entry{Who: []string{"Ada", "Ben"}[i%2], Action: []string{"Fleet/Pause", "Quarantine/Retry"}[i%2], Subject: fmt.Sprintf("d%d", i%5)}
		if i%7 == 6 {
			e.Error = "refused"
		}
		w.must(w.book.Note(w.ctx, e))
	}
}

func TestTheAuditListsTheNewestFirst(t *testing.T) {
	w := newWorld(t)
	list, next, err := w.book.Audit(w.ctx, people.AuditFilter{})
	w.must(err)
	if len(list) != 0 || next != 0 {
		t.Fatalf("an empty audit has %d entries", len(list))
	}
	w.note(700)
	var seen []uint64
	for f := (people.AuditFilter{Limit: 90}); ; f.Before = next {
		list, next, err = w.another().Audit(w.ctx, f)
		w.must(err)
		for _, e := range list {
			seen = append(seen, e.N)
		}
		if next == 0 {
			break
		}
		w.note(1) // pages stay what they are
	}
	if len(seen) != 700 || seen[0] != 700 || seen[699] != 1 {
		t.Fatalf("pages hold %d entries", len(seen))
	}
	for i := range seen[1:] {
		if seen[i+1] != seen[i]-1 {
			t.Fatalf("after entry %d comes %d", seen[i], seen[i+1])
		}
	}
}

func TestTheAuditIsFiltered(t *testing.T) {
	w := newWorld(t)
	w.note(40)
	for _, c := range []struct {
		f    people.AuditFilter
		want int
	}{{people.AuditFilter{Who: "ada"}, 20}, {people.AuditFilter{Subject: "d3"}, 8}, {people.AuditFilter{Action: "Quarantine/"}, 20},
		{people.AuditFilter{Who: "Ben", Subject: "d3"}, 4}, {people.AuditFilter{Who: "Eve"}, 0}} {
		list, _, err := w.book.Audit(w.ctx, c.f)
		w.must(err)
		if len(list) != c.want {
			t.Errorf("%+v has %d entries, want %d", c.f, len(list), c.want)
		}
	}
	last, err := w.book.LastChange(w.ctx, "d4")
	w.must(err)
	if last == nil || last.N != 40 {
		t.Errorf("d4 was changed last by %+v", last)
	}
	if last, err = w.book.LastChange(w.ctx, "nothing"); err != nil || last != nil {
		t.Errorf("nothing was changed by %+v, %v", last, err)
	}
}

func TestAChangedAuditShows(t *testing.T) {
	change := func(fn func(*people.Entry) any) func(hub.Tx) error {
		return func(tx hub.Tx) error {
			id := fmt.Sprintf("%020d", 5)
			body, err := tx.Record("audit", id)
			if err != nil {
				return err
			}
			e := &people.Entry{}
			if err := json.Unmarshal(body, e); err != nil {
				return err
			}
			out := fn(e)
			if out == nil {
				return tx.PutRecord("audit", id, nil)
			}
			if body, err = json.Marshal(out); err != nil {
				return err
			}
			return tx.PutRecord("audit", id, body)
		}
	}
	for name, damage := range map[string]func(hub.Tx) error{
		"nothing":          nil,
		"changed":          change(func(e *people.Entry) any { e.Who = "Eve"; return e }),
		"removed":          change(func(*people.Entry) any { return nil }),
		"the end removed":  func(tx hub.Tx) error { return tx.PutRecord("audit", fmt.Sprintf("%020d", 9), nil) },
		"the head removed": func(tx hub.Tx) error { return tx.PutRecord("audit-head", "", nil) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.note(9)
			if damage != nil {
				w.must(w.store.Update(w.ctx, damage))
			}
			n, err := w.book.CheckAudit(w.ctx)
			if damage == nil && (err != nil || n != 9) {
				t.Errorf("%d entries, %v", n, err)
			}
			if damage != nil && err == nil {
				t.Error("nobody noticed")
			}
		})
	}
}

func TestTheAuditCutsWhatIsTooLong(t *testing.T) {
	w := newWorld(t)
	w.must(w.book.Note(w.ctx, people.Entry{Action: "x", Before: strings.Repeat("ä", 20_000), Error: strings.Repeat("e", 5000), Subject: "a\xffb"}))
	list, _, err := w.book.Audit(w.ctx, people.AuditFilter{})
	w.must(err)
	if e := list[0]; len(e.Before) > 17_000 || len(e.Error) > 1100 || e.Subject != "a\uFFFDb" || !strings.HasSuffix(e.Before, "(cut)") {
		t.Errorf("kept %d and %d bytes, subject %q", len(e.Before), len(e.Error), e.Subject)
	}
	if _, err := w.book.CheckAudit(w.ctx); err != nil {
		t.Error(err)
	}
	if people.JSON(func() {}) != "" {
		t.Error("what is no JSON became some")
	}
}

// A process that ends between an act and its entry leaves a trace.
func TestAnActThatWasCutOffIsInTheAudit(t *testing.T) {
	w := newWorld(t)
	w.note(1)
	e := people.Entry{Who: "Mia", Action: "Fleet/Revoke", Subject: "till 7"}
	w.must(w.book.Intend(w.ctx, &e))
	done := people.Entry{Who: "Mia", Action: "Fleet/Pause", Subject: "till 8"}
	w.must(w.book.Intend(w.ctx, &done))
	w.must(w.book.Note(w.ctx, done))
	book := w.another() // the process that comes after
	w.must(book.SettleIntents(w.ctx))
	if n, err := book.CheckAudit(w.ctx); n != 2 || err != nil {
		t.Fatalf("while it may be under way: %d entries, %v", n, err)
	}
	w.clock.Advance(11 * time.Minute)
	w.must(book.SettleIntents(w.ctx))
	w.must(book.SettleIntents(w.ctx))
	list, _, err := book.Audit(w.ctx, people.AuditFilter{})
	w.must(err)
	if len(list) != 3 || list[0].Action != "Fleet/Revoke" || list[0].Subject != "till 7" || list[0].Who != "Mia" || !strings.Contains(list[0].Error, "look whether it was done") {
		t.Errorf("afterwards: %+v", list)
	}
	if _, err := book.CheckAudit(w.ctx); err != nil {
		t.Error(err)
	}
}

// Without a hub that settles them, the next act does.
func TestTheNextActSettlesTheOneThatWasCutOff(t *testing.T) {
	w := newWorld(t)
	e := people.Entry{Who: "Mia", Action: "Fleet/Revoke"}
	w.must(w.book.Intend(w.ctx, &e))
	w.clock.Advance(11 * time.Minute)
	next := people.Entry{Who: "Tom", Action: "Fleet/Pause"}
	w.must(w.book.Intend(w.ctx, &next))
	w.must(w.book.Note(w.ctx, next))
	list, _, err := w.book.Audit(w.ctx, people.AuditFilter{})
	w.must(err)
	if len(list) != 2 || list[0].Action != "Fleet/Pause" || list[0].Error != "" || list[1].Action != "Fleet/Revoke" || list[1].Error == "" {
		t.Errorf("the audit: %+v", list)
	}
}
