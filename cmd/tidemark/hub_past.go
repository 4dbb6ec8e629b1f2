package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/api/pb"
	"github.com/tidemark-sync/tidemark/internal/serve"
)

// reviveFlags are the operator's word about a database that was put back.
type reviveFlags struct{ restored, undo bool }

func (f *reviveFlags) bind(c *cobra.Command) {
	c.Flags().BoolVar(&f.restored, "restored", false, "hub.db was put back from a backup: begin a new life, and take back what devices had handed in since")
	c.Flags().BoolVar(&f.undo, "undo", false, "with --restored: what devices had handed in since waits for review")
}

func (f *reviveFlags) mode() (change.BranchMode, error) {
	switch {
	case f.undo && !f.restored:
		return "", fail(exitUsage, errors.New("--undo without --restored: it says what becomes of the work when a restored hub begins a new life"), "tidemark hub --restored --undo, when the restore was meant to undo something")
	case f.undo:
		return change.Undone, nil
	case f.restored:
		return change.Restored, nil
	}
	return "", nil
}

// tellPast says at the start what became of a database that was put back.
func tellPast(d *door, h *serve.Hub) {
	if b := h.Revived(); b != nil {
		what := "devices hand in again what they had handed in since; it is applied"
		if b.Mode == change.Undone {
			what = "devices hand in again what they had handed in since; it waits for review: tidemark queue list"
		}
		d.event(map[string]any{"event": "restored", "epoch": b.Epoch.String(), "mode": string(b.Mode), "fork": b.Fork.String(), "at": b.At},
			"a new life begins: epoch %s, from %s, %s\n%s", b.Epoch, b.Fork, b.At.Local().Format(time.DateTime), what)
	}
	if b := h.Core().Behind(); b != nil {
		d.event(map[string]any{"event": "behind", "seen": b.Seen.String(), "end": b.End.String(), "device": b.Name},
			"NOTHING IS SERVED: %s.\n%s", b, behindWhat(h.Dir()))
	}
}

// behindWhat is what to do about a hub that is behind.
func behindWhat(dir serve.HubDir) string {
	at := ""
	if dir != serve.DefaultData {
		at = " --data " + word(string(dir))
	}
	return fmt.Sprintf(`stop the hub, then start it with one of
  tidemark hub%[1]s --restored         take back what the devices had handed in since
  tidemark hub%[1]s --restored --undo  let it wait for review (tidemark queue)
or put the newer database back, if that was a mistake`, at)
}

// pastStatus is what the hub's status says of its lives.
type pastStatus struct {
	Behind   *behindRow  `json:"behind,omitempty"` // nothing is served until the operator speaks
	Lineage  []branchRow `json:"lineage"`          // oldest first
	Restored *time.Time  `json:"restored,omitempty"`
}

type behindRow struct {
	At     time.Time `json:"at"`
	Device string    `json:"device,omitempty"`
	Seen   string    `json:"seen"`
	End    string    `json:"end"`
	Text   string    `json:"text"`
	Hint   string    `json:"hint"`
}

type branchRow struct {
	Epoch string    `json:"epoch"`
	Mode  string    `json:"mode"`
	Fork  string    `json:"fork,omitempty"`
	At    time.Time `json:"at,omitzero"`
}

func pastOf(m *pb.OverviewResponse, dir serve.HubDir) pastStatus {
	var p pastStatus
	if b := m.GetRollback(); b != nil {
		p.Behind = &behindRow{At: timeIn(b.GetAt()), Device: b.GetDevice(), Seen: b.GetSeen(), End: b.GetEnd(), Text: m.GetBehind(), Hint: behindWhat(dir)}
	}
	for _, b := range m.GetLineage() {
		p.Lineage = append(p.Lineage, branchRow{b.GetEpoch(), b.GetMode(), b.GetFork(), timeIn(b.GetAt())})
	}
	if n := len(p.Lineage); n > 1 {
		p.Restored = &p.Lineage[n-1].At
	}
	return p
}

// facts are the lines of pastStatus, the most pressing first.
func (p *pastStatus) facts() (list [][2]string) {
	if p.Restored != nil {
		last := p.Lineage[len(p.Lineage)-1]
		how := "what devices had handed in since is taken back"
		if last.Mode == string(change.Undone) {
			how = "what devices had handed in since waits for review"
		}
		list = append(list, [2]string{"  restored", fmt.Sprintf("at %s, from %s: %s", last.At.Local().Format(time.DateTime), last.Fork, how)})
	}
	return list
}

// warning is what comes before everything else.
func (p *pastStatus) warning() string {
	if p.Behind == nil {
		return ""
	}
	return fmt.Sprintf("NOTHING IS SERVED since %s: %s.\n%s\n\n", p.Behind.At.Local().Format(time.DateTime), p.Behind.Text, p.Behind.Hint)
}
