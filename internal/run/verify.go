package run

import (
	"context"
	"errors"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/edge"
)

// VerifyConfig says what to compare with the hub.
type VerifyConfig struct {
	Edge
	Tables []string // nil: all that sync
	Repair bool     // rows that differ become the hub's; what stood here is kept as a rescue copy
}

// Verified is what a comparison found.
type Verified struct {
	File    string          `json:"file"`
	Cursor  change.Cursor   `json:"-"`
	At      string          `json:"cursor"`
	InSync  bool            `json:"in_sync"`
	Differs int             `json:"differing_rows"`
	Tables  []VerifiedTable `json:"tables"`
}

// VerifiedTable is one table of a comparison. Keys are SQL literals.
type VerifiedTable struct {
	Table    string   `json:"table"`
	Rows     int64    `json:"rows"`
	Differ   []string `json:"differ,omitempty"`
	Missing  []string `json:"missing,omitempty"`
	Extra    []string `json:"extra,omitempty"`
	Repaired bool     `json:"repaired,omitempty"`
	// Captured counts rows that were written here while capture was missing. They are
	// the application's work, and go to the hub with the next sync.
	Captured int `json:"captured,omitempty"`
}

// Verify syncs a file, compares it with the hub at one place in history, and
// repairs what differs when asked to. No agent may be at work on the file.
func Verify(ctx context.Context, cfg VerifyConfig) (*Verified, error) {
	var report *edge.VerifyReport
	err := cfg.visit(ctx, 0, edge.SessionConfig{Once: true}, func(p *peer) {
		asked := false
		p.after = func(ctx context.Context, emit emitFunc) error {
			if report = p.s.VerifyReport(); report != nil {
				return errDone
			}
			if asked {
				return nil
			}
			done, err := p.s.Synced()
			if err != nil || !done {
				return err
			}
			asked = true
			return p.s.Verify(ctx, emit, cfg.Tables, cfg.Repair)
		}
	}, func(*edge.Engine, *Identity) error { return nil })
	if err != nil {
		return nil, err
	}
	if report == nil {
		return nil, errors.New("verify: the session ended before the comparison was done")
	}
	return newVerified(cfg.File, report), nil
}

func newVerified(file string, r *edge.VerifyReport) *Verified {
	out := &Verified{File: file, Cursor: r.At, At: r.At.String(), InSync: true}
	for _, t := range r.Tables {
		v := VerifiedTable{Table: t.Table, Rows: t.Rows, Repaired: t.Repaired, Captured: t.Captured,
			Differ: keyTexts(t.Differ), Missing: keyTexts(t.Missing), Extra: keyTexts(t.Extra)}
		n := len(t.Differ) + len(t.Missing) + len(t.Extra)
		out.Differs += n
		if t.Open() {
			out.InSync = false
		}
		out.Tables = append(out.Tables, v)
	}
	return out
}

func keyTexts(list []change.Key) []string {
	out := make([]string, len(list))
	for i, k := range list {
		out[i] = k.String()
	}
	return out
}
