package storetest

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/tidemark-sync/tidemark/internal/hub"
)

// backwards lists what record wrote from the end.
func (b *bench) backwards(v hub.View) error {
	for _, tc := range []struct {
		prefix, before, want string
		limit                int
	}{{"", "", "[e d0 d/2 d/1 d/ d c]", 9}, {"", "", "[e d0]", 2}, {"", "d/1", "[d/ d c]", 9}, {"", "d/9", "[d/2]", 1}, {"d/", "", "[d/2 d/1 d/]", 9},
		{"d/", "zz", "[d/2 d/1]", 2}, {"d/", "d/2", "[d/1 d/]", 9}, {"d/", "d/", "[]", 9}, {"d/", "a", "[]", 9}, {"d/1", "", "[d/1]", 9}} {
		list, err := v.RecordsBack("event", tc.prefix, tc.before, tc.limit)
		if err != nil {
			return err
		}
		ids := make([]string, len(list))
		for i := range list {
			ids[i] = list[i].ID
		}
		b.expect(fmt.Sprintf("up to %d under %q before %q", tc.limit, tc.prefix, tc.before), fmt.Sprint(ids), tc.want)
	}
	return nil
}

// ids lists the ids of what record wrote.
func (b *bench) ids(v hub.View, prefix, after string, limit int, want string) {
	b.Helper()
	only, err := v.IDs("event", prefix, after, limit)
	if err != nil {
		b.Fatal(err)
	}
	b.expect(fmt.Sprintf("ids of up to %d under %q after %q", limit, prefix, after), fmt.Sprint(only), want)
}

// stamp: whoever remembers what was read of a kind learns that it was changed.
func stamp(t *testing.T, open Open) {
	b := start(t, open)
	stamps := func() (out string) {
		b.view(func(v hub.View) error {
			for _, kind := range []string{"device", "event"} {
				body, err := v.Record(hub.KindStamp, kind)
				if err != nil && !errors.Is(err, hub.ErrNotFound) {
					return err
				}
				out += fmt.Sprintf("%s %x, ", kind, body)
			}
			return nil
		})
		return out
	}
	undone := errors.New("undone")
	seen := map[string]string{stamps(): "nothing"}
	put := func(kind, id string, body []byte) func(hub.Tx) error {
		return func(tx hub.Tx) error { return tx.PutRecord(kind, id, body) }
	}
	for _, tc := range []struct {
		what string
		do   func(hub.Tx) error
	}{
		{"a first one", put("device", "a", []byte("1"))}, {"another one", put("device", "b", []byte("1"))}, {"another kind", put("event", "a", []byte("1"))},
		{"a change", put("device", "a", []byte("2"))}, {"the same again", put("device", "a", []byte("2"))}, {"a removal", put("device", "a", nil)},
		{"beside a savepoint that is undone", func(tx hub.Tx) error {
			err := tx.Savepoint(func() error { return errors.Join(tx.PutRecord("device", "c", []byte("1")), undone) })
			if !errors.Is(err, undone) {
				return err
			}
			return tx.PutRecord("device", "d", []byte("1"))
		}},
		{"in a savepoint", func(tx hub.Tx) error {
			return tx.Savepoint(func() error { return tx.PutRecord("event", "d", []byte("1")) })
		}},
	} {
		before := stamps()
		err := b.s.Update(context.Background(), func(tx hub.Tx) error { return errors.Join(tc.do(tx), undone) })
		if !errors.Is(err, undone) {
			t.Fatalf("%s, undone: %v", tc.what, err)
		}
		b.expect("stamps after "+tc.what+" that was undone", stamps(), before)
		b.update(tc.do)
		now := stamps()
		if was, again := seen[now]; again {
			t.Errorf("after %s the stamps are as after %s: %s", tc.what, was, now)
		}
		seen[now] = tc.what
	}
}
