package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"
	"strings"
	"time"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/api"
	"github.com/tidemark-sync/tidemark/internal/api/pb"
	"github.com/tidemark-sync/tidemark/internal/hub"
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
	o.bindEither(c)
	c.AddCommand(conflictsList(d, o), conflictsShow(d, o), conflictsUndo(d, o), conflictsAccept(d, o), conflictsWhatIf(d, o))
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
	State  string    `json:"state"` // new, accepted, undone
	Note   string    `json:"note,omitempty"`
	r      receiptCells
}

// receiptCells are the values of a receipt.
type receiptCells struct {
	key                     change.Key
	base, hub, edge, result change.Value
}

// party is who had part in a decision, as the verbs call them.
func party(name string) string {
	switch name {
	case "":
		return "unknown"
	case hub.HubName:
		return "hub"
	}
	return name
}

func newReceiptRow(r *pb.Receipt) receiptRow {
	v := receiptCells{key: api.Values(r.GetKey().GetValues()), base: api.Value(r.GetBase()), hub: api.Value(r.GetHub()), edge: api.Value(r.GetEdge()), result: api.Value(r.GetResult())}
	return receiptRow{ID: r.GetId(), At: timeIn(r.GetAt()), Table: r.GetTable(), Key: plainAll(v.key), Kind: r.GetKind(), Column: r.GetColumn(),
		Rule: r.GetRule(), Base: plain(v.base), Hub: plain(v.hub), Edge: plain(v.edge), Result: plain(v.result),
		Winner: party(r.GetWinnerName()), Loser: party(r.GetLoserName()), Device: r.GetDevice(), Tx: r.GetTransaction(),
		By: r.GetBy(), Undone: r.GetUndone(), State: wordOf(r.GetState(), "RECEIPT_STATE_"), Note: r.GetNote(), r: v}
}

// what names the thing at stake.
func (r *receiptRow) what() string {
	s := r.Table + " " + r.r.key.String()
	if r.Column != "" {
		s += " " + r.Column
	}
	return s
}

// decision says in one phrase what the rule did.
func (r *receiptRow) decision() string {
	switch {
	case r.Kind == "undo":
		return brief(r.r.result) + " written back by " + r.By
	case r.Column == "":
		return r.Kind + ": " + r.Winner + " over " + r.Loser
	case r.r.result == r.r.edge:
		return fmt.Sprintf("%s (%s) over %s (%s)", brief(r.r.edge), r.Winner, brief(r.r.hub), r.Loser)
	case r.r.result == r.r.hub:
		return fmt.Sprintf("%s (%s) over %s (%s)", brief(r.r.hub), r.Winner, brief(r.r.edge), r.Loser)
	}
	return fmt.Sprintf("%s from %s and %s", brief(r.r.result), brief(r.r.hub), brief(r.r.edge))
}

// receiptFilter are the flags that narrow a list of receipts.
type receiptFilter struct {
	table, device, state, search, after string
	limit                               int
}

func (f *receiptFilter) bind(c *cobra.Command) {
	c.Flags().StringVar(&f.table, "table", "", "of this table only")
	c.Flags().StringVar(&f.device, "device", "", "brought about by this device only (name or id)")
	c.Flags().StringVar(&f.state, "state", "", "only those that are new, accepted or undone")
	c.Flags().StringVar(&f.search, "search", "", "only those with this text in key or values")
	c.Flags().StringVar(&f.after, "after", "", "only receipts after this one")
	c.Flags().IntVar(&f.limit, "limit", 0, "at most so many (0: all)")
}

// receipts lists those that a filter wants, oldest first.
func (b *bureau) receipts(ctx context.Context, f *receiptFilter) ([]receiptRow, error) {
	req := &pb.ListReceiptsRequest{Table: f.table, Device: f.device, Search: f.search, OldestFirst: true, After: f.after}
	if f.state != "" {
		n, err := enumOf("state", "RECEIPT_STATE_", f.state, pb.ReceiptState_value)
		if err != nil {
			return nil, err
		}
		req.State = pb.ReceiptState(n)
	}
	out := []receiptRow{}
	err := pages(func(p *pb.Page) (string, bool, error) {
		req.Page = p
		res, err := b.Conflicts.List(ctx, connect.NewRequest(req))
		if err != nil {
			return "", true, err
		}
		for _, r := range res.Msg.GetReceipts() {
			if out = append(out, newReceiptRow(r)); f.limit > 0 && len(out) == f.limit {
				return "", true, nil
			}
		}
		return res.Msg.GetNextPageToken(), false, nil
	})
	return out, err
}

func conflictsList(d *door, o *officeFlags) *cobra.Command {
	f := &receiptFilter{}
	c := &cobra.Command{
		Use:   "list",
		Short: "List the receipts, oldest first",
		Example: `  tidemark conflicts list --limit 20
  tidemark conflicts list --table patient --state new --json`,
		Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return o.withAPI(cmd, d, func(ctx context.Context, b *bureau) error {
				out, err := b.receipts(ctx, f)
				if err != nil {
					return err
				}
				return d.show(map[string]any{"receipts": out}, func(w io.Writer) { receiptTable(w, out) })
			})
		},
	}
	f.bind(c)
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
		if r.State != "new" {
			note = r.State
		}
		rows[i] = []string{r.ID, r.At.Local().Format(time.DateTime), r.what(), r.Rule, r.decision(), note}
	}
	grid(w, []string{"RECEIPT", "AT", "WHAT", "RULE", "DECISION", ""}, rows)
}

// receipt reads one receipt.
func (b *bureau) receipt(ctx context.Context, id string) (*receiptRow, error) {
	res, err := b.Conflicts.Get(ctx, connect.NewRequest(&pb.GetReceiptRequest{Id: id}))
	if err != nil {
		return nil, noReceipt(err, id)
	}
	row := newReceiptRow(res.Msg.GetReceipt())
	return &row, nil
}

// noReceipt says of refusals which receipt they are about.
func noReceipt(err error, id string) error {
	switch {
	case says(err, "no-such-receipt"):
		return fail(exitUsage, fmt.Errorf("no receipt %q", id), hints["no-such-receipt"])
	case says(err, "already-undone"):
		return fail(exitFailed, fmt.Errorf("receipt %s: %w", id, hub.ErrUndone), hints["already-undone"])
	}
	return err
}

func conflictsShow(d *door, o *officeFlags) *cobra.Command {
	return &cobra.Command{
		Use:     "show RECEIPT",
		Short:   "Show one decision whole",
		Example: "  tidemark conflicts show 0190f3a2c4d50000-1b2c3d4e",
		Args:    args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, list []string) error {
			return o.withAPI(cmd, d, func(ctx context.Context, b *bureau) error {
				r, err := b.receipt(ctx, list[0])
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
		list = append(list, [2]string{"before", brief(r.r.base)}, [2]string{"at the hub", brief(r.r.hub)},
			[2]string{"at the edge", brief(r.r.edge)}, [2]string{"stands now", brief(r.r.result)})
	}
	list = append(list, [2]string{"transaction", r.Tx})
	if r.State == "accepted" {
		list = append(list, [2]string{"accepted", strings.TrimSuffix("by "+r.By+": "+r.Note, ": ")})
	}
	if r.Undone != "" {
		list = append(list, [2]string{"undone", "by receipt " + r.Undone})
	} else if r.Kind != "undo" {
		list = append(list, [2]string{"undo", "tidemark conflicts undo " + r.ID})
	}
	facts(w, list)
}

// byFlag says who decides, for receipts: across a network it is who the token says.
func (b *bureau) byFlag(by string) (string, error) {
	switch {
	case b.at != "" && by != "":
		return "", fail(exitUsage, errors.New("--by across a network: the hub knows who you are by the token"), "leave --by out")
	case b.at == "" && by == "":
		return person(), nil
	}
	return by, nil
}

func conflictsUndo(d *door, o *officeFlags) *cobra.Command {
	var by string
	c := &cobra.Command{
		Use:     "undo RECEIPT",
		Short:   "Write the value that lost back",
		Example: "  tidemark conflicts undo 0190f3a2c4d50000-1b2c3d4e --by Ann",
		Args:    args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, list []string) error {
			return o.withAPI(cmd, d, func(ctx context.Context, b *bureau) error {
				who, err := b.byFlag(by)
				if err != nil {
					return err
				}
				res, err := b.Conflicts.Undo(ctx, connect.NewRequest(&pb.UndoRequest{Id: list[0], By: who}))
				if err != nil {
					return noReceipt(err, list[0])
				}
				row, err := b.receipt(ctx, res.Msg.GetUndone())
				if err != nil {
					return err
				}
				return d.show(row, func(w io.Writer) {
					fmt.Fprintf(w, "%s: %s stands again (receipt %s)\n", row.what(), brief(row.r.result), row.ID)
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
