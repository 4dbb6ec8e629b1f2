package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	"github.com/tidemark-sync/tidemark/internal/api/pb"
	"github.com/tidemark-sync/tidemark/internal/hub"
)

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

func lifeRows(list []*pb.Life) []lifeRow {
	out := make([]lifeRow, len(list))
	for i, l := range list {
		out[i] = lifeRow{Incarnation: l.GetIncarnation(), Parent: l.GetContinues(), First: timeIn(l.GetBegan()), Seen: timeIn(l.GetSeen()),
			Held: l.GetHeld(), Split: l.GetSplit()}
		if l.GetSplit() == "" {
			out[i].Ended = l.GetEnded()
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
			return o.withAPI(cmd, d, func(ctx context.Context, b *bureau) error {
				res, err := b.Fleet.Get(ctx, connect.NewRequest(&pb.GetDeviceRequest{Id: list[0]}))
				if err != nil {
					return err
				}
				return d.showDevice(ctx, b, res.Msg)
			})
		},
	}
}

// An eventRow is something out of the ordinary.
type eventRow struct {
	Device string    `json:"device"`
	At     time.Time `json:"at"`
	Kind   string    `json:"kind"`
	Detail string    `json:"detail"`
}

// A verifyRow is what a device last found when it compared its rows with the hub's.
type verifyRow struct {
	At        time.Time `json:"at"`
	Equal     bool      `json:"equal"`
	Rows      uint64    `json:"rows"`
	Differing uint32    `json:"differing"`
	Tables    []string  `json:"tables,omitempty"` // that differed
}

func newVerifyRow(v *pb.VerifyReport) *verifyRow {
	if v == nil {
		return nil
	}
	return &verifyRow{timeIn(v.GetAt()), v.GetEqual(), v.GetRows(), v.GetDiffering(), v.GetTables()}
}

func (r *verifyRow) String() string {
	text := r.At.Local().Format(time.DateTime) + ": " + plural(int64(r.Rows), "row")
	if r.Equal {
		return text + ", all as at the hub"
	}
	return fmt.Sprintf("%s, %s: %s", text, plural(int64(r.Differing), "difference"), strings.Join(r.Tables, ", "))
}

func (d *door) showDevice(ctx context.Context, b *bureau, m *pb.GetDeviceResponse) error {
	row, err := b.deviceRows(ctx, []*pb.Device{m.GetDevice()})
	if err != nil {
		return err
	}
	out := struct {
		deviceRow
		Lives    []lifeRow  `json:"lives"`
		Events   []eventRow `json:"events"`
		Verified *verifyRow `json:"verified,omitempty"`
	}{row[0], lifeRows(m.GetLives()), []eventRow{}, newVerifyRow(m.GetDevice().GetVerified())}
	for _, e := range m.GetEvents() {
		out.Events = append(out.Events, eventRow{row[0].ID, timeIn(e.GetAt()), e.GetKind(), e.GetDetail()})
	}
	return d.show(out, func(w io.Writer) {
		deviceTable(d, w, row, "")
		d.deviceFacts(w, &row[0], out.Verified)
		if len(out.Lives) > 0 {
			fmt.Fprintln(w)
			text := make([][]string, len(out.Lives))
			for i, l := range out.Lives {
				text[i] = []string{l.Incarnation, d.ago(l.First), d.ago(l.Seen), l.note()}
			}
			grid(w, []string{"LIFE OF THE FILE", "FIRST SEEN", "CAME UP", "NOTE"}, text)
		}
		if len(out.Events) > 0 {
			fmt.Fprintln(w)
		}
		for _, e := range out.Events {
			fmt.Fprintf(w, "%s  %s: %s\n", e.At.Local().Format(time.DateTime), e.Kind, e.Detail)
		}
	})
}

// deviceFacts tell what people decided about a device, and what it was asked for.
func (d *door) deviceFacts(w io.Writer, r *deviceRow, v *verifyRow) {
	var list [][2]string
	if r.Why != "" {
		list = append(list, [2]string{r.Level, r.Why})
	}
	for _, one := range []struct {
		on   bool
		what string
	}{{r.Paused, "paused"}, {r.Isolated, "isolated"}, {r.State == "revoked", "revoked"}} {
		if one.on {
			list = append(list, [2]string{one.what, orDash(r.Reason)})
		}
	}
	if r.Asked != "" {
		list = append(list, [2]string{"asked to", r.Asked})
	}
	if v != nil {
		list = append(list, [2]string{"verified", v.String()})
	}
	if len(list) > 0 {
		fmt.Fprintln(w)
		facts(w, list)
	}
}

func deviceTimeline(d *door, o *officeFlags) *cobra.Command {
	var last int
	c := &cobra.Command{
		Use:   "timeline NAME|ID",
		Short: "List what happened with a device, newest first",
		Long: `The timeline has a device's sessions with what went in and out, what the hub noticed of
its file, what people did about it, and the conflicts and parked transactions that its work
brought about.`,
		Example: "  tidemark device timeline till-7 --last 20",
		Args:    args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, list []string) error {
			return o.withAPI(cmd, d, func(ctx context.Context, b *bureau) error {
				return d.showTimeline(ctx, b, list[0], last)
			})
		},
	}
	c.Flags().IntVar(&last, "last", 50, "how many (0: all)")
	return c
}

// A momentRow is one thing that happened with a device.
type momentRow struct {
	At     time.Time `json:"at"`
	Until  time.Time `json:"until,omitzero"` // of a session that is over
	Kind   string    `json:"kind"`
	Detail string    `json:"detail,omitempty"`
	In     uint64    `json:"transactions_in,omitempty"`
	Out    uint64    `json:"rows_out,omitempty"`
	Error  string    `json:"error,omitempty"`
}

func (d *door) showTimeline(ctx context.Context, b *bureau, id string, last int) error {
	out := []momentRow{}
	err := pages(func(p *pb.Page) (string, bool, error) {
		res, err := b.Fleet.Timeline(ctx, connect.NewRequest(&pb.TimelineRequest{Id: id, Page: p}))
		if err != nil {
			return "", true, err
		}
		for _, e := range res.Msg.GetEntries() {
			out = append(out, momentRow{timeIn(e.GetAt()), timeIn(e.GetUntil()), e.GetKind(), e.GetDetail(), e.GetTransactionsIn(), e.GetRowsOut(), e.GetError()})
		}
		return res.Msg.GetNextPageToken(), last > 0 && len(out) >= last, nil
	})
	if err != nil {
		return err
	}
	if last > 0 && len(out) > last {
		out = out[:last]
	}
	return d.show(map[string]any{"entries": out}, func(w io.Writer) {
		rows := make([][]string, len(out))
		for i, e := range out {
			took, what := "", e.Detail
			if !e.Until.IsZero() {
				took = span(e.Until.Sub(e.At))
				what = strings.TrimPrefix(fmt.Sprintf("%s; %s in, %s out", what, plural(int64(e.In), "transaction"), plural(int64(e.Out), "row")), "; ")
			}
			if e.Error != "" {
				what += "; ended by: " + e.Error
			}
			rows[i] = []string{e.At.Local().Format(time.DateTime), took, e.Kind, strings.TrimPrefix(what, "; ")}
		}
		grid(w, []string{"AT", "FOR", "WHAT", "DETAIL"}, rows)
	})
}
