package run

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/edge"
)

const queuePage = 1000

// Waiting lists what waits in a file: not at the hub yet, without an outcome, or
// parked there. What was captured since the last sync is exported first.
func Waiting(_ context.Context, e Edge) (out []edge.Queued, err error) {
	err = e.Inside(func(eng *edge.Engine) error {
		out, err = Unsettled(eng)
		return err
	})
	return out, err
}

// Unsettled is Waiting with an engine that is open.
func Unsettled(eng *edge.Engine) (out []edge.Queued, err error) {
	if _, err := eng.Export(); err != nil {
		return nil, err
	}
	for after := uint64(0); ; {
		page, err := eng.Queue(after, queuePage)
		if err != nil {
			return nil, err
		}
		out = append(out, page...)
		if len(page) < queuePage {
			return out, nil
		}
		after = page[len(page)-1].Seq
	}
}

// ErrNoTransaction says that a file knows no such waiting transaction.
var ErrNoTransaction = errors.New("no such transaction waits in the file")

// WaitingOne reads one waiting transaction, by its id or a unique start of it.
func WaitingOne(_ context.Context, e Edge, id string) (q edge.Queued, t *change.Transaction, err error) {
	err = e.Inside(func(eng *edge.Engine) error {
		list, err := Unsettled(eng)
		if err != nil {
			return err
		}
		n := 0
		for _, c := range list {
			if s := c.ID.String(); s == id || len(id) >= 4 && strings.HasPrefix(s, id) {
				q = c
				n++
			}
		}
		if n != 1 {
			return fmt.Errorf("%s: transaction %q: %w", e.File, id, ErrNoTransaction)
		}
		t, err = eng.Queued(q.ID)
		return err
	})
	return q, t, err
}

// Inside opens the engine of an enrolled file around fn. An agent may be at work
// on the file meanwhile, in this process or another.
func (e Edge) Inside(fn func(*edge.Engine) error) (err error) {
	if _, err := ReadIdentity(e.File); err != nil {
		return err
	}
	eng, err := e.open()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, eng.Close()) }()
	return fn(eng)
}

// ExportFile renders all unsettled transactions and rescue copies of a file as JSON.
func ExportFile(_ context.Context, e Edge) (b []byte, err error) {
	err = e.Inside(func(eng *edge.Engine) error {
		b, _, err = exportWork(eng, e.File, e.Clock.Now())
		return err
	})
	return b, err
}

// The shape of an export. Values are SQL storage classes spelled out: JSON has
// neither integers nor bytes.
type (
	exported struct {
		File         string       `json:"file"`
		At           time.Time    `json:"exported_at"`
		Transactions []exportedTx `json:"transactions"`
		Rescues      []exportedTx `json:"rescue_copies"`
	}
	exportedTx struct {
		ID     string       `json:"id,omitempty"`
		At     time.Time    `json:"at"`
		State  string       `json:"state,omitempty"`
		Reason string       `json:"reason,omitempty"`
		Ops    []exportedOp `json:"ops"`
	}
	exportedOp struct {
		Table   string           `json:"table"`
		Kind    string           `json:"kind"`
		Key     []any            `json:"key"`
		Columns []exportedColumn `json:"columns"`
	}
	exportedColumn struct {
		Name string `json:"name"`
		Base any    `json:"base,omitempty"`
		New  any    `json:"new,omitempty"`
	}
)

// exportWork renders a file's work; n counts its unsettled transactions.
func exportWork(eng *edge.Engine, file string, now time.Time) (b []byte, n int, err error) {
	out := exported{File: file, At: now.UTC(), Transactions: []exportedTx{}, Rescues: []exportedTx{}}
	list, err := Unsettled(eng)
	if err != nil {
		return nil, 0, err
	}
	for _, q := range list {
		t, err := eng.Queued(q.ID)
		if err != nil {
			return nil, 0, err
		}
		out.Transactions = append(out.Transactions, exportedTx{q.ID.String(), q.At, q.State, q.Reason, exportOps(t)})
	}
	for after := int64(0); ; {
		page, err := eng.Rescues(after, queuePage)
		if err != nil {
			return nil, 0, err
		}
		for _, r := range page {
			out.Rescues = append(out.Rescues, exportedTx{At: r.At, Reason: r.Reason, Ops: exportOps(r.Tx)})
			after = r.ID
		}
		if len(page) < queuePage {
			break
		}
	}
	b, err = json.MarshalIndent(out, "", "  ")
	if err != nil {
		return nil, 0, fmt.Errorf("export %s: %w", file, err)
	}
	return b, len(list), nil
}

func exportOps(t *change.Transaction) []exportedOp {
	out := []exportedOp{}
	for i := range t.Ops {
		op := &t.Ops[i]
		x := exportedOp{Table: op.Table, Kind: op.Kind.String()}
		for _, v := range op.Key {
			x.Key = append(x.Key, spelled(v))
		}
		for j, name := range op.Columns {
			c := exportedColumn{Name: name}
			if j < len(op.Base) {
				c.Base = spelled(op.Base[j])
			}
			if j < len(op.New) {
				c.New = spelled(op.New[j])
			}
			x.Columns = append(x.Columns, c)
		}
		out = append(out, x)
	}
	return out
}

// spelled is a value that JSON cannot change: {"integer": "7"}, {"text": "a"} …
func spelled(v change.Value) any {
	switch v.Kind() {
	case change.KindInt:
		return map[string]string{"integer": v.String()}
	case change.KindFloat:
		return map[string]string{"real": v.String(), "bits": fmt.Sprintf("%016x", math.Float64bits(v.Float()))}
	case change.KindText:
		if utf8.ValidString(v.Str()) {
			return map[string]string{"text": v.Str()}
		}
		return map[string]string{"text_hex": hex.EncodeToString([]byte(v.Str()))}
	case change.KindBlob:
		return map[string]string{"blob": hex.EncodeToString([]byte(v.Str()))}
	}
	return map[string]string{"null": ""}
}
