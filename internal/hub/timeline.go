package hub

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tidemark-sync/tidemark/change"
)

// A Moment is one thing that happened with a device.
type Moment struct {
	At     time.Time // by the hub's clock; of a session, when it began
	Until  time.Time // of a session; zero of what has no duration
	Kind   string    // a kind of Event or of Deed, or one of the kinds below
	Detail string    // for people
	In     uint64    // transactions taken in, of a session
	Out    uint64    // rows sent, likewise
	Bytes  uint64    // sent, likewise
	Error  string    // why it failed
	Ref    string    // the transaction's or receipt's id; ""

	id string // puts moments of one time in order
}

// The kinds of moments beside those of events and deeds.
const (
	MomentJoined  = "created"
	MomentVisit   = "session"
	MomentParked  = "quarantined"
	MomentReceipt = "conflict"
)

func (m *Moment) place() string { return fmt.Sprintf("%019d/%s", m.At.UnixNano(), m.id) }

// Timeline lists what happened with a device, newest first: its sessions that are over,
// what the hub noticed of it, what people did about it, its transactions in quarantine,
// and the conflicts that its work brought about. before is the next of the page before,
// "" for the first one; next is "" when nothing is left. Sessions and people's deeds go
// back a hundred each, events fifty, conflicts as far as receipts are kept.
func (h *Hub) Timeline(ctx context.Context, device change.DeviceID, before string, limit int) (out []Moment, next string, err error) {
	limit = page(limit)
	err = h.view(ctx, func(v View) error {
		d, err := readDevice(v, device)
		if err != nil {
			return err
		}
		all := []Moment{{At: d.Created, Kind: MomentJoined, Detail: d.Name, id: "0"}}
		for _, add := range []func(View, change.DeviceID) ([]Moment, error){visitMoments, eventMoments, deedMoments, parkedMoments} {
			list, err := add(v, device)
			if err != nil {
				return err
			}
			all = append(all, list...)
		}
		list, end, err := receiptMoments(v, device, before, limit)
		if err != nil {
			return err
		}
		out, next = pageOf(append(all, list...), before, end, limit)
		return nil
	})
	if err != nil {
		return nil, "", fmt.Errorf("timeline of device %s: %w", device, err)
	}
	return out, next, nil
}

// pageOf cuts a page out of moments: those before a place and not before end, up to
// which receipts were looked at; "" when that was all of them.
func pageOf(all []Moment, before, end string, limit int) (out []Moment, next string) {
	all = slices.DeleteFunc(all, func(m Moment) bool {
		p := m.place()
		return before != "" && p >= before || p < end
	})
	slices.SortFunc(all, func(a, b Moment) int { return -cmp.Or(a.At.Compare(b.At), strings.Compare(a.id, b.id)) })
	if len(all) > limit {
		return all[:limit], all[limit-1].place()
	}
	return all, end
}

func visitMoments(v View, device change.DeviceID) (out []Moment, err error) {
	list, err := visitsOf(v, device)
	for i := range list {
		s := &list[i]
		out = append(out, Moment{At: s.Began, Until: s.Ended, Kind: MomentVisit, Detail: s.Agent, In: s.In, Out: s.Out, Bytes: s.Bytes, Error: s.Error,
			id: fmt.Sprintf("v%020d", s.N)})
	}
	return out, err
}

func eventMoments(v View, device change.DeviceID) (out []Moment, err error) {
	err = eventsOf(v, device, func(id string, body []byte) error {
		var e Event
		if err := json.Unmarshal(body, &e); err != nil {
			return fmt.Errorf("decode event %s: %w", id, err)
		}
		out = append(out, Moment{At: e.At, Kind: e.Kind, Detail: e.Detail, id: "e" + id})
		return nil
	})
	return out, err
}

func deedMoments(v View, device change.DeviceID) (out []Moment, err error) {
	list, err := deedsOf(v, device)
	for i := range list {
		d := &list[i]
		m := Moment{At: d.At, Kind: d.Kind, Detail: d.Detail, id: fmt.Sprintf("d%020d", d.N)}
		if !d.Tx.IsZero() {
			m.Ref = d.Tx.String()
		}
		out = append(out, m)
	}
	return out, err
}

func parkedMoments(v View, device change.DeviceID) (out []Moment, err error) {
	list, err := parkedOf(v, device)
	for _, p := range list {
		out = append(out, Moment{At: p.At, Kind: MomentParked, Detail: p.Reason, Ref: p.ID.String(), id: "p" + p.ID.String()})
	}
	return out, err
}

// receiptMoments lists conflicts from a place on, one more than limit of them at most;
// end is the place up to which all were looked at, "" when these are enough.
func receiptMoments(v View, device change.DeviceID, before string, limit int) (out []Moment, end string, err error) {
	from, cut := "", ""
	if before != "" {
		var ns int64
		if _, err := fmt.Sscanf(before, "%d/", &ns); err != nil {
			return nil, "", &InputError{"page_token", fmt.Sprintf("%q is not where a page ended", before)}
		}
		from = fmt.Sprintf("%016x", uint64(change.NewHLC(time.Unix(0, ns).UnixMilli()+1, 0)))
	}
	err = decisionsBack(v, from, func(r *Receipt) (bool, error) {
		m := r.moment()
		if r.Device == device && (before == "" || m.place() < before) {
			out = append(out, *m)
		}
		return len(out) <= limit, nil
	}, &cut)
	if cut != "" {
		end = (&Receipt{ID: cut}).moment().place()
	}
	return out, end, err
}

// moment is the receipt's place in a timeline: where its id puts it, which may be a
// little after its time.
func (r *Receipt) moment() *Moment {
	var at uint64
	_, err := fmt.Sscanf(r.ID, "%16x", &at)
	m := &Moment{At: change.HLC(at).Time(), Kind: MomentReceipt, Detail: r.sentence(), Ref: r.ID, id: "r" + r.ID}
	if err != nil {
		m.At = r.At
	}
	return m
}

// sentence says for people what was decided.
func (r *Receipt) sentence() string {
	what := "row " + r.Key.String() + " of " + r.Table
	if r.Column != "" {
		what = r.Column + " of " + what
	}
	switch {
	case r.Kind == kindUndo:
		return what + ": a decision was undone" + by(r.By)
	case r.Winner.Side == "edge":
		return what + ": its version won, by " + r.Rule
	}
	return what + ": the hub's version won, by " + r.Rule
}

func by(name string) string {
	if name == "" {
		return ""
	}
	return " by " + name
}
