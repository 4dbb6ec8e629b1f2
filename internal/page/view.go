package page

import (
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/run"
)

// A viewer puts what was seen in words, as of one moment.
type viewer struct {
	now  time.Time
	zone *time.Location
}

// A view is what the template shows.
type view struct {
	Title   string // of the window: the answer, in a few words
	Say     string // read out when it changes: no ages in it
	Level   level  // the worst of all files
	At      moment
	Version string
	Files   []fileView
}

// A fileView is one file.
type fileView struct {
	ID     string // of its section
	Name   string // the device's
	File   string
	Base   string // the last part of File
	Level  level  // the worst of what follows
	Safety safety
	Tags   []tag
	Notes  []note

	Waiting     []workView
	WaitingMore string // what else waits; "" nothing
	Refused     []workView
	RefusedMore string
	List        string // the command that lists both

	Facts  []fact
	Events []eventView
}

// A tag is a state in a word.
type tag struct {
	Level level
	Text  string
}

type fact struct {
	Name string
	Text string
	At   moment // in place of Text, where it is not zero
	Mono bool
}

type eventView struct {
	At   moment
	Text string
}

// A workView is a transaction that waits or was refused.
type workView struct {
	ID     string
	At     moment
	Reason string
	Rows   []rowView
	More   string // how many other rows; "" none
	Aside  bool
	Show   string     // the command that shows its values
	After  []workView // refused with it, for they build on it
}

type rowView struct{ Verb, Table, Key string }

// How much of each list is shown; the command line has all of it.
const (
	waitingShown = 5
	eventsShown  = 5
)

func (v *viewer) view(list []seen, version string) *view {
	out := &view{At: v.moment(v.now), Version: version}
	var said []string
	for i := range list {
		f := v.file(&list[i])
		f.ID = "file-" + count(int64(i+1))
		out.Files = append(out.Files, f)
		out.Level = max(out.Level, f.Level)
		said = append(said, f.Name+": "+f.Safety.Answer+".")
	}
	out.Say = strings.Join(said, " ")
	// The window's title is the answer that needs somebody most.
	weight := func(f fileView) int { return int(f.Safety.Level)*10 + int(f.Level) }
	worst := slices.MaxFunc(out.Files, func(a, b fileView) int { return weight(a) - weight(b) })
	out.Title = worst.Safety.Answer + " · " + worst.Name
	return out
}

func (v *viewer) file(s *seen) fileView {
	out := fileView{Name: s.Name, File: s.File, Base: filepath.Base(s.File), Safety: v.safety(s), Notes: v.notes(s), List: "tidemark queue list " + run.Word(s.File)}
	if out.Name == "" {
		out.Name = out.Base
	}
	out.Tags = tags(s)
	out.Level = out.Safety.Level
	for _, n := range out.Notes {
		out.Level = max(out.Level, n.Level)
	}
	for _, t := range out.Tags {
		out.Level = max(out.Level, t.Level)
	}
	if s.Sight == nil {
		return out
	}
	v.works(s, &out)
	out.Facts = v.facts(s)
	for i, e := range s.Sight.Status.Events {
		if i == eventsShown {
			break
		}
		out.Events = append(out.Events, eventView{v.moment(e.At), e.Detail})
	}
	return out
}

// tags are a file's states, in words to be taken in at a glance.
func tags(s *seen) (out []tag) {
	text := strings.ReplaceAll(s.Agent.State, "-", " ")
	switch {
	case s.Agent.State == run.StateStopped:
		text = "no agent"
	case s.Agent.State == run.StateRefused && s.Agent.Code == revoked:
		text = revoked
	case text == "":
		text = "unknown"
	}
	out = append(out, tag{plightOf(s.Agent).level, text})
	if s.Sight == nil {
		return out
	}
	if isolated(s.Sight.Parked) {
		out = append(out, tag{warning, "isolated"})
	}
	if n := s.Sight.Status.Quarantined; n > 0 {
		out = append(out, tag{warning, count(n) + " refused"})
	}
	return out
}

// works fills the lists of what waits and of what was refused.
func (v *viewer) works(s *seen, out *fileView) {
	st, waiting := s.Sight.Status, s.Sight.Waiting
	for i := range waiting {
		if i == waitingShown {
			break
		}
		out.Waiting = append(out.Waiting, v.work(s.File, &waiting[i]))
	}
	rest := st.OutboxDepth - int64(len(out.Waiting))
	switch exported := int64(len(waiting)); {
	case rest <= 0:
	case rest == 1 && exported < st.OutboxDepth && exported < run.LookMost:
		out.WaitingMore = "what was written since the agent last looked"
	default:
		out.WaitingMore = count(rest) + " more"
	}
	parked := s.Sight.Parked
	for i, root := range roots(parked) {
		w := v.work(s.File, &parked[i])
		if root == i {
			out.Refused = append(out.Refused, w)
			continue
		}
		id := parked[root].ID.String()
		at := slices.IndexFunc(out.Refused, func(r workView) bool { return r.ID == id })
		out.Refused[at].After = append(out.Refused[at].After, w)
	}
	if n := st.Quarantined - int64(len(parked)); n > 0 {
		out.RefusedMore = count(n) + " more"
	}
}

// roots finds for each parked transaction the one that has to be settled first: itself,
// or the earlier one that its reason names. The hub tells a device why something is
// parked, and what that depends on in the words of the reason alone.
func roots(list []run.Work) []int {
	out := make([]int, len(list))
	for i := range list {
		out[i] = i
		for j := range i {
			if strings.Contains(list[i].Reason, list[j].ID.String()) {
				out[i] = out[j]
				break
			}
		}
	}
	return out
}

// verbs are the kinds of operations as people say them.
var verbs = map[string]string{change.Insert.String(): "added", change.Update.String(): "changed", change.Delete.String(): "deleted"}

func (v *viewer) work(file string, w *run.Work) workView {
	out := workView{ID: w.ID.String(), At: v.moment(w.At), Reason: w.Reason, Aside: w.Aside}
	for _, r := range w.Rows {
		out.Rows = append(out.Rows, rowView{verbs[r.Kind], r.Table, brief(r.Key)})
	}
	if n := w.Ops - len(w.Rows); n > 0 {
		out.More = plural(int64(n), "more row")
	}
	out.Show = "tidemark queue show " + out.ID[:8] + " " + run.Word(file)
	return out
}

// facts are what an installer asks next.
func (v *viewer) facts(s *seen) (out []fact) {
	st := s.Sight.Status
	text := func(name, text string) { out = append(out, fact{Name: name, Text: text}) }
	mono := func(name, text string) { out = append(out, fact{Name: name, Text: text, Mono: true}) }
	when := func(name string, t time.Time) { out = append(out, fact{Name: name, Text: "never", At: v.moment(t)}) }
	when("Last progress", st.LastProgress)
	if s.Agent.State == run.StateOnline {
		text("Last word from the hub", "now: it is connected")
	} else {
		when("Last word from the hub", st.LastContact)
	}
	agent := strings.ReplaceAll(s.Agent.State, "-", " ")
	if !s.Agent.Since.IsZero() {
		agent += " for " + span(v.now.Sub(s.Agent.Since))
	}
	text("Agent", agent)
	if st.HubName != "" {
		text("Hub", st.HubName)
	}
	mono("Hub’s address", st.URL)
	text("Outbox", plural(st.OutboxDepth, "transaction"))
	if st.Unsettled > 0 {
		text("At the hub, outcome on its way", plural(st.Unsettled, "transaction"))
	}
	data := plural(st.Rows, "row")
	if !st.Complete {
		data += ", not complete yet"
	}
	text("Data", data)
	if st.FreeDisk > 0 {
		text("Free disk", size(st.FreeDisk))
	}
	text("Clock", clockText(offset(st)))
	if s.Agent.Version != "" {
		text("Version", s.Agent.Version)
	}
	mono("File", st.File)
	mono("Schema", st.Schema)
	mono("Device", st.Device.String())
	return out
}

// worst puts the worst first, and leaves the rest in order.
func worst(list []note) {
	slices.SortStableFunc(list, func(a, b note) int { return int(b.Level) - int(a.Level) })
}
