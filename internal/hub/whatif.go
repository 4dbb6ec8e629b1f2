package hub

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/merge"
	"github.com/tidemark-sync/tidemark/internal/rule"
)

// DefaultReplay is how many conflicts WhatIf replays when nobody says.
const DefaultReplay = 200

// WhatIf is what recent conflicts would have become under another policy.
type WhatIf struct {
	Looked int // conflicts that were replayed
	Differ int // would have become something else
	Wait   int // would have waited for a person
	Untold int // of which it cannot be told
	// Cases are those that would differ or wait, or cannot be told; newest first.
	Cases []WhatIfCase
}

// A WhatIfCase is one conflict under the other policy.
type WhatIfCase struct {
	Decision
	Would  change.Value // what the column would be; nothing when it would wait, or cannot be told
	Winner merge.Side
	Waits  bool
	Why    string // it would wait, or cannot be told
}

// WhatIf replays the last conflicts (0: DefaultReplay) of a table, or of one of its
// columns, under another policy. What it cannot see: conflicts in which nothing was
// lost, which leave no receipt, and those that wait in quarantine.
func (h *Hub) WhatIf(ctx context.Context, table, column string, policy rule.Policy, last int) (*WhatIf, error) {
	t := h.shape.Load().table(table)
	if t == nil {
		return nil, fmt.Errorf("what if: %w", &InputError{"table", fmt.Sprintf("the hub has no synced table %q", table)})
	}
	col := rule.Column{}
	if column != "" {
		c := t.column(column)
		if c < 0 {
			return nil, fmt.Errorf("what if: %w", &InputError{"column", fmt.Sprintf("table %s has no column %q", t.schema.Name, column)})
		}
		column, col = t.names[c], t.cols[c].rule
	}
	if !slices.Contains(replayable, policy) {
		return nil, fmt.Errorf("what if: %w", &InputError{"policy", fmt.Sprintf("%q is not a policy; known are %s", policy, policyList())})
	}
	if last <= 0 {
		last = DefaultReplay
	}
	out := &WhatIf{}
	err := h.view(ctx, func(v View) error {
		*out = WhatIf{}
		who := authors{v: v}
		return decisionsBack(v, "", func(r *Receipt) (bool, error) {
			if !strings.EqualFold(r.Table, t.schema.Name) || r.Kind == kindUndo || column != "" && r.Column != "" && !strings.EqualFold(r.Column, column) {
				return true, nil
			}
			if column == "" && r.Column != "" {
				if c := t.column(r.Column); c >= 0 {
					col = t.cols[c].rule
				}
			}
			out.Looked++
			c := replay(r, policy, col)
			if err := out.add(&who, r, c); err != nil {
				return false, err
			}
			return out.Looked < last, nil
		}, new(string))
	})
	if err != nil {
		return nil, fmt.Errorf("what if: %w", err)
	}
	return out, nil
}

func (w *WhatIf) add(who *authors, r *Receipt, c WhatIfCase) error {
	switch {
	case c.Waits:
		w.Wait++
	case c.Why != "":
		w.Untold++
	case c.Would != r.Result:
		w.Differ++
	default:
		return nil
	}
	d, err := who.decision(r)
	if err != nil {
		return err
	}
	c.Decision = *d
	w.Cases = append(w.Cases, c)
	return nil
}

// replayable are the policies that conflicts can be replayed under.
var replayable = []rule.Policy{rule.Latest, rule.Arrival, rule.Hub, rule.Edge, rule.Counter, rule.Min, rule.Max, rule.Set, rule.TextMix, rule.States, rule.Manual}

func policyList() string {
	list := make([]string, len(replayable))
	for i, p := range replayable {
		list[i] = string(p)
	}
	return strings.Join(list, ", ")
}

// replay decides a receipt's conflict again under another policy.
func replay(r *Receipt, policy rule.Policy, col rule.Column) WhatIfCase {
	if r.Kind != "column" || r.Column == "" {
		return WhatIfCase{Why: "a whole row was at stake: what becomes of those is decided by on_delete, and by foreign keys"}
	}
	hub, edge := r.sides()
	if policy == rule.Latest && (hub.HLC == 0 || edge.HLC == 0) {
		return WhatIfCase{Why: "the receipt does not tell when both sides were written"}
	}
	out := merge.Column(policy, col, r.Base, hub, edge)
	if out.Park != "" {
		return WhatIfCase{Waits: true, Why: out.Park}
	}
	return WhatIfCase{Would: out.Value, Winner: out.Winner}
}

// sides are both versions of the column, as far as the receipt tells.
func (r *Receipt) sides() (hub, edge merge.Versioned) {
	h, e := r.Winner, r.Loser
	if h.Side != "hub" {
		h, e = e, h
	}
	return merge.Versioned{Value: r.Hub, HLC: h.HLC, Origin: h.Origin}, merge.Versioned{Value: r.Edge, HLC: e.HLC, Origin: e.Origin}
}
