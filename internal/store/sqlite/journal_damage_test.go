package sqlitestore

import (
	"context"
	"strings"
	"testing"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/hub"
)

func TestJournalRefusesAMissingTransaction(t *testing.T) {
	s := open(t, newFile(t, noteDDL), noteRules())
	err := s.Update(context.Background(), func(tx hub.Tx) error {
		return tx.Receive([]hub.Received{{ID: change.TxID{1}, Inc: change.Incarnation{1}, Seq: 1}})
	})
	if err == nil || !strings.Contains(err.Error(), "missing") {
		t.Errorf("journal of nothing: %v", err)
	}
}

func TestDamagedBatchIsToldApart(t *testing.T) {
	path := newFile(t, noteDDL)
	s := open(t, path, noteRules())
	tx := &change.Transaction{ID: change.TxID{1}, Incarnation: change.Incarnation{1}, Seq: 1}
	receive := func(id byte) error {
		return s.Update(context.Background(), func(w hub.Tx) error {
			own := *tx
			own.ID = change.TxID{id}
			return w.Receive([]hub.Received{{Tx: &own, ID: own.ID, Inc: tx.Incarnation, Seq: uint64(id)}})
		})
	}
	if err := receive(1); err != nil {
		t.Fatal(err)
	}
	if err := receive(1); err == nil {
		t.Error("one place in a chain was taken twice")
	}
	if err := receive(2); err != nil {
		t.Fatal(err)
	}
	payload := func(want string) {
		t.Helper()
		err := s.View(context.Background(), func(v hub.View) error { _, err := v.Payload(change.TxID{1}); return err })
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("payload: %v, want %q", err, want)
		}
	}
	shell(t, path, `UPDATE _tidemark_tx SET batch=2 WHERE seq=1`)
	payload("another")
	shell(t, path, `UPDATE _tidemark_batch SET body=x'00'`)
	payload("read transaction")
}

// Every read of a table or key that is not there says so.
func TestReadsOfWhatIsNotThere(t *testing.T) {
	s := open(t, newFile(t, noteDDL), noteRules())
	key, two := change.Key{change.Int(1)}, change.Key{change.Int(1), change.Int(2)}
	err := s.Update(context.Background(), func(v hub.Tx) error {
		for what, call := range map[string]func() error{
			"row":       func() error { _, err := v.Row("x", key); return err },
			"row key":   func() error { _, err := v.Row("note", two); return err },
			"scan":      func() error { _, _, err := v.Scan("x", nil, nil, 1); return err },
			"scan key":  func() error { _, _, err := v.Scan("note", two, nil, 1); return err },
			"digest":    func() error { _, err := v.Digest("x", nil); return err },
			"bucket":    func() error { _, err := v.Bucket("x", nil, nil); return err },
			"children":  func() error { _, err := v.Children("x", nil, nil, 1); return err },
			"scope":     func() error { _, err := v.ScopeOf("x", nil); return err },
			"touched":   func() error { _, err := v.Touched("x", key, change.Cursor{}, change.Incarnation{}); return err },
			"tombstone": func() error { _, err := v.Tombstone("x", key); return err },
			"touch":     func() error { return v.Touch("x", key) },
			"touched at": func() error {
				_, err := v.Touched("note", key, change.Cursor{Epoch: 1}, change.Incarnation{})
				return err
			},
		} {
			if call() == nil {
				t.Errorf("%s gave no error", what)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
