package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/tidemark-sync/tidemark/internal/run"
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
  tidemark status --data /var/lib/tidemark
  tidemark status --hub https://hub.example.org:8440`,
		RunE: func(cmd *cobra.Command, list []string) error {
			if len(list) == 0 {
				return o.withAPI(cmd, d, d.hubStatus)
			}
			return d.fileStatus(cmd.Context(), list)
		},
	}
	o.bindEither(c)
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
