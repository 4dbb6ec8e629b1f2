package edge

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/wire"
	"github.com/tidemark-sync/tidemark/internal/wire/transport"
)

// here does work in its place, and counts it.
type here struct{ begun, waited int }

func (h *here) beside(work func()) func() {
	h.begun++
	work()
	return func() { h.waited++ }
}

func chunkOf(t *testing.T, vals ...change.Value) []byte {
	t.Helper()
	b, err := change.SealRows([]*change.Rows{{Table: "t", Columns: []string{"id"}, Key: []int{0}, Values: vals}})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// staged is a journal of chunks of two rows each, numbered on, with empty ones between.
func staged(t *testing.T, n int) *journal {
	t.Helper()
	j, err := createJournal(filepath.Join(t.TempDir(), "j"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = j.close() })
	for i := range n {
		keep(t, j, chunkOf(t, change.Int(int64(2*i)), change.Int(int64(2*i+1))))
		keep(t, j, nil)
	}
	return j
}

func keep(t *testing.T, j *journal, body []byte) {
	t.Helper()
	if err := j.append(recordChunk, body); err != nil {
		t.Fatal(err)
	}
}

// delivered lists the rows that came, until fail of them did.
func delivered(j *journal, beside wire.Beside, fail int) (ids []int64, err error) {
	err = j.rows(false, beside, func(r *change.Rows) error {
		for i := range r.Len() {
			if len(ids) == fail {
				return errors.New("no room")
			}
			ids = append(ids, r.Row(i)[0].Int())
		}
		return nil
	})
	return ids, err
}

func TestDecodingAhead_KeepsTheOrder(t *testing.T) {
	j := staged(t, 20)
	for name, beside := range map[string]wire.Beside{"in place": nil, "here": new(here).beside, "beside": transport.Beside} {
		ids, err := delivered(j, beside, -1)
		if err != nil || len(ids) != 40 || !slices.IsSorted(ids) {
			t.Errorf("%s: %v, %v", name, ids, err)
		}
	}
}

// However many chunks there are, one is decoded before its turn, and none that is large.
func TestDecodingAhead_IsBounded(t *testing.T) {
	j := staged(t, 20)
	noise := make([]byte, aheadBytes)
	rand.NewChaCha8([32]byte{1}).Read(noise) // does not compress
	keep(t, j, chunkOf(t, change.Blob(noise)))
	keep(t, j, chunkOf(t, change.Int(99)))
	h, n := &here{}, 0
	err := j.rows(false, h.beside, func(r *change.Rows) error {
		n++
		large := len(r.Row(0)[0].Str()) >= aheadBytes
		if want := min(n+1, 20); h.begun != want && n <= 20 || large && h.begun != 20 {
			t.Errorf("at chunk %d, %d were decoded", n, h.begun)
		}
		return nil
	})
	if err != nil || n != 22 || h.begun != 21 || h.waited != 21 {
		t.Errorf("%d chunks, %d decoded ahead, %d waited for, %v", n, h.begun, h.waited, err)
	}
}

// A chunk that does not decode says so when its turn comes, in the same words.
func TestDecodingAhead_TellsOfDamageInItsTurn(t *testing.T) {
	j := staged(t, 3)
	keep(t, j, []byte("no chunk"))
	keep(t, j, chunkOf(t, change.Int(99)))
	want, plain := delivered(j, nil, -1)
	if plain == nil || !strings.HasPrefix(plain.Error(), "staged rows: ") || len(want) != 6 {
		t.Fatalf("%v, %v", want, plain)
	}
	for name, beside := range map[string]wire.Beside{"here": new(here).beside, "beside": transport.Beside} {
		ids, err := delivered(j, beside, -1)
		if fmt.Sprint(err) != plain.Error() || !slices.Equal(ids, want) {
			t.Errorf("%s: %v, %v", name, ids, err)
		}
	}
	// The last one of all, too, has a turn.
	last := staged(t, 2)
	keep(t, last, []byte("no chunk"))
	if ids, err := delivered(last, transport.Beside, -1); fmt.Sprint(err) != plain.Error() || len(ids) != 4 {
		t.Errorf("the last chunk: %v, %v", ids, err)
	}
}

// Whoever stops in the middle leaves nothing behind that goes on.
func TestDecodingAhead_EndsWithItsReader(t *testing.T) {
	j := staged(t, 20)
	var going atomic.Int32
	beside := func(work func()) func() {
		going.Add(1)
		return transport.Beside(func() {
			work()
			going.Add(-1)
		})
	}
	for fail := range 20 {
		ids, err := delivered(j, beside, fail)
		if fmt.Sprint(err) != "no room" || len(ids) != fail {
			t.Errorf("stopped at %d: %v, %v", fail, ids, err)
		}
		if n := going.Load(); n != 0 {
			t.Fatalf("stopped at %d: %d go on", fail, n)
		}
	}
	j.size-- // and so does one whose file turns out to be damaged
	if _, err := delivered(j, beside, -1); err == nil || going.Load() != 0 {
		t.Errorf("a damaged file: %v, %d go on", err, going.Load())
	}
}

// A bootstrap of several chunks, cut and taken up again, installs the same rows.
func TestDecodingAhead_Bootstrap(t *testing.T) {
	c := newClinic(t)
	for i := range 50 {
		c.h.put("patient", change.Text(fmt.Sprintf("p%02d", i)), change.Int(1), change.Text("x"), change.Int(0), change.Null)
	}
	h := &here{}
	c.dialAs(SessionConfig{Beside: h.beside}).sync()
	c.want("SELECT count(*), min(id), max(id) FROM patient", "50|'p00'|'p49'")
	if h.begun == 0 || h.begun != h.waited {
		t.Errorf("%d chunks decoded beside, %d waited for", h.begun, h.waited)
	}
}
