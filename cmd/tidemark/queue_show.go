package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/api"
	"github.com/tidemark-sync/tidemark/internal/api/pb"
	"github.com/tidemark-sync/tidemark/internal/run"
)

// A diffRow is one operation of a transaction, beside the hub's row when known.
type diffRow struct {
	N       int        `json:"op"`
	Table   string     `json:"table"`
	Kind    string     `json:"kind"`
	Key     []any      `json:"key"`
	Exists  *bool      `json:"exists_at_hub,omitempty"`
	Columns []diffCell `json:"columns"`
	key     change.Key
}

type diffCell struct {
	Name string `json:"name"`
	Base any    `json:"base"`
	New  any    `json:"new"`
	Hub  any    `json:"hub,omitempty"`
	text [3]string
}

func queueShow(d *door, o *officeFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "show TRANSACTION [FILE]",
		Short: "Show a transaction beside the rows that the hub has now",
		Example: `  tidemark queue show 4f1c
  tidemark queue show 4f1c2a77-0d5e-4a4f-9a36-5c1d9f0a1b2c till.db`,
		Args: args(cobra.RangeArgs(1, 2)),
		RunE: func(cmd *cobra.Command, list []string) error {
			if len(list) == 2 {
				return d.showQueued(cmd.Context(), list[0], list[1])
			}
			return o.withAPI(cmd, d, func(ctx context.Context, b *bureau) error {
				return d.showParked(ctx, b, list[0])
			})
		},
	}
}

func (d *door) showParked(ctx context.Context, b *bureau, text string) error {
	id, err := b.findParked(ctx, text)
	if err != nil {
		return err
	}
	res, err := b.Quarantine.Get(ctx, connect.NewRequest(&pb.GetParkedRequest{Id: id}))
	if says(err, "no-such-transaction") {
		return noTransaction(text)
	}
	if err != nil {
		return err
	}
	var ops []diffRow
	for _, op := range res.Msg.GetOperations() {
		key, exists := change.Key(api.Values(op.GetKey().GetValues())), op.GetExists()
		row := diffRow{N: int(op.GetPlace()), Table: op.GetTable(), Kind: op.GetKind(), Key: plainAll(key), Exists: &exists, Columns: []diffCell{}, key: key}
		for _, c := range op.GetColumns() {
			base, now, there := api.Value(c.GetBase()), api.Value(c.GetNew()), api.Value(c.GetHub())
			row.Columns = append(row.Columns, diffCell{c.GetName(), plain(base), plain(now), plain(there), [3]string{brief(base), brief(now), brief(there)}})
		}
		ops = append(ops, row)
	}
	return d.showDiff(newParkedRow(res.Msg.GetParked()), ops, true)
}

func (d *door) showQueued(ctx context.Context, text, file string) error {
	q, t, err := run.WaitingOne(ctx, d.edge(file), text)
	if err != nil {
		return err
	}
	head := queueRow{ID: q.ID.String(), At: q.At, Seq: q.Seq, State: q.State, Reason: q.Reason, Rows: q.Ops, Aside: q.Aside, Unaware: t.Unaware}
	var ops []diffRow
	for i := range t.Ops {
		op := &t.Ops[i]
		row := diffRow{N: i, Table: op.Table, Kind: op.Kind.String(), Key: plainAll(op.Key), Columns: []diffCell{}, key: op.Key}
		for j, name := range op.Columns {
			var base, now change.Value
			if j < len(op.Base) {
				base = op.Base[j]
			}
			if j < len(op.New) {
				now = op.New[j]
			}
			row.Columns = append(row.Columns, diffCell{Name: name, Base: plain(base), New: plain(now), text: [3]string{brief(base), brief(now), ""}})
		}
		ops = append(ops, row)
	}
	return d.showDiff(head, ops, false)
}

func (d *door) showDiff(head queueRow, ops []diffRow, hub bool) error {
	out := struct {
		queueRow
		Ops []diffRow `json:"ops"`
	}{head, ops}
	return d.show(out, func(w io.Writer) {
		list := [][2]string{{"transaction", head.ID}, {"at", head.At.Local().Format(time.DateTime)}, {"state", head.State}}
		if head.Device != "" {
			list = append(list, [2]string{"device", head.Device})
		}
		if head.Reason != "" {
			list = append(list, [2]string{"why", head.Reason})
		}
		for _, id := range head.DependsOn {
			list = append(list, [2]string{"after", id})
		}
		if head.Unaware {
			list = append(list, [2]string{"note", "grouped by what was seen at one moment: the application gave no transaction identity"})
		}
		facts(w, list)
		for _, op := range ops {
			fmt.Fprintf(w, "\n%d  %s %s %s", op.N, op.Kind, op.Table, op.key)
			if op.Exists != nil && !*op.Exists {
				fmt.Fprint(w, "  (no such row at the hub)")
			}
			fmt.Fprintln(w)
			rows := make([][]string, len(op.Columns))
			headings := []string{"   COLUMN", "BEFORE", "WRITTEN", "AT THE HUB"}
			for i, c := range op.Columns {
				rows[i] = []string{"   " + c.Name, c.text[0], c.text[1], c.text[2]}
				if !hub {
					rows[i] = rows[i][:3]
				}
			}
			if !hub {
				headings = headings[:3]
			}
			if len(rows) > 0 {
				grid(w, headings, rows)
			}
		}
	})
}
