package storetest

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/rule"
)

func delta(t *testing.T, open Open) {
	b := start(t, open)
	c0 := b.now()
	b.as(edgeA, patient("p1", 7, "Ann"), patient("p2", 8, "Bob"), insert("product", "sku price", text("s"), change.Float(2)))
	b.other(`INSERT INTO patient VALUES ('p3', 7, 'Cid', NULL)`)
	c1 := b.now()
	b.expect("one scope", b.changes(c0, edgeB, branch(7)), "patient 'p1'; patient 'p3'")
	b.expect("two scopes", b.changes(c0, edgeB, append(branch(7, 8, 9), all...)), "patient 'p1'; patient 'p2'; patient 'p3'; product 's'")
	b.expect("no scope", b.changes(c0, edgeB, nil), "")
	b.expect("nothing since", b.changes(c1, edgeB, branch(7)), "")
	b.as(edgeA, update("patient", text("p1"), "name", text("Anne")), remove("patient", text("p2")))
	b.other(`DELETE FROM patient WHERE id='p3'`)
	b.expect("since", b.changes(c1, edgeB, branch(7)), "patient 'p1'; patient -'p3'")
	b.expect("states, not history", b.changes(c0, edgeB, branch(7, 8)), "patient 'p1'; patient -'p2'; patient -'p3'")
	b.expect("came and went is gone", b.changes(c0, edgeB, branch(8)), "patient -'p2'")
}

// deltaOwn: an edge does not get its own writes back, but for what the hub made
// of them and what left its scopes.
func deltaOwn(t *testing.T, open Open) {
	b := start(t, open)
	c := b.now()
	b.as(edgeA, patient("p1", 7, "Ann"), patient("p2", 7, "Bob"), patient("p3", 7, "Cid"), patient("p4", 7, "Dan"))
	b.expect("its own", b.changes(c, edgeA, branch(7)), "")
	b.as(edgeB, update("patient", text("p1"), "name", text("x")))
	b.as(change.Incarnation{}, update("patient", text("p2"), "name", text("y")))
	b.as(edgeA, update("patient", text("p3"), "branch", change.Int(8)), remove("patient", text("p4")))
	b.expect("with others' and merged", b.changes(c, edgeA, branch(7)), "patient 'p1'; patient 'p2'; patient -'p3'")
	b.expect("in both scopes it did not leave", b.changes(c, edgeA, branch(7, 8)), "patient 'p1'; patient 'p2'")
	b.expect("the hub filters nothing", b.changes(c, change.Incarnation{}, branch(7)), "patient 'p1'; patient 'p2'; patient -'p3'; patient -'p4'")
}

func deltaOrder(t *testing.T, open Open) {
	b := start(t, open)
	c := b.now()
	var effects []hub.Effect
	for i := range 20 {
		p, v := fmt.Sprintf("p%02d", i), fmt.Sprintf("v%02d", i)
		effects = append(effects, patient(p, 7, strings.Repeat("x", 100)), visit(v, p), item(int64(i), v))
	}
	b.as(edgeA, effects...)
	var tables []string
	parts := 0
	b.view(func(v hub.View) error {
		return v.Delta(c, edgeB, branch(7), 500, func(r *change.Rows) error {
			parts++
			size := 0
			for _, val := range r.Values {
				size += val.Size()
			}
			if size > 700 {
				t.Errorf("a part of %d bytes for a limit of 500", size)
			}
			if len(tables) == 0 || tables[len(tables)-1] != r.Table {
				tables = append(tables, r.Table)
			}
			return nil
		})
	})
	b.expect("parents first", strings.Join(tables, " "), "patient visit item")
	if parts < 6 {
		t.Errorf("%d parts", parts)
	}
}

// trapP1: a reader that follows the log while others write misses nothing and
// never sees half of a transaction.
func trapP1(t *testing.T, open Open) {
	b := start(t, open)
	const rounds = 60
	begin := b.now()
	var writers sync.WaitGroup
	for w := range 2 {
		writers.Add(1)
		go func() {
			defer writers.Done()
			for i := range rounds {
				b.pair(w, i)
			}
		}()
	}
	done := make(chan struct{})
	go func() { writers.Wait(); close(done) }()
	seen := map[string]bool{}
	pull := func() {
		b.view(func(v hub.View) error {
			pairs := map[string]int{}
			err := v.Delta(begin, edgeB, branch(7), 1<<20, func(r *change.Rows) error {
				for i := range r.Len() {
					id := r.Row(i)[0].Str()
					seen[id] = true
					pairs[id[:5]]++
				}
				return nil
			})
			for p, n := range pairs {
				if n != 2 {
					t.Errorf("half of transaction %s", p)
				}
			}
			if err == nil {
				begin, err = v.Cursor()
			}
			return err
		})
	}
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
		}
		pull()
	}
	if len(seen) != 4*rounds {
		t.Errorf("saw %d of %d rows", len(seen), 4*rounds)
	}
}

// pair writes two rows in one transaction.
func (b *bench) pair(w, i int) {
	err := b.s.Update(context.Background(), func(tx hub.Tx) error {
		if err := tx.As(change.Incarnation{byte(w + 1)}, change.NewHLC(1, uint16(i))); err != nil {
			return err
		}
		for _, side := range []string{"l", "r"} {
			if err := tx.Write(patient(fmt.Sprintf("%d-%03d-%s", w, i, side), 7, "x")); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		b.Error(err)
	}
}

// trapD19: what happens in other scopes is not even looked at.
func trapD19(t *testing.T, open Open) {
	b := start(t, open)
	c := b.now()
	var effects []hub.Effect
	for i := range 500 {
		effects = append(effects, patient(fmt.Sprintf("p%03d", i), i%50, "x"))
	}
	b.as(edgeA, effects...)
	got := strings.Split(b.changes(c, edgeB, branch(7)), "; ")
	if len(got) != 10 {
		t.Errorf("%d rows of one scope, want 10: %v", len(got), got)
	}
}

func scan(t *testing.T, open Open) {
	b := start(t, open)
	var effects []hub.Effect
	for i := range 30 {
		effects = append(effects, patient(fmt.Sprintf("p%02d", i), 7+i%2, "x"), visit(fmt.Sprintf("v%02d", i), fmt.Sprintf("p%02d", i)))
	}
	b.as(edgeA, effects...)
	for _, table := range []string{"patient", "visit"} {
		var got []string
		chunks := 0
		for after := (change.Key)(nil); ; chunks++ {
			var next change.Key
			b.view(func(v hub.View) error {
				rows, n, err := v.Scan(table, after, branch(7), 100)
				if err != nil {
					return err
				}
				for i := range rows.Len() {
					got = append(got, rows.Row(i)[0].Str()[1:])
				}
				next = n
				return nil
			})
			if next == nil {
				break
			}
			after = next
		}
		want := ""
		for i := 0; i < 30; i += 2 {
			want += fmt.Sprintf("%02d ", i)
		}
		b.expect(table, strings.Join(got, " ")+" ", want)
		if chunks < 1 {
			t.Errorf("%s came in %d chunks", table, chunks+1)
		}
	}
	b.view(func(v hub.View) error {
		n, err := v.Count(branch(7))
		b.expect("count", fmt.Sprint(n), "map[item:0 patient:15 product:0 visit:15]")
		if rows, _, err := v.Scan("patient", nil, nil, 100); err != nil || rows.Len() != 0 {
			t.Errorf("scan of no scope: %d rows, %v", rows.Len(), err)
		}
		return err
	})
}

func digest(t *testing.T, open Open) {
	b := start(t, open)
	b.as(edgeA, patient("p1", 7, "Ann"), patient("p2", 8, "Bob"), visit("v1", "p1"))
	sum := func(table string, scopes []rule.ScopeID) (d change.Digest) {
		t.Helper()
		b.view(func(v hub.View) (err error) { d, err = v.Digest(table, scopes); return err })
		return d
	}
	one := sum("patient", branch(7))
	var want change.Digest
	want.Table = "patient"
	cols := []string{"id", "branch", "name", "note"}
	want.Add(change.Key{text("p1")}, change.HashRow(cols, []change.Value{text("p1"), change.Int(7), text("Ann"), change.Null}))
	if one != want {
		t.Errorf("digest of one row is %v, want %v", one, want)
	}
	b.as(edgeA, patient("p3", 8, "Cid"))
	if sum("patient", branch(7)) != one {
		t.Error("a row of another scope changed the digest")
	}
	b.other(`UPDATE patient SET name='Anne' WHERE id='p1'`)
	two := sum("patient", branch(7))
	if two == one || two.Rows != 1 {
		t.Error("an update did not change the digest")
	}
	b.other(`UPDATE patient SET branch=8 WHERE id='p1'`)
	if d := sum("patient", branch(7)); d.Rows != 0 {
		t.Errorf("%d rows after the only one left", d.Rows)
	}
	if d := sum("visit", branch(7)); d.Rows != 0 {
		t.Errorf("%d visits after their patient left", d.Rows)
	}
	b.other(`UPDATE patient SET branch=7, name='Ann' WHERE id='p1'`)
	if sum("patient", branch(7)) != one {
		t.Error("the same rows have another digest")
	}
	if d := sum("patient", nil); d.Rows != 0 {
		t.Error("rows in no scope")
	}
	b.update(func(tx hub.Tx) error { // a digest inside a transaction that is undone must not stay
		if err := tx.Write(patient("p9", 7, "Ira")); err != nil {
			return err
		}
		_ = tx.Savepoint(func() error {
			if err := tx.Write(patient("p10", 7, "Jim")); err != nil {
				return err
			}
			if d, err := tx.Digest("patient", branch(7)); err != nil || d.Rows != 3 {
				t.Errorf("digest inside: %d rows, %v", d.Rows, err)
			}
			return context.Canceled
		})
		return nil
	})
	if d := sum("patient", branch(7)); d.Rows != 2 {
		t.Errorf("%d rows after an undone write", d.Rows)
	}
}

func bucket(t *testing.T, open Open) {
	b := start(t, open)
	b.as(edgeA, patient("p1", 7, "Ann"), patient("p2", 8, "Bob"))
	b.view(func(v hub.View) error {
		at := change.Bucket(change.Key{text("p1")})
		rows, err := v.Bucket("patient", branch(7), []int{at})
		if err != nil || rows.Len() != 1 {
			t.Errorf("bucket of p1: %v, %v", rows, err)
		}
		rows, err = v.Bucket("patient", branch(7), []int{(at + 1) % change.Buckets})
		if err != nil || rows.Len() != 0 {
			t.Errorf("bucket beside p1's: %v, %v", rows, err)
		}
		if _, err := v.Bucket("patient", branch(7), []int{change.Buckets}); err == nil {
			t.Error("a bucket beyond the last was read")
		}
		return nil
	})
}
