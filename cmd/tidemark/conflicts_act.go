package main

import (
	"context"
	"fmt"
	"io"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/api"
	"github.com/tidemark-sync/tidemark/internal/api/pb"
)

func conflictsAccept(d *door, o *officeFlags) *cobra.Command {
	var note, by string
	c := &cobra.Command{
		Use:   "accept RECEIPT...",
		Short: "Say that decisions were looked at, and stand",
		Long: `Accept changes no row: it takes decisions off the list of those that nobody looked at yet.
Those that were accepted or undone before stay as they are.`,
		Example: "  tidemark conflicts accept 0190f3a2c4d50000-1b2c3d4e --note 'asked the branch'",
		Args:    args(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, list []string) error {
			return o.withAPI(cmd, d, func(ctx context.Context, b *bureau) error {
				who, err := b.byFlag(by)
				if err != nil {
					return err
				}
				res, err := b.Conflicts.Accept(ctx, connect.NewRequest(&pb.AcceptRequest{Ids: list, Note: note, By: who}))
				if err != nil {
					return err
				}
				n := res.Msg.GetAccepted()
				return d.show(map[string]any{"accepted": n}, func(w io.Writer) {
					text := plural(int64(n), "decision") + " accepted"
					if rest := len(list) - int(n); rest > 0 {
						text += fmt.Sprintf("; %d had been accepted or undone before", rest)
					}
					fmt.Fprintln(w, text)
				})
			})
		},
	}
	c.Flags().StringVar(&note, "note", "", "what was found, for who looks later")
	c.Flags().StringVar(&by, "by", "", "who accepts them (default: the user of this machine)")
	return c
}

// A whatIfRow is a decision that another policy would have made otherwise.
type whatIfRow struct {
	Receipt receiptRow `json:"receipt"`
	Would   any        `json:"would"`
	Winner  string     `json:"winner,omitempty"`
	Why     string     `json:"why,omitempty"` // it would wait, or cannot be told
	would   change.Value
}

func conflictsWhatIf(d *door, o *officeFlags) *cobra.Command {
	req := &pb.WhatIfRequest{}
	var last uint32
	c := &cobra.Command{
		Use:   "what-if TABLE POLICY",
		Short: "Replay recent conflicts under another policy, and see what would differ",
		Long: `What-if changes nothing: it decides the last conflicts of a table, or of one of its
columns, anew under another policy, and lists those that would have come out otherwise.
Conflicts in which nothing was lost leave no receipt, and cannot be replayed.`,
		Example: `  tidemark conflicts what-if patient manual
  tidemark conflicts what-if patient text --column notes --last 1000`,
		Args: args(cobra.ExactArgs(2)),
		RunE: func(cmd *cobra.Command, list []string) error {
			return o.withAPI(cmd, d, func(ctx context.Context, b *bureau) error {
				req.Table, req.Policy, req.Last = list[0], list[1], last
				res, err := b.Conflicts.WhatIf(ctx, connect.NewRequest(req))
				if err != nil {
					return err
				}
				return d.showWhatIf(res.Msg, list[1])
			})
		},
	}
	c.Flags().StringVar(&req.Column, "column", "", "of this column only")
	c.Flags().Uint32Var(&last, "last", 200, "how many conflicts")
	return c
}

func (d *door) showWhatIf(m *pb.WhatIfResponse, policy string) error {
	out := struct {
		LookedAt  uint32      `json:"looked_at"`
		Differ    uint32      `json:"differ"`
		WouldWait uint32      `json:"would_wait"`
		Cases     []whatIfRow `json:"cases"`
	}{m.GetLookedAt(), m.GetDiffer(), m.GetWouldWait(), []whatIfRow{}}
	for _, k := range m.GetCases() {
		v := api.Value(k.GetWould())
		out.Cases = append(out.Cases, whatIfRow{newReceiptRow(k.GetReceipt()), plain(v), k.GetWinner(), k.GetWhy(), v})
	}
	return d.show(out, func(w io.Writer) {
		fmt.Fprintf(w, "%s replayed under %s: %d would differ, %d would wait for a person\n", plural(int64(out.LookedAt), "conflict"), policy, out.Differ, out.WouldWait)
		rows := make([][]string, len(out.Cases))
		for i := range out.Cases {
			k := &out.Cases[i]
			would := k.Why
			if would == "" {
				would = brief(k.would)
			}
			rows[i] = []string{k.Receipt.ID, k.Receipt.what(), k.Receipt.decision(), would}
		}
		if len(rows) > 0 {
			grid(w, []string{"RECEIPT", "WHAT", "DECISION", "WOULD BE"}, rows)
		}
	})
}
