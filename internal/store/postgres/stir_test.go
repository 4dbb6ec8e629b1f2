package postgresstore

import (
	"testing"
	"time"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/hub"
)

func TestStirredNamesScopesAndAuthors(t *testing.T) {
	s, _ := visits(t)
	look := func(since change.Cursor) (st hub.Stir, now change.Cursor) {
		t.Helper()
		err := s.View(t.Context(), func(v hub.View) (err error) {
			if st, err = v.(hub.Stirrer).Stirred(since); err != nil {
				return err
			}
			now, err = v.Cursor()
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return st, now
	}
	st, at := look(change.Cursor{})
	if !st.All {
		t.Error("who has seen nothing heeds everything")
	}
	if st, _ = look(at); st.All || len(st.Scopes)+len(st.Authors) > 0 {
		t.Errorf("nothing happened, and %+v heed it", st)
	}
	take(t, s, []deed{{edgeA, []hub.Effect{visit("v1", "c1", "a", 1)}}}, true)
	if st, at = look(at); st.All || !st.Scopes["region/south"] || len(st.Scopes) != 1 || len(st.Authors) > 0 {
		t.Errorf("a visit in the south: %+v", st)
	}
	err := s.Update(t.Context(), func(tx hub.Tx) error {
		x := &change.Transaction{ID: change.TxID{7}, Incarnation: edgeB, Seq: 1}
		return tx.Receive([]hub.Received{{ID: x.ID, Tx: x, Inc: edgeB, Seq: 1, At: time.UnixMilli(1)}})
	})
	if err != nil {
		t.Fatal(err)
	}
	if st, _ = look(at); st.All || len(st.Scopes) > 0 || !st.Authors[edgeB] || len(st.Authors) != 1 {
		t.Errorf("a decision about B's work: %+v", st)
	}
}
