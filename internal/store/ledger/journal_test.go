package ledger

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/clock"
	"github.com/tidemark-sync/tidemark/internal/hub"
)

func received(inc byte, seq uint64) hub.Received {
	id := change.TxID{inc, byte(seq)}
	return hub.Received{Inc: change.Incarnation{inc}, Seq: seq, ID: id, Tx: &change.Transaction{ID: id, Seq: seq}}
}

func TestSealAndUnseal(t *testing.T) {
	list := []hub.Received{received(1, 1), received(2, 7)}
	body, err := Seal(list)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range list {
		if tx, err := Unseal(r.ID, body, int64(i)); err != nil || tx.Seq != r.Seq {
			t.Errorf("place %d: %+v, %v", i, tx, err)
		}
	}
	for what, try := range map[string]func() error{
		"another's place": func() error { _, err := Unseal(list[0].ID, body, 1); return err },
		"beyond the last": func() error { _, err := Unseal(list[0].ID, body, 2); return err },
		"damaged":         func() error { _, err := Unseal(list[0].ID, body[:len(body)-3], 0); return err },
		"nothing to seal": func() error { _, err := Seal([]hub.Received{{}}); return err },
		"what cannot seal": func() error {
			_, err := Seal([]hub.Received{{Tx: &change.Transaction{Ops: []change.Op{{Kind: 99}}}}})
			return err
		},
	} {
		if err := try(); err == nil {
			t.Errorf("%s: no error", what)
		}
	}
}

func TestFurthest(t *testing.T) {
	var got []string
	for _, r := range Furthest([]hub.Received{received(2, 1), received(1, 5), received(2, 3), received(1, 4)}) {
		got = append(got, fmt.Sprint(r.Inc[0], "/", r.Seq))
	}
	if s := strings.Join(got, " "); s != "2/3 1/5" {
		t.Error(s)
	}
}

func TestLifeRow(t *testing.T) {
	at := time.UnixMilli(1234).UTC()
	for _, b := range []change.Branch{{Epoch: 1 << 63, Mode: change.Founded}, {Epoch: 2, Mode: change.Restored, At: at, Fork: change.Cursor{Epoch: 1, Token: "x"}}} {
		if got, err := RowOf(b).Branch(); err != nil || got != b {
			t.Errorf("%+v, %v, want %+v", got, err, b)
		}
	}
	if _, err := (LifeRow{Fork: "x"}).Branch(); err == nil {
		t.Error("a fork that is none was read")
	}
	if e, err := DrawEpoch(bytes.NewReader([]byte{0, 0, 0, 0, 0, 0, 1, 2})); e != 258 || err != nil {
		t.Errorf("%d, %v", e, err)
	}
	if _, err := DrawEpoch(bytes.NewReader(nil)); err == nil {
		t.Error("drawn from nothing")
	}
}

func TestSign(t *testing.T) {
	c := clock.NewManual(time.UnixMilli(5))
	broken := errors.New("broken")
	seven := func(change.Incarnation) (int64, error) { return 7, nil }
	for _, s := range []struct {
		inc  change.Incarnation
		hlc  change.HLC
		want Author
	}{{change.Incarnation{}, 0, Author{Hub, change.NewHLC(5, 0)}}, {change.Incarnation{1}, 3, Author{7, 3}}} {
		if got, err := Sign(s.inc, s.hlc, c, seven); got != s.want || err != nil {
			t.Errorf("%+v, %v, want %+v", got, err, s.want)
		}
	}
	if _, err := Sign(change.Incarnation{1}, 3, c, func(change.Incarnation) (int64, error) { return 0, broken }); !errors.Is(err, broken) {
		t.Error(err)
	}
}

// A number is looked up once, and given once.
func TestOriginsNumber(t *testing.T) {
	broken := errors.New("broken")
	fail := func(change.Incarnation) (int64, error) { return 0, broken }
	none := func(change.Incarnation) (int64, error) { return Nobody, nil }
	eight := func(change.Incarnation) (int64, error) { return 8, nil }
	var o Origins
	for name, f := range map[string][2]func(change.Incarnation) (int64, error){"look": {fail, eight}, "add": {none, fail}} {
		if _, err := o.Number(change.Incarnation{1}, f[0], f[1]); !errors.Is(err, broken) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, look := range []func(change.Incarnation) (int64, error){none, fail} {
		if id, err := o.Number(change.Incarnation{1}, look, eight); id != 8 || err != nil {
			t.Errorf("%d, %v", id, err)
		}
	}
}

func TestCheckEffect(t *testing.T) {
	key, v := change.Key{change.Int(1)}, []change.Value{change.Null}
	for want, e := range map[string]hub.Effect{
		"":                                   {Table: "t", Kind: change.Update, Key: key, Columns: []string{"a"}, Values: v},
		"write to t: 0 values for 1 columns": {Table: "t", Kind: change.Update, Key: key, Columns: []string{"a"}},
		"write to t: the key has 0 values, not 1": {Table: "t", Kind: change.Delete},
		"write to t: unknown kind of change 9":    {Table: "t", Kind: 9, Key: key},
	} {
		got := ""
		if err := CheckEffect(&e, 1); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%s\nwant %s", got, want)
		}
	}
}
