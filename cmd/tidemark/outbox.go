package main

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/clock"
	"github.com/tidemark-sync/tidemark/internal/edge"
	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/parcel"
	"github.com/tidemark-sync/tidemark/internal/run"
	"github.com/tidemark-sync/tidemark/internal/serve"
	"github.com/tidemark-sync/tidemark/internal/wire"
)

func outboxVerb(d *door) *cobra.Command {
	o := &officeFlags{}
	c := &cobra.Command{
		Use:   "outbox",
		Short: "Take a device's unsent work to the hub in a sealed file",
		Long: `A tablet that will not reach the hub any more still has work that nobody else has.
Export packs it into one file, encrypted to the hub's key and signed by the device; import
takes it in at the hub, or hands it in through another device. However often and by
whatever way the work comes, it is applied exactly once: if the tablet comes back to
life, it finds its work handed in.`,
		Args: cobra.ArbitraryArgs,
		RunE: group,
	}
	o.bind(c)
	c.AddCommand(outboxExport(d), outboxShow(d, o), outboxImport(d, o), outboxRecipient(d, o))
	return c
}

func outboxExport(d *door) *cobra.Command {
	var all bool
	var recipient string
	c := &cobra.Command{
		Use:   "export FILE OUT",
		Short: "Pack what is not at the hub yet into a sealed file",
		Long: `Export packs every transaction of FILE that is not known to be at the hub into OUT. It
works beside a running agent, and on a copy of the file alone (copy FILE-wal along with
it). FILE must be writable. It keeps everything.

The device's key in FILE-tidemark/ signs the outbox. Without it the outbox is unsigned,
and the hub's operator must say --accept-unsigned to take it.

With --all, what the hub confirmed comes along as far as FILE still has it: for a hub
that was set back to an older state. It knows what it has already.`,
		Example: `  tidemark outbox export till.db /media/usb/till.outbox
  tidemark outbox export till.db /media/usb/till.outbox --all`,
		Args: args(cobra.ExactArgs(2)),
		RunE: func(cmd *cobra.Command, list []string) error {
			return d.packOutbox(cmd.Context(), list[0], list[1], &outboxPacker{clock: d.clock, all: all, to: recipient})
		},
	}
	c.Flags().BoolVar(&all, "all", false, "with what the hub confirmed, as far as the file has it")
	c.Flags().StringVar(&recipient, "recipient", "", "seal for this key (age1…) when FILE never heard of the hub's; tidemark outbox recipient prints it there")
	return c
}

// An outboxPacker writes what run.Pack gives it.
type outboxPacker struct {
	out    io.Writer
	clock  clock.Clock
	all    bool
	to     string // "": whom the file knows
	head   parcel.Header
	w      *parcel.Writer
	count  int
	signed bool
}

func (p *outboxPacker) Begin(u edge.Unsent, name string) (err error) {
	p.head = parcel.Header{Device: u.Device, Incarnation: u.Incarnation, Name: name, Made: p.clock.Now().UTC(),
		Recipient: u.Recipient, All: p.all, Lineage: u.Lineage}
	if p.to != "" {
		p.head.Recipient = p.to
	}
	if p.head.Recipient == "" {
		return run.ErrNoRecipient
	}
	p.w, err = parcel.NewWriter(p.out, p.head)
	return err
}

func (p *outboxPacker) Add(txs []*change.Transaction, confirmed change.Epoch) error {
	p.count += len(txs)
	return p.w.Add(txs, confirmed)
}

func (p *outboxPacker) End(signer crypto.Signer) error {
	p.signed = signer != nil
	return p.w.Close(signer)
}

func (d *door) packOutbox(ctx context.Context, file, path string, p *outboxPacker) (err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return fail(exitFailed, fmt.Errorf("export: %w", err), "name a file that does not exist yet")
	}
	if err != nil {
		return fmt.Errorf("export: %w", err)
	}
	p.out = f
	err = run.Pack(ctx, d.edge(file), p.all, p)
	if err == nil {
		err = f.Sync() // it is about to be pulled out
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		_ = os.Remove(path) // half an outbox is none
		return err
	}
	return d.show(map[string]any{"file": file, "outbox": path, "device": p.head.Device, "transactions": p.count, "signed": p.signed, "recipient": p.head.Recipient}, func(w io.Writer) {
		fmt.Fprintf(w, "packed %s of %s into %s, sealed for the hub\n", plural(int64(p.count), "transaction"), file, path)
		if !p.signed {
			fmt.Fprintf(w, "it is not signed, for want of the key in %s\nat the hub: tidemark outbox import %s --data DIR --accept-unsigned\n", run.SideDir(file), word(path))
			return
		}
		fmt.Fprintf(w, "at the hub:            tidemark outbox import %s --data DIR\nor on another device:  tidemark outbox import %s OTHER.db\n", word(path), word(path))
	})
}

func outboxShow(d *door, o *officeFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "show OUT",
		Short: "Check a sealed outbox; at the hub, show what is in it",
		Long: `Show tells whether a sealed outbox arrived whole. With --data, at the hub, it opens it
with the hub's key and lists the transactions.`,
		Example: `  tidemark outbox show /media/usb/till.outbox
  tidemark outbox show /media/usb/till.outbox --data tidemark-hub`,
		Args: args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, list []string) error {
			if !cmd.Flags().Changed("data") {
				return d.lookAtOutbox(list[0])
			}
			return o.with(cmd.Context(), d, func(_ context.Context, off *serve.Office) error {
				return off.Parcel(list[0], d.showOutbox)
			})
		},
	}
}

func (d *door) lookAtOutbox(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("open sealed outbox: %w", err)
	}
	defer func() { _ = f.Close() }()
	s, err := f.Stat()
	if err == nil {
		err = parcel.Look(f, s.Size())
	}
	if err != nil {
		return fail(exitFailed, fmt.Errorf("%s: %w", path, err), "copy it again, or export it again from the device's file")
	}
	return d.show(map[string]any{"outbox": path, "bytes": s.Size(), "whole": true}, func(w io.Writer) {
		fmt.Fprintf(w, "%s is a sealed outbox of %d bytes, and whole\nwhat is in it only its hub can see: tidemark outbox show %s --data DIR\n", path, s.Size(), word(path))
	})
}

func (d *door) showOutbox(p *parcel.Parcel) error {
	type row struct {
		ID        string       `json:"id"`
		Seq       uint64       `json:"seq"`
		At        time.Time    `json:"at"`
		Rows      int          `json:"rows"`
		Confirmed change.Epoch `json:"confirmed,omitempty"`
	}
	list := []row{}
	err := p.Each(func(txs []*change.Transaction, confirmed change.Epoch) error {
		for _, t := range txs {
			list = append(list, row{t.ID.String(), t.Seq, t.HLC.Time(), len(t.Ops), confirmed})
		}
		return nil
	})
	if err != nil {
		return err
	}
	signer := ""
	if p.Signer != (change.Hash{}) {
		signer = p.Signer.String()
	}
	return d.show(map[string]any{"header": p.Header, "signer": signer, "transactions": list}, func(w io.Writer) {
		by := "nobody: it takes --accept-unsigned"
		if signer != "" {
			by = "the key " + signer[:12]
		}
		facts(w, [][2]string{{"device", p.Name + " " + p.Device.String()}, {"packed", p.Made.Local().Format(time.DateTime)},
			{"signed by", by}, {"transactions", fmt.Sprint(p.Count)}})
		if len(list) == 0 {
			return
		}
		rows := make([][]string, len(list))
		for i, r := range list {
			rows[i] = []string{r.ID, r.At.Local().Format(time.DateTime), fmt.Sprint(r.Seq), fmt.Sprint(r.Rows)}
		}
		grid(w, []string{"TRANSACTION", "AT", "SEQ", "ROWS"}, rows)
	})
}

func outboxImport(d *door, o *officeFlags) *cobra.Command {
	var terms hub.ParcelTerms
	var as string
	c := &cobra.Command{
		Use:   "import OUT [OTHER.db]",
		Short: "Take in a sealed outbox at the hub, or hand it in through another device",
		Long: `Import takes the work of a sealed outbox in, under the rights of the device that packed
it. At the hub it works on the data directory, served or not. With OTHER.db, an enrolled
file of any device of that hub, it goes through that device's connection, beside its
agent; the device cannot read it.

Each transaction is applied exactly once, however often it comes. What cannot be applied
is quarantined with a reason, as ever.`,
		Example: `  tidemark outbox import /media/usb/till.outbox --data tidemark-hub
  tidemark outbox import /media/usb/till.outbox office.db`,
		Args: args(cobra.RangeArgs(1, 2)),
		RunE: func(cmd *cobra.Command, list []string) error {
			if len(list) == 2 {
				if terms != (hub.ParcelTerms{}) || as != "" || cmd.Flags().Changed("data") {
					return fail(exitUsage, errors.New("what a hub refuses only its operator can accept"), "give either OTHER.db, or --data with --accept-… and --as, at the hub")
				}
				return d.carryOutbox(cmd.Context(), list[0], list[1])
			}
			return o.with(cmd.Context(), d, func(ctx context.Context, off *serve.Office) error {
				if as != "" {
					v, err := findDevice(ctx, off.Core, as)
					if err != nil {
						return err
					}
					terms.As = v.ID
				}
				out, err := off.TakeParcel(ctx, list[0], terms)
				if err != nil {
					return err
				}
				return d.tookOutbox(list[0], out.Name, out.Device, out.Known, out.Results)
			})
		},
	}
	c.Flags().BoolVar(&terms.Revoked, "accept-revoked", false, "take work of a revoked device, under the rights it had")
	c.Flags().BoolVar(&terms.Unsigned, "accept-unsigned", false, "take work without the device's signature")
	c.Flags().BoolVar(&terms.Gap, "accept-gap", false, "take work although earlier work of the device is missing here")
	c.Flags().StringVar(&as, "as", "", "take it as the work of this device (name or id), which has its rights")
	return c
}

func (d *door) carryOutbox(ctx context.Context, path, file string) error {
	body, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("open sealed outbox: %w", err)
	}
	out, err := run.Carry(ctx, d.edge(file), body)
	if err != nil {
		return err
	}
	return d.tookOutbox(path, out.Name, out.Device, out.Known, out.Results)
}

// findDevice takes an id, a unique start of one, or a name.
func findDevice(ctx context.Context, core *hub.Hub, text string) (*hub.Device, error) {
	list, err := core.Devices(ctx)
	if err != nil {
		return nil, err
	}
	var hits []*hub.Device
	for i := range list {
		v := &list[i]
		if v.ID.String() == text {
			return v, nil
		}
		if v.Name == text || len(text) >= 4 && strings.HasPrefix(v.ID.String(), text) {
			hits = append(hits, v)
		}
	}
	switch len(hits) {
	case 1:
		return hits[0], nil
	case 0:
		return nil, fail(exitUsage, fmt.Errorf("no device %q here", text), "tidemark device list shows them")
	}
	return nil, fail(exitUsage, fmt.Errorf("%d devices are called %q", len(hits), text), "give the id instead: tidemark device list shows it")
}

func outboxRecipient(d *door, o *officeFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "recipient",
		Short: "Print the key that outboxes are sealed for",
		Long: `Recipient prints the public key of the hub's sealed outboxes. Enrolled files learn it by
themselves; it is of use for a file that last met a hub of an older version. The secret
key is parcel.key in the data directory: keep a copy with the hub's backups.`,
		Example: "  tidemark outbox recipient --data tidemark-hub",
		Args:    args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return o.with(cmd.Context(), d, func(_ context.Context, off *serve.Office) error {
				to := off.Core.Setup().Recipient
				return d.show(map[string]string{"recipient": to}, func(w io.Writer) { fmt.Fprintln(w, to) })
			})
		},
	}
}

// tookOutbox tells what became of a sealed outbox; known is how much of it the hub
// had already.
func (d *door) tookOutbox(path, name string, device change.DeviceID, known int, list []wire.TxResult) error {
	type row struct {
		Seq    uint64 `json:"seq"`
		Status string `json:"status"`
		Reason string `json:"reason,omitempty"`
	}
	rows, count := make([]row, len(list)), map[hub.Status]int{}
	for i, r := range list {
		rows[i] = row{r.Seq, hub.Status(r.Status).String(), r.Reason}
		count[hub.Status(r.Status)]++
	}
	result := map[string]any{"outbox": path, "device": device, "name": name, "known": known, "transactions": rows}
	err := d.show(result, func(w io.Writer) {
		fmt.Fprintf(w, "took in %s of %s", plural(int64(len(list)), "transaction"), name)
		if known > 0 {
			fmt.Fprintf(w, ", %d of them here already", known)
		}
		fmt.Fprintln(w)
		for _, s := range []hub.Status{hub.Applied, hub.Merged, hub.Quarantined, hub.Discarded} {
			if count[s] > 0 {
				fmt.Fprintf(w, "  %d %s\n", count[s], s)
			}
		}
		for _, r := range rows {
			if r.Reason != "" {
				fmt.Fprintf(w, "  %d %s: %s\n", r.Seq, r.Status, r.Reason)
			}
		}
	})
	if err == nil && count[hub.Quarantined] > 0 {
		err = fail(exitNotInSync, fmt.Errorf("%s of %s in quarantine", plural(int64(count[hub.Quarantined]), "transaction"), name), "at the hub: tidemark queue list")
	}
	return err
}
