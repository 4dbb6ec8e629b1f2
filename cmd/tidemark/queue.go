package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/api/pb"
	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/run"
)

func queueVerb(d *door) *cobra.Command {
	o := &officeFlags{}
	c := &cobra.Command{
		Use:   "queue",
		Short: "See the transactions that wait, and settle those that the hub parked",
		Long: `A transaction that cannot be applied is parked at the hub with a reason, together with
what depends on it; everything else flows on. It is safe there until a person retries,
edits or discards it. These verbs work on the hub's data directory, or with --hub on a hub
across a network; with a FILE, list, show and export read what waits in that file instead.`,
		Args: cobra.ArbitraryArgs,
		RunE: group,
	}
	o.bindEither(c)
	c.AddCommand(queueList(d, o), queueShow(d, o), queueRetry(d, o), queueEdit(d, o), queueDiscard(d, o), queueExport(d, o))
	return c
}

// A queueRow is one waiting transaction.
type queueRow struct {
	ID        string    `json:"id"`
	At        time.Time `json:"at"`
	Device    string    `json:"device,omitempty"`
	Seq       uint64    `json:"seq"`
	State     string    `json:"state"` // waiting, durable or quarantined
	Code      string    `json:"code,omitempty"`
	Reason    string    `json:"reason,omitempty"`
	DependsOn []string  `json:"depends_on,omitempty"`
	Rows      int       `json:"rows"`
	Aside     bool      `json:"aside,omitempty"`
	Unaware   bool      `json:"unaware,omitempty"`
	Split     bool      `json:"split,omitempty"`
	Edited    bool      `json:"edited,omitempty"`
	Tries     int       `json:"tries,omitempty"`
	Version   string    `json:"version,omitempty"` // for --at
	device    string    // id
}

func newParkedRow(p *pb.Parked) queueRow {
	return queueRow{ID: p.GetId(), At: timeIn(p.GetAt()), Device: p.GetDeviceName(), Seq: p.GetSeq(), State: "quarantined", Code: p.GetCode(),
		Reason: p.GetReason(), DependsOn: p.GetDependsOn(), Rows: int(p.GetOperations()), Unaware: p.GetUnaware(), Split: p.GetSplit(),
		Edited: p.GetEdited(), Tries: int(p.GetTries()), Version: p.GetVersion(), device: p.GetDevice()}
}

func queueList(d *door, o *officeFlags) *cobra.Command {
	req := &pb.ListParkedRequest{}
	c := &cobra.Command{
		Use:   "list [FILE]",
		Short: "List what the hub parked, or what waits in a file",
		Example: `  tidemark queue list --device till-7
  tidemark queue list till.db --json`,
		Args: args(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, list []string) error {
			if len(list) > 0 {
				rows, err := run.Waiting(cmd.Context(), d.edge(list[0]))
				if err != nil {
					return err
				}
				out := make([]queueRow, len(rows))
				for i, q := range rows {
					out[i] = queueRow{ID: q.ID.String(), At: q.At, Seq: q.Seq, State: q.State, Reason: q.Reason, Rows: q.Ops, Aside: q.Aside}
				}
				return d.queueTable(out, "nothing waits in "+list[0])
			}
			return o.withAPI(cmd, d, func(ctx context.Context, b *bureau) error {
				out, err := b.parked(ctx, req)
				if err != nil {
					return err
				}
				return d.queueTable(out, "nothing is parked")
			})
		},
	}
	c.Flags().StringVar(&req.Device, "device", "", "of this device only (name or id)")
	c.Flags().StringVar(&req.Code, "code", "", "only what waits for this reason: unique, missing-parent, rights, manual, depends and so on")
	c.Flags().StringVar(&req.Search, "search", "", "only what has these words in id, device, reason or rows")
	return c
}

// parked lists what waits at the hub, device by device in their own orders.
func (b *bureau) parked(ctx context.Context, req *pb.ListParkedRequest) ([]queueRow, error) {
	out := []queueRow{}
	err := pages(func(p *pb.Page) (string, bool, error) {
		req.Page = p
		res, err := b.Quarantine.List(ctx, connect.NewRequest(req))
		if err != nil {
			return "", true, err
		}
		for _, one := range res.Msg.GetParked() {
			out = append(out, newParkedRow(one))
		}
		return res.Msg.GetNextPageToken(), false, nil
	})
	slices.SortFunc(out, func(x, y queueRow) int {
		return cmp.Or(strings.Compare(x.device, y.device), cmp.Compare(x.Seq, y.Seq), strings.Compare(x.ID, y.ID))
	})
	return out, err
}

func (d *door) queueTable(list []queueRow, empty string) error {
	return d.show(map[string]any{"queue": list}, func(w io.Writer) {
		if len(list) == 0 {
			fmt.Fprintln(w, empty)
			return
		}
		rows := make([][]string, len(list))
		for i, q := range list {
			why := q.Reason
			if len(q.DependsOn) > 0 {
				why += " (after " + strings.Join(q.DependsOn, ", ") + ")"
			}
			rows[i] = []string{q.ID, q.At.Local().Format(time.DateTime), q.Device, q.State, fmt.Sprint(q.Rows), why}
		}
		grid(w, []string{"TRANSACTION", "AT", "DEVICE", "STATE", "ROWS", "WHY"}, rows)
	})
}

// findParked takes a transaction's id, or a unique start of one.
func (b *bureau) findParked(ctx context.Context, text string) (string, error) {
	if id, err := change.ParseTxID(text); err == nil {
		return id.String(), nil
	}
	list, err := b.parked(ctx, &pb.ListParkedRequest{Search: text})
	if err != nil {
		return "", err
	}
	var hits []string
	for i := range list {
		if len(text) >= 4 && strings.HasPrefix(list[i].ID, text) {
			hits = append(hits, list[i].ID)
		}
	}
	if len(hits) == 1 {
		return hits[0], nil
	}
	return "", noTransaction(text)
}

func noTransaction(text string) error {
	return fail(exitUsage, fmt.Errorf("no parked transaction %q", text), "tidemark queue list shows them, with their ids")
}

// settle does something about a parked transaction, and reports what became of it and
// of those that waited for it.
func (o *officeFlags) settle(cmd *cobra.Command, d *door, text string, do func(ctx context.Context, b *bureau, id string) (*connect.Response[pb.SettleResponse], error)) error {
	return o.withAPI(cmd, d, func(ctx context.Context, b *bureau) error {
		id, err := b.findParked(ctx, text)
		if err != nil {
			return err
		}
		res, err := do(ctx, b, id)
		if says(err, "no-such-transaction") {
			return noTransaction(id)
		}
		if err != nil {
			return err
		}
		return d.settled(res.Msg.GetSettled(), id)
	})
}

// settled shows what became of transactions, the one acted on first.
func (d *door) settled(list []*pb.Settled, id string) error {
	type row struct {
		ID     string `json:"id"`
		Status string `json:"status"`
		Reason string `json:"reason,omitempty"`
	}
	out := make([]row, len(list))
	for i, s := range list {
		out[i] = row{s.GetId(), s.GetStatus(), s.GetReason()}
	}
	err := d.show(map[string]any{"settled": out}, func(w io.Writer) {
		for _, r := range out {
			fmt.Fprintf(w, "%s  %s", r.ID, r.Status)
			if r.Reason != "" {
				fmt.Fprintf(w, ": %s", r.Reason)
			}
			fmt.Fprintln(w)
		}
	})
	if err == nil && len(out) > 0 && out[0].Status == hub.Quarantined.String() {
		err = fail(exitNotInSync, fmt.Errorf("transaction %s still cannot be applied", id), "tidemark queue show %s compares it with the hub's rows", id)
	}
	return err
}

func queueRetry(d *door, o *officeFlags) *cobra.Command {
	var at string
	c := &cobra.Command{
		Use:     "retry TRANSACTION",
		Short:   "Try a parked transaction again, under the rules and data of now",
		Example: "  tidemark queue retry 4f1c",
		Args:    args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, list []string) error {
			return o.settle(cmd, d, list[0], func(ctx context.Context, b *bureau, id string) (*connect.Response[pb.SettleResponse], error) {
				return b.Quarantine.Retry(ctx, connect.NewRequest(&pb.RetryRequest{Id: id, Version: at}))
			})
		},
	}
	bindAt(c, &at)
	return c
}

func queueDiscard(d *door, o *officeFlags) *cobra.Command {
	var reason, at string
	c := &cobra.Command{
		Use:   "discard TRANSACTION",
		Short: "Settle a parked transaction as not to be applied",
		Long: `Discard settles a parked transaction for good. Its device returns to the hub's state
and keeps a rescue copy; the journal keeps the transaction and the reason.`,
		Example: "  tidemark queue discard 4f1c --reason 'entered twice'",
		Args:    args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, list []string) error {
			if strings.TrimSpace(reason) == "" {
				return fail(exitUsage, errors.New("a discard needs a reason"), "--reason TEXT; the device's people see it")
			}
			return o.settle(cmd, d, list[0], func(ctx context.Context, b *bureau, id string) (*connect.Response[pb.SettleResponse], error) {
				return b.Quarantine.Discard(ctx, connect.NewRequest(&pb.DiscardRequest{Id: id, Reason: reason, Version: at}))
			})
		},
	}
	c.Flags().StringVar(&reason, "reason", "", "why (required)")
	bindAt(c, &at)
	return c
}
