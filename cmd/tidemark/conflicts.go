package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"
	"time"

	"github.com/spf13/cobra"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/serve"
)

func conflictsVerb(d *door) *cobra.Command {
	o := &officeFlags{}
	c := &cobra.Command{
		Use:   "conflicts",
		Short: "Read the receipts of automatic decisions, and undo them",
		Long: `Whenever two sides changed the same thing, a rule of tidemark.yaml decided, and left a
receipt: which value gave way to which, whose it was, and under which rule. Undo writes
the value that lost back, as a new change with a receipt of its own.`,
		Args: cobra.ArbitraryArgs,
		RunE: group,
	}
	o.bind(c)
	c.AddCommand(conflictsList(d, o), conflictsShow(d, o), conflictsUndo(d, o))
	return c
}

// A receiptRow is a receipt as the verbs show it.
type receiptRow struct {
	ID     string    `json:"id"`
	At     time.Time `json:"at"`
	Table  string    `json:"table"`
	Key    []any     `json:"key"`
	Kind   string    `json:"kind"`
	Column string    `json:"column,omitempty"`
	Rule   string    `json:"rule"`
	Base   any       `json:"base"`
	Hub    any       `json:"hub"`
	Edge   any       `json:"edge"`
	Result any       `json:"result"`
	Winner string    `json:"winner"`
	Loser  string    `json:"loser"`
	Device string    `json:"device"`
	Tx     string    `json:"transaction"`
	By     string    `json:"by,omitempty"`
	Undone string    `json:"undone_by,omitempty"`
	r      *hub.Receipt
}

// authors names the writers of changes.
type authors map[change.Incarnation]string

func readAuthors(ctx context.Context, core *hub.Hub) (authors, error) {
	list, err := core.Devices(ctx)
	if err != nil {
		return nil, err
	}
	a := authors{}
	for _, v := range list {
		for _, inc := range v.Incarnations {
			a[inc] = v.Name
		}
	}
	return a, nil
}

func (a authors) name(p hub.Party) string {
	if n, ok := a[p.Origin]; ok {
		return n
	}
	if p.Origin.IsZero() {
		return "hub"
	}
	return p.Origin.String()
}

func (a authors) row(r *hub.Receipt) receiptRow {
	return receiptRow{ID: r.ID, At: r.At, Table: r.Table, Key: plainAll(r.Key), Kind: r.Kind, Column: r.Column,
		Rule: r.Rule, Base: plain(r.Base), Hub: plain(r.Hub), Edge: plain(r.Edge), Result: plain(r.Result),
		Winner: a.name(r.Winner), Loser: a.name(r.Loser), Device: r.Device.String(), Tx: r.Tx.String(),
		By: r.By, Undone: r.Undone, r: r}
}

// what names the thing at stake.
func (r *receiptRow) what() string {
	s := r.Table + " " + r.r.Key.String()
	if r.Column != "" {
		s += " " + r.Column
	}
	return s
}

// decision says in one phrase what the rule did.
func (r *receiptRow) decision() string {
	switch {
	case r.Kind == "undo":
		return brief(r.r.Result) + " written back by " + r.By
	case r.Column == "":
		return r.Kind + ": " + r.Winner + " over " + r.Loser
	case r.r.Result == r.r.Edge:
		return fmt.Sprintf("%s (%s) over %s (%s)", brief(r.r.Edge), r.Winner, brief(r.r.Hub), r.Loser)
	case r.r.Result == r.r.Hub:
		return fmt.Sprintf("%s (%s) over %s (%s)", brief(r.r.Hub), r.Winner, brief(r.r.Edge), r.Loser)
	}
	return fmt.Sprintf("%s from %s and %s", brief(r.r.Result), brief(r.r.Hub), brief(r.r.Edge))
}

func conflictsList(d *door, o *officeFlags) *cobra.Command {
	var f hub.ReceiptFilter
	var device string
	c := &cobra.Command{
		Use:   "list",
		Short: "List the receipts, oldest first",
		Example: `  tidemark conflicts list --limit 20
  tidemark conflicts list --table patient --json`,
		Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return o.with(cmd.Context(), d, func(ctx context.Context, off *serve.Office) error {
				if device != "" {
					v, err := findDevice(ctx, off.Core, device)
					if err != nil {
						return err
					}
					f.Device = v.ID
				}
				list, err := off.Core.Receipts(ctx, f)
				if err != nil {
					return err
				}
				by, err := readAuthors(ctx, off.Core)
				if err != nil {
					return err
				}
				out := make([]receiptRow, len(list))
				for i := range list {
					out[i] = by.row(&list[i])
				}
				return d.show(map[string]any{"receipts": out}, func(w io.Writer) { receiptTable(w, out) })
			})
		},
	}
	c.Flags().StringVar(&f.Table, "table", "", "of this table only")
	c.Flags().StringVar(&device, "device", "", "brought about by this device only (name or id)")
	c.Flags().StringVar(&f.After, "after", "", "only receipts after this one")
	c.Flags().IntVar(&f.Limit, "limit", 0, "at most so many (0: all)")
	return c
}

func receiptTable(w io.Writer, list []receiptRow) {
	if len(list) == 0 {
		fmt.Fprintln(w, "no conflicts were decided")
		return
	}
	rows := make([][]string, len(list))
	for i := range list {
		r := &list[i]
		note := ""
		if r.Undone != "" {
			note = "undone"
		}
		rows[i] = []string{r.ID, r.At.Local().Format(time.DateTime), r.what(), r.Rule, r.decision(), note}
	}
	grid(w, []string{"RECEIPT", "AT", "WHAT", "RULE", "DECISION", ""}, rows)
}

// receipt reads one receipt.
func receipt(ctx context.Context, core *hub.Hub, id string) (*receiptRow, error) {
	list, err := core.Receipts(ctx, hub.ReceiptFilter{})
	if err != nil {
		return nil, err
	}
	for i := range list {
		if list[i].ID == id {
			by, err := readAuthors(ctx, core)
			if err != nil {
				return nil, err
			}
			row := by.row(&list[i])
			return &row, nil
		}
	}
	return nil, fail(exitUsage, fmt.Errorf("no receipt %q", id), "tidemark conflicts list shows them")
}

func conflictsShow(d *door, o *officeFlags) *cobra.Command {
	return &cobra.Command{
		Use:     "show RECEIPT",
		Short:   "Show one decision whole",
		Example: "  tidemark conflicts show 0190f3a2c4d50000-1b2c3d4e",
		Args:    args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, list []string) error {
			return o.with(cmd.Context(), d, func(ctx context.Context, off *serve.Office) error {
				r, err := receipt(ctx, off.Core, list[0])
				if err != nil {
					return err
				}
				return d.show(r, func(w io.Writer) { receiptFacts(w, r) })
			})
		},
	}
}

func receiptFacts(w io.Writer, r *receiptRow) {
	list := [][2]string{
		{"receipt", r.ID}, {"at", r.At.Local().Format(time.DateTime)}, {"what", r.what()}, {"rule", r.Rule},
		{"winner", r.Winner}, {"loser", r.Loser},
	}
	if r.Column != "" {
		list = append(list, [2]string{"before", brief(r.r.Base)}, [2]string{"at the hub", brief(r.r.Hub)},
			[2]string{"at the edge", brief(r.r.Edge)}, [2]string{"stands now", brief(r.r.Result)})
	}
	list = append(list, [2]string{"transaction", r.Tx})
	if r.Undone != "" {
		list = append(list, [2]string{"undone", "by receipt " + r.Undone})
	} else if r.Kind != "undo" {
		list = append(list, [2]string{"undo", "tidemark conflicts undo " + r.ID})
	}
	facts(w, list)
}

func conflictsUndo(d *door, o *officeFlags) *cobra.Command {
	var by string
	c := &cobra.Command{
		Use:     "undo RECEIPT",
		Short:   "Write the value that lost back",
		Example: "  tidemark conflicts undo 0190f3a2c4d50000-1b2c3d4e --by Ann",
		Args:    args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, list []string) error {
			return o.with(cmd.Context(), d, func(ctx context.Context, off *serve.Office) error {
				if by == "" {
					by = person()
				}
				back, err := off.Core.Undo(ctx, list[0], by)
				switch {
				case errors.Is(err, hub.ErrNotFound):
					return fail(exitUsage, fmt.Errorf("no receipt %q", list[0]), "tidemark conflicts list shows them")
				case errors.Is(err, hub.ErrUndone):
					return fail(exitFailed, err, "the undo has a receipt of its own: undo that one to turn it round again")
				case err != nil:
					return err
				}
				names, err := readAuthors(ctx, off.Core)
				if err != nil {
					return err
				}
				row := names.row(back)
				return d.show(row, func(w io.Writer) {
					fmt.Fprintf(w, "%s: %s stands again (receipt %s)\n", row.what(), brief(back.Result), back.ID)
				})
			})
		},
	}
	c.Flags().StringVar(&by, "by", "", "who undoes it, for the receipt (default: the user of this machine)")
	return c
}

// person names who is at the keyboard, for receipts.
func person() string {
	if u, err := user.Current(); err == nil && u.Username != "" {
		return u.Username
	}
	if n := os.Getenv("USER"); n != "" {
		return n
	}
	return "operator"
}
