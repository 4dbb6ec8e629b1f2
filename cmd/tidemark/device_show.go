package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/tidemark-sync/tidemark/internal/hub"
)

// noteMarks tells of each device what stands out of its file's lives.
func noteMarks(ctx context.Context, core *hub.Hub, devices []hub.Device, rows []deviceRow) error {
	marks, err := core.Marks(ctx)
	if err != nil {
		return err
	}
	of := map[string]*hub.Device{}
	for i := range devices {
		of[devices[i].ID.String()] = &devices[i]
	}
	for i := range rows {
		v := of[rows[i].ID]
		if v == nil {
			continue
		}
		origin := ""
		if first := of[v.CopyOf.String()]; first != nil {
			origin = first.Name
		}
		rows[i].mark(v, marks[v.ID], origin)
	}
	return nil
}

func (r *deviceRow) mark(v *hub.Device, m hub.Mark, origin string) {
	r.Held, r.Restored = m.Held, m.Restored
	switch {
	case m.Held > 0:
		r.note = "held: tidemark device allow " + word(v.Name)
	case !v.CopyOf.IsZero():
		if r.CopyOf = v.CopyOf.String(); origin == "" {
			origin = r.CopyOf
		}
		r.note = "copy of " + origin
	}
	if r.note == "" && !m.Restored.IsZero() {
		r.note = "restored " + m.Restored.Local().Format(time.DateOnly)
	}
}

// statusRows are the hub's devices for its status, and the name of the one with the
// oldest unsafe work; "" when no work is known to be unsafe.
func statusRows(ctx context.Context, d *door, core *hub.Hub, h *hub.Health) (out []deviceRow, unsafe string, err error) {
	out = make([]deviceRow, len(h.Devices))
	devices := make([]hub.Device, len(h.Devices))
	for i := range h.Devices {
		devices[i] = h.Devices[i].Device
		out[i] = newDeviceRow(d, &devices[i])
		out[i].OldestUnsafe = h.Devices[i].OldestUnsafe.Seconds()
		if h.OldestUnsafe > 0 && devices[i].ID == h.UnsafeDevice {
			unsafe = devices[i].Name
		}
	}
	if err := noteMarks(ctx, core, devices, out); err != nil {
		return nil, "", err
	}
	byName(out)
	return out, unsafe, nil
}

// historyFacts counts what happened to devices' files lately, when something did.
func historyFacts(n hub.Histories) [][2]string {
	if n == (hub.Histories{}) {
		return nil
	}
	return [][2]string{{"  files", historyText(n)}}
}

// historyText puts the numbers that are not zero in words.
func historyText(n hub.Histories) string {
	text := ""
	add := func(n int, what, more string) {
		if n == 0 {
			return
		}
		if text != "" {
			text += ", "
		}
		text += plural(int64(n), what) + more
	}
	add(n.Copied, "copied file", " made a device of its own in the last seven days")
	add(n.Restored, "file", " restored in the last seven days")
	add(n.Held, "file", " held: tidemark device list")
	return text
}

// A lifeRow is one life of a device's file.
type lifeRow struct {
	Incarnation string    `json:"incarnation"`
	Parent      string    `json:"parent,omitempty"`
	First       time.Time `json:"first"`
	Seen        time.Time `json:"seen"`
	Held        bool      `json:"held,omitempty"`
	Ended       string    `json:"ended,omitempty"`
	Split       string    `json:"split,omitempty"` // the device that its file is now
}

func lifeRows(list []hub.Life) []lifeRow {
	out := make([]lifeRow, len(list))
	for i, l := range list {
		out[i] = lifeRow{Incarnation: l.Inc.String(), First: l.First, Seen: l.Seen, Held: l.Held, Ended: l.Ended}
		if !l.Parent.IsZero() {
			out[i].Parent = l.Parent.String()
		}
		if !l.Split.IsZero() {
			out[i].Split = l.Split.String()
		}
	}
	return out
}

func (r *lifeRow) note() string {
	switch {
	case r.Held:
		return "held"
	case r.Ended != "":
		return "refused: " + r.Ended
	case r.Split != "":
		return "is device " + r.Split + " now"
	case r.Parent != "":
		return "went on from " + r.Parent
	}
	return ""
}

func deviceShow(d *door, o *officeFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "show NAME|ID",
		Short: "Show a device, the lives of its file, and what was out of the ordinary",
		Long: `Show tells all that the hub knows of one device. Its file begins another life whenever
it turns out to be an older state of itself: a backup was put back, or there are two copies.`,
		Example: "  tidemark device show till-7",
		Args:    args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, list []string) error {
			return o.onDevice(cmd, d, list[0], d.showDevice)
		},
	}
}

func (d *door) showDevice(ctx context.Context, core *hub.Hub, v *hub.Device) error {
	all, err := core.Devices(ctx)
	if err != nil {
		return err
	}
	row := []deviceRow{newDeviceRow(d, v)}
	if err := noteMarks(ctx, core, all, row); err != nil {
		return err
	}
	lives, err := core.Lives(ctx, v.ID)
	if err != nil {
		return err
	}
	events, err := core.Events(ctx, v.ID)
	if err != nil {
		return err
	}
	out := struct {
		deviceRow
		Lives  []lifeRow   `json:"lives"`
		Events []hub.Event `json:"events"`
	}{row[0], lifeRows(lives), append([]hub.Event{}, events...)}
	return d.show(out, func(w io.Writer) {
		deviceTable(d, w, row)
		if len(out.Lives) > 0 {
			fmt.Fprintln(w)
			text := make([][]string, len(out.Lives))
			for i, l := range out.Lives {
				text[i] = []string{l.Incarnation, d.ago(l.First), d.ago(l.Seen), l.note()}
			}
			grid(w, []string{"LIFE OF THE FILE", "FIRST SEEN", "CAME UP", "NOTE"}, text)
		}
		if len(events) > 0 {
			fmt.Fprintln(w)
		}
		for _, e := range events {
			fmt.Fprintf(w, "%s  %s: %s\n", e.At.Local().Format(time.DateTime), e.Kind, e.Detail)
		}
	})
}

func deviceAllow(d *door, o *officeFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "allow NAME|ID",
		Short: "Let a held file go on: it was restored from a backup, or copied",
		Long: `With hub.copies: hold in tidemark.yaml, a file that goes on from an older state of itself
waits for this word, with its unsent work in it. To shut it out instead, and let the device
go on: tidemark device revoke NAME --held.`,
		Example: "  tidemark device allow till-7",
		Args:    args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, list []string) error {
			return o.onDevice(cmd, d, list[0], func(ctx context.Context, core *hub.Hub, v *hub.Device) error {
				if err := core.Allow(ctx, v.ID); err != nil {
					return notHeld(v.Name, err)
				}
				return d.show(map[string]string{"allowed": v.ID.String(), "name": v.Name}, func(w io.Writer) {
					fmt.Fprintf(w, "the held file of device %s (%s) may go on; it is back within a minute\n", v.Name, v.ID)
				})
			})
		},
	}
}

func notHeld(name string, err error) error {
	if errors.Is(err, hub.ErrNotHeld) {
		return fail(exitUsage, fmt.Errorf("device %s: %w", name, hub.ErrNotHeld), "tidemark device list shows which are held")
	}
	return err
}

// refuseHeld ends the held files of a device, which itself goes on.
func (d *door) refuseHeld(ctx context.Context, core *hub.Hub, v *hub.Device, reason string) error {
	if err := core.Refuse(ctx, v.ID, reason); err != nil {
		return notHeld(v.Name, err)
	}
	return d.show(map[string]string{"refused": v.ID.String(), "name": v.Name, "reason": reason}, func(w io.Writer) {
		fmt.Fprintf(w, "the held file of device %s (%s) is shut out; the device goes on\n", v.Name, v.ID)
	})
}
