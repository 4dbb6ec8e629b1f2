package ledger

import (
	"errors"
	"fmt"
	"testing"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/rule"
)

// A digest is remembered for its table, scopes and life, until the table was touched.
func TestDigestIsRememberedWhileItHolds(t *testing.T) {
	var sums Digests
	taken, holds := 0, true
	cursor := change.Cursor{Epoch: 1, Token: "c"}
	q := Digesting{
		Table: "t", Scopes: []rule.ScopeID{"k/2", "k/1"},
		At: func() (change.Cursor, error) { return cursor, nil },
		Untouched: func(at change.Cursor, scopes []rule.ScopeID) (bool, error) {
			if at != cursor || scopes[0] != "k/1" {
				t.Errorf("asked of %v since %s", scopes, at)
			}
			return holds, nil
		},
		Take: func([]rule.ScopeID) (change.Digest, error) {
			taken++
			return change.Digest{Table: fmt.Sprint("t", taken)}, nil
		},
	}
	ask := func(why, want string) {
		t.Helper()
		got, err := sums.Digest(&q)
		if err != nil || got.Table != want {
			t.Errorf("%s: %s, want %s (%v)", why, got.Table, want, err)
		}
	}
	q.Forget = true
	ask("not to be remembered", "t1")
	q.Forget = false
	ask("the first one", "t2")
	q.Scopes = []rule.ScopeID{"k/1", "k/2"}
	ask("the same scopes", "t2")
	q.Scopes = []rule.ScopeID{"k/1"}
	ask("other scopes", "t3")
	q.Schema[0] = 1
	ask("another schema", "t4")
	holds = false
	ask("touched since", "t5")
	holds = true
	cursor.Epoch = 2
	ask("another life", "t6")
	q.Scopes = nil
	ask("no scope that its rows can be in", "t")
	for i := range maxDigests {
		q.Scopes = []rule.ScopeID{rule.ScopeID(fmt.Sprint("k/1", i))}
		if _, err := sums.Digest(&q); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(sums.list); n == 0 || n > maxDigests {
		t.Errorf("%d are remembered", n)
	}
}

func TestDigestFails(t *testing.T) {
	broken := errors.New("broken")
	good := Digesting{
		Table: "t", Scopes: []rule.ScopeID{"k/1"},
		At:        func() (change.Cursor, error) { return change.Cursor{}, nil },
		Untouched: func(change.Cursor, []rule.ScopeID) (bool, error) { return true, nil },
		Take:      func([]rule.ScopeID) (change.Digest, error) { return change.Digest{}, nil },
	}
	var sums, fresh Digests
	if _, err := sums.Digest(&good); err != nil {
		t.Fatal(err)
	}
	at, untouched, take := good, good, good
	at.At = func() (change.Cursor, error) { return change.Cursor{}, broken }
	untouched.Untouched = func(change.Cursor, []rule.ScopeID) (bool, error) { return false, broken }
	take.Take = func([]rule.ScopeID) (change.Digest, error) { return change.Digest{}, broken }
	for what, try := range map[string]func() (change.Digest, error){
		"cursor": func() (change.Digest, error) { return sums.Digest(&at) },
		"log":    func() (change.Digest, error) { return sums.Digest(&untouched) },
		"rows":   func() (change.Digest, error) { return fresh.Digest(&take) },
	} {
		if _, err := try(); !errors.Is(err, broken) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// No two sets of scopes have one name.
func TestScopeList(t *testing.T) {
	if ScopeList([]rule.ScopeID{"a", "b"}) == ScopeList([]rule.ScopeID{"a1:b"}) || ScopeList([]rule.ScopeID{"ab"}) == ScopeList([]rule.ScopeID{"a", "b"}) {
		t.Error("two sets have one name")
	}
}
