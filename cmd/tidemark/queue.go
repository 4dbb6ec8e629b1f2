package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/run"
	"github.com/tidemark-sync/tidemark/internal/serve"
)

func queueVerb(d *door) *cobra.Command {
	o := &officeFlags{}
	c := &cobra.Command{
		Use:   "queue",
		Short: "See the transactions that wait, and settle those that the hub parked",
		Long: `A transaction that cannot be applied is parked at the hub with a reason, together with
what depends on it; everything else flows on. It is safe there until a person retries,
edits or discards it. These verbs work on the hub's data directory; with a FILE, list,
show and export read what waits in that file instead.`,
		Args: cobra.ArbitraryArgs,
		RunE: group,
	}
	o.bind(c)
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
}

func parkedRow(p *hub.Parked, names map[change.DeviceID]string) (queueRow, error) {
	t, err := p.Transaction()
	if err != nil {
		return queueRow{}, err
	}
	r := queueRow{ID: p.ID.String(), At: p.At, Device: names[p.Device], Seq: p.Seq, State: "quarantined", Code: p.Code,
		Reason: p.Reason, Rows: len(t.Ops), Unaware: p.Unaware, Split: p.Split, Edited: p.Edited, Tries: p.Tries}
	for _, id := range p.DependsOn {
		r.DependsOn = append(r.DependsOn, id.String())
	}
	return r, nil
}

func deviceNames(ctx context.Context, core *hub.Hub) (map[change.DeviceID]string, error) {
	list, err := core.Devices(ctx)
	if err != nil {
		return nil, err
	}
	out := map[change.DeviceID]string{}
	for _, v := range list {
		out[v.ID] = v.Name
	}
	return out, nil
}

func queueList(d *door, o *officeFlags) *cobra.Command {
	var device string
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
			return o.with(cmd.Context(), d, func(ctx context.Context, off *serve.Office) error {
				return d.parkedList(ctx, off.Core, device)
			})
		},
	}
	c.Flags().StringVar(&device, "device", "", "of this device only (name or id)")
	return c
}

func (d *door) parkedList(ctx context.Context, core *hub.Hub, device string) error {
	var id change.DeviceID
	if device != "" {
		v, err := findDevice(ctx, core, device)
		if err != nil {
			return err
		}
		id = v.ID
	}
	list, err := core.Queue(ctx, id)
	if err != nil {
		return err
	}
	names, err := deviceNames(ctx, core)
	if err != nil {
		return err
	}
	out := make([]queueRow, len(list))
	for i := range list {
		if out[i], err = parkedRow(&list[i], names); err != nil {
			return err
		}
	}
	return d.queueTable(out, "nothing is parked")
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
func findParked(ctx context.Context, core *hub.Hub, text string) (change.TxID, error) {
	if id, err := change.ParseTxID(text); err == nil {
		return id, nil
	}
	list, err := core.Queue(ctx, change.DeviceID{})
	if err != nil {
		return change.TxID{}, err
	}
	var hits []change.TxID
	for _, p := range list {
		if len(text) >= 4 && strings.HasPrefix(p.ID.String(), text) {
			hits = append(hits, p.ID)
		}
	}
	if len(hits) == 1 {
		return hits[0], nil
	}
	return change.TxID{}, noTransaction(text)
}

func noTransaction(text string) error {
	return fail(exitUsage, fmt.Errorf("no parked transaction %q", text), "tidemark queue list shows them, with their ids")
}

// settled reports what became of transactions, the one acted on first.
func (d *door) settled(list []hub.Settled, err error, id change.TxID) error {
	switch {
	case errors.Is(err, hub.ErrNotFound):
		return noTransaction(id.String())
	case errors.Is(err, hub.ErrDepends):
		return fail(exitFailed, err, "tidemark queue list shows what it waits for")
	case err != nil:
		return err
	}
	type row struct {
		ID     string `json:"id"`
		Status string `json:"status"`
		Reason string `json:"reason,omitempty"`
	}
	out := make([]row, len(list))
	for i, s := range list {
		out[i] = row{s.ID.String(), s.Status.String(), s.Reason}
	}
	err = d.show(map[string]any{"settled": out}, func(w io.Writer) {
		for _, r := range out {
			fmt.Fprintf(w, "%s  %s", r.ID, r.Status)
			if r.Reason != "" {
				fmt.Fprintf(w, ": %s", r.Reason)
			}
			fmt.Fprintln(w)
		}
	})
	if err == nil && len(list) > 0 && list[0].Status == hub.Quarantined {
		err = fail(exitNotInSync, fmt.Errorf("transaction %s still cannot be applied", id), "tidemark queue show %s compares it with the hub's rows", id)
	}
	return err
}

func queueRetry(d *door, o *officeFlags) *cobra.Command {
	return &cobra.Command{
		Use:     "retry TRANSACTION",
		Short:   "Try a parked transaction again, under the rules and data of now",
		Example: "  tidemark queue retry 4f1c",
		Args:    args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, list []string) error {
			return o.with(cmd.Context(), d, func(ctx context.Context, off *serve.Office) error {
				id, err := findParked(ctx, off.Core, list[0])
				if err != nil {
					return err
				}
				out, err := off.Core.Retry(ctx, id)
				return d.settled(out, err, id)
			})
		},
	}
}

func queueDiscard(d *door, o *officeFlags) *cobra.Command {
	var reason string
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
			return o.with(cmd.Context(), d, func(ctx context.Context, off *serve.Office) error {
				id, err := findParked(ctx, off.Core, list[0])
				if err != nil {
					return err
				}
				out, err := off.Core.Discard(ctx, id, reason)
				return d.settled(out, err, id)
			})
		},
	}
	c.Flags().StringVar(&reason, "reason", "", "why (required)")
	return c
}
