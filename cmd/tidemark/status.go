package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/run"
	"github.com/tidemark-sync/tidemark/internal/serve"
)

func statusVerb(d *door) *cobra.Command {
	var o officeFlags
	c := &cobra.Command{
		Use:   "status [FILE...]",
		Short: "Show how files stand, or the hub: is all work safe, what is stuck",
		Long: `Status of a file is read from the file: what waits to be handed in and for how long,
what the hub parked, when something last moved. Without FILE it is the hub's, with every
device. The first number to look at is the age of the oldest unsafe change: everything
else may look healthy while nothing moves.`,
		Example: `  tidemark status till.db
  tidemark status --json
  tidemark status --data /var/lib/tidemark`,
		RunE: func(cmd *cobra.Command, list []string) error {
			if len(list) == 0 {
				return o.with(cmd.Context(), d, d.hubStatus)
			}
			return d.fileStatus(cmd.Context(), list)
		},
	}
	o.bind(c)
	return c
}

func (d *door) fileStatus(ctx context.Context, files []string) error {
	var errs []error
	out := []*run.EdgeStatus{}
	for _, f := range files {
		s, err := run.FileStatus(ctx, d.edge(f))
		if err != nil {
			errs = append(errs, err)
			continue
		}
		out = append(out, s)
	}
	if len(out) > 0 {
		errs = append(errs, d.show(map[string]any{"files": out}, func(w io.Writer) {
			for i, s := range out {
				if i > 0 {
					fmt.Fprintln(w)
				}
				fileFacts(d, w, s)
			}
		}))
	}
	return errors.Join(errs...)
}

func fileFacts(d *door, w io.Writer, s *run.EdgeStatus) {
	fmt.Fprintf(w, "%s, as %s\n", s.File, s.Name)
	unsafe := "nothing: all work is at the hub"
	if s.OutboxDepth > 0 {
		unsafe = fmt.Sprintf("%s, the oldest %s old", plural(s.OutboxDepth, "transaction"), span(seconds(s.OldestUnsafe)))
	}
	list := [][2]string{{"  unsafe work", unsafe}, {"  agent", agentText(d, s)}}
	if s.Quarantined > 0 {
		list = append(list, [2]string{"  quarantine", fmt.Sprintf("%s: tidemark queue list %s", plural(s.Quarantined, "transaction"), word(s.File))})
	}
	if s.Unsettled > 0 {
		list = append(list, [2]string{"  unsettled", plural(s.Unsettled, "transaction") + " at the hub, outcome on its way"})
	}
	data := plural(s.Rows, "row")
	if !s.Complete {
		data += ", NOT COMPLETE YET: the first download is not done"
	}
	list = append(list, [2]string{"  data", data},
		[2]string{"  last progress", d.ago(s.LastProgress)}, [2]string{"  last contact", d.ago(s.LastContact)},
		[2]string{"  clock offset", span(seconds(s.ClockOffset))}, [2]string{"  hub", s.URL})
	list = append(list, leaseFacts(s)...)
	if s.Rescues > 0 {
		list = append(list, [2]string{"  rescue copies", fmt.Sprintf("%s: tidemark queue export %s", count(s.Rescues), word(s.File))})
	}
	if s.Salvage > 0 {
		list = append(list, [2]string{"  salvage", plural(s.Salvage, "row") + " that the hub lost and this file still has: they go to the hub for review"})
	}
	facts(w, list)
	for i, v := range s.Events {
		if i == eventsShown {
			break
		}
		fmt.Fprintf(w, "  %s  %s\n", v.At.Local().Format(time.DateTime), v.Detail)
	}
}

// eventsShown is how many events of a file's history the text shows; --json has all.
const eventsShown = 5

func agentText(d *door, s *run.EdgeStatus) string {
	a := s.Agent
	if !a.Running {
		return "not running (tidemark edge " + word(s.File) + ")"
	}
	text := a.State + " since " + d.ago(a.Since)
	if a.Error != "" {
		text += ": " + a.Error
	}
	return text
}

func (d *door) hubStatus(ctx context.Context, off *serve.Office) error {
	h, err := off.Core.Status(ctx)
	if err != nil {
		return err
	}
	out := struct {
		Name             string  `json:"name"`
		State            string  `json:"state"` // listening or stopped
		URL              string  `json:"url,omitempty"`
		Data             string  `json:"data"`
		Epoch            string  `json:"epoch"`
		Cursor           string  `json:"cursor"`
		Tables           int     `json:"tables"`
		Quarantined      int     `json:"quarantined"`
		OldestQuarantine float64 `json:"oldest_quarantined_seconds"`
		Receipts         int     `json:"receipts"`
		OldestUnsafe     float64 `json:"oldest_unsafe_seconds"`
		UnsafeDevice     string  `json:"oldest_unsafe_device,omitempty"`
		pastStatus
		loadStatus
		Histories hub.Histories `json:"histories"`
		Lost      []lostRow     `json:"lost,omitempty"` // tables that tidemark.yaml names and the hub cannot serve
		Devices   []deviceRow   `json:"devices"`
	}{
		Name: h.Name, State: "stopped", Data: string(off.Dir), Epoch: h.Epoch.String(), Cursor: h.Cursor.String(),
		Tables: h.Tables, Quarantined: h.Quarantine, OldestQuarantine: h.Oldest.Seconds(), Receipts: h.Receipts,
		OldestUnsafe: h.OldestUnsafe.Seconds(), pastStatus: pastOf(h, off.Dir), Histories: h.Histories, Lost: lostRows(off.Core.Lost()),
	}
	if at, err := off.Dir.ReadEndpoint(); err == nil {
		out.URL = at.URL
	}
	if off.Dir.Serving() {
		out.State, out.Load = "listening", off.Dir.ReadLoad()
	}
	if out.Devices, out.UnsafeDevice, err = statusRows(ctx, d, off.Core, h); err != nil {
		return err
	}
	return d.show(out, func(w io.Writer) {
		fmt.Fprintf(w, "%s%s in %s\n", out.warning(), out.Name, out.Data)
		unsafe := "none known: all work that devices told of is here"
		if h.OldestUnsafe > 0 {
			unsafe = fmt.Sprintf("the oldest is %s old, on %s", span(h.OldestUnsafe), out.UnsafeDevice)
		}
		state := out.State
		if out.URL != "" {
			state += " at " + out.URL
		}
		parked := "empty"
		if out.Quarantined > 0 {
			parked = fmt.Sprintf("%s, the oldest since %s: tidemark queue list", plural(int64(out.Quarantined), "transaction"), span(h.Oldest))
		}
		if out.Behind != nil {
			state += ", and serves nothing"
		}
		facts(w, append([][2]string{{"  unsafe work", unsafe}, {"  state", state}, {"  load", out.loadText()}, {"  quarantine", parked},
			{"  receipts", count(int64(out.Receipts))}, {"  tables", tablesText(out.Tables, out.Lost)}, {"  as of", h.At.Local().Format(time.DateTime)}}, append(historyFacts(h.Histories), out.facts()...)...))
		fmt.Fprintln(w)
		deviceTable(d, w, out.Devices)
	})
}
