package storetest

import (
	"testing"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/hub"
)

// highest reads the largest integer of a column, whatever else stands in it.
func highest(t *testing.T, open Open) {
	b := start(t, open)
	want := func(most int64, want change.Value) {
		t.Helper()
		b.view(func(v hub.View) error {
			got, err := v.Highest("patient", "BRANCH", most)
			if err == nil && got != want {
				t.Errorf("highest up to %d is %s, want %s", most, got, want)
			}
			return err
		})
	}
	want(100, change.Null)
	b.other(`INSERT INTO patient (id, branch) VALUES ('a', 7), ('b', 70), ('c', NULL), ('d', 'zebra'), ('e', 8.5)`)
	want(100, change.Int(70))
	want(69, change.Int(7))
	want(6, change.Null)
	b.view(func(v hub.View) error {
		if _, err := v.Highest("patient", "nothing", 1); err == nil {
			t.Error("a column that is not there has a highest number")
		}
		if _, err := v.Highest("nothing", "id", 1); err == nil {
			t.Error("a table that is not there has a highest number")
		}
		return nil
	})
}
