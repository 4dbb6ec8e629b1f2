package sim

import (
	"strings"
	"testing"

	"github.com/tidemark-sync/tidemark/change"
)

// A person discards the second of three edits of one value, and its device, which
// could not know, hands in the third: whoever made it saw the first one. What
// nobody saw who wrote over it is still a loss.
func TestLosses_BuiltOnADiscardedValue(t *testing.T) {
	w, err := newWorld(Options{Seed: 1, Dir: dir(t), Edges: 1, calm: true})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := w.close(); err != nil {
			t.Error(err)
		}
	}()
	a := w.hub.app
	id, err := a.any("patient")
	if err != nil || id == "" {
		t.Fatalf("no patient: %v", err)
	}
	wrote := func(ledger, prev, next string, atHub bool) {
		t.Helper()
		w.oracle.remember(&deed{ledger: ledger, whole: true, edits: []edit{{"patient", id, "phone", prev, next}}})
		if !atHub {
			return
		}
		if err := a.exec(`INSERT INTO ledger VALUES (?, 'x')`, change.Text(ledger)); err != nil {
			t.Fatal(err)
		}
		if err := a.exec(`UPDATE patient SET phone=? WHERE id=?`, change.Text(next), change.Text(id)); err != nil {
			t.Fatal(err)
		}
	}
	wrote("x-1", "p", "one", true)
	wrote("x-2", "one", "two", false)
	wrote("x-3", "two", "three", false)
	wrote("x-4", "three", "four", true)
	if err := w.checkLosses(); err != nil {
		t.Errorf("each author saw what was there: %v", err)
	}
	wrote("y-1", "one", "other", true)
	wrote("x-5", "four", "five", true)
	if err := w.checkLosses(); err == nil || !strings.Contains(err.Error(), `"other"`) || strings.Contains(err.Error(), "\n") {
		t.Errorf("want the loss of y's value alone, got %v", err)
	}
}
