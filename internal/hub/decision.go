package hub

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/merge"
)

// An Acceptance says that a person looked at a decision, and that it stands.
type Acceptance struct {
	By   string    `json:"by"`
	At   time.Time `json:"at"` // by the hub's clock
	Note string    `json:"note,omitempty"`
}

// A ReceiptState is where a decision stands with people.
type ReceiptState uint8

// The states of receipts.
const (
	AnyReceipt      ReceiptState = iota
	NewReceipt                   // neither of the others
	AcceptedReceipt              // a person looked, and it stands
	UndoneReceipt                // the loser's side was written back
)

// State is where the decision stands.
func (r *Receipt) State() ReceiptState {
	switch {
	case r.Undone != "":
		return UndoneReceipt
	case r.Accepted != nil, r.Kind == kindUndo: // who undid looked at it
		return AcceptedReceipt
	}
	return NewReceipt
}

// A Decision is a receipt with the names of those who had part in it, as they are now;
// "" when nobody knows.
type Decision struct {
	Receipt
	DeviceName string // whose transaction brought it about
	WinnerName string // HubName for programs at the hub, and for what was merged there
	LoserName  string
	UndoneBy   string // who undid it
	UndoneAt   time.Time
}

// HubName is who wrote what no device wrote.
const HubName = "the hub"

// A DecisionFilter narrows a list of decisions. Zero fields do not narrow.
type DecisionFilter struct {
	Before string // an id: only older ones
	Table  string
	Key    change.Key // with Table: of this row
	Device change.DeviceID
	State  ReceiptState
	Kind   string
	Search string // in key and values, whatever the case
	Limit  int    // 0: DefaultPage
	Oldest bool   // oldest first; then After counts, not Before
	After  string // an id: only newer ones
}

// DefaultPage and MaxPage bound what one call lists.
const (
	DefaultPage = 100
	MaxPage     = 1000
)

func page(limit int) int {
	if limit <= 0 {
		return DefaultPage
	}
	return min(limit, MaxPage)
}

// maxLook is how many records one call looks through for those that it wants.
const maxLook = 20_000

// Decisions lists receipts, newest first unless the filter says otherwise. next is the
// Before, or the After, of the next page, or "" when there is none; a page may hold fewer than Limit, even none, where little fits the
// filter.
func (h *Hub) Decisions(ctx context.Context, f DecisionFilter) (out []Decision, next string, err error) {
	limit := page(f.Limit)
	err = h.view(ctx, func(v View) error {
		out, next = nil, ""
		who := authors{v: v}
		each, from := decisionsBack, f.Before
		if f.Oldest {
			each, from = decisionsOn, f.After
		}
		return each(v, from, func(r *Receipt) (bool, error) {
			if len(out) == limit {
				next = out[limit-1].ID
				return false, nil
			}
			if !f.wants(r) {
				return true, nil
			}
			d, err := who.decision(r)
			out = append(out, *d)
			return true, err
		}, &next)
	})
	if err != nil {
		return nil, "", fmt.Errorf("list receipts: %w", err)
	}
	return out, next, nil
}

// decisionsBack calls fn for receipts, newest first, until it says false; cut becomes the
// id of the last one when maxLook of them were looked at.
func decisionsBack(v View, before string, fn func(*Receipt) (more bool, err error), cut *string) error {
	return eachBack(v, kindReceipt, "", before, lookThrough(fn, cut))
}

// decisionsOn is decisionsBack the other way, after an id.
func decisionsOn(v View, after string, fn func(*Receipt) (more bool, err error), cut *string) error {
	return eachRecord(v, kindReceipt, after, lookThrough(fn, cut))
}

func lookThrough(fn func(*Receipt) (more bool, err error), cut *string) func(id string, body []byte) error {
	looked := 0
	return func(id string, body []byte) error {
		r, err := decodeReceipt(id, body)
		if err != nil {
			return err
		}
		more, err := fn(r)
		if err != nil {
			return err
		}
		if !more {
			return errStop
		}
		if looked++; looked >= maxLook {
			*cut = id
			return errStop
		}
		return nil
	}
}

// eachBack calls fn for each record of a kind whose id begins with prefix and lies
// before an id ("": any), in falling order of ids, until fn returns errStop.
func eachBack(v View, kind, prefix, before string, fn func(id string, body []byte) error) error {
	return turnPages(v.RecordsBack, kind, prefix, before, fn)
}

func (f *DecisionFilter) wants(r *Receipt) bool {
	switch {
	case f.Table != "" && !strings.EqualFold(r.Table, f.Table),
		f.Key != nil && !r.Key.Equal(f.Key),
		!f.Device.IsZero() && r.Device != f.Device,
		f.State != AnyReceipt && r.State() != f.State,
		f.Kind != "" && r.Kind != f.Kind:
		return false
	}
	return f.Search == "" || r.holds(f.Search)
}

// holds reports whether the key or one of the values contains text.
func (r *Receipt) holds(text string) bool {
	text = strings.ToLower(text)
	values := append([]change.Value{r.Base, r.Hub, r.Edge, r.Result}, r.Key...)
	for _, v := range append(values, r.Row...) {
		s := v.String()
		if v.Kind() == change.KindText {
			s = v.Str()
		}
		if strings.Contains(strings.ToLower(s), text) {
			return true
		}
	}
	return false
}

// Receipt returns one decision, or ErrNotFound.
func (h *Hub) Receipt(ctx context.Context, id string) (*Decision, error) {
	var out *Decision
	err := h.store.View(ctx, func(v View) error {
		var r Receipt
		if err := readRecord(v, kindReceipt, id, &r); err != nil {
			return err
		}
		who := authors{v: v}
		var err error
		out, err = who.decision(&r)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("receipt %s: %w", id, err)
	}
	return out, nil
}

// Accept says that decisions were looked at and stand: by names the person. It returns
// how many were new. Of a list that names one which is not there nothing is accepted.
func (h *Hub) Accept(ctx context.Context, ids []string, by, note string) (accepted int, err error) {
	err = h.store.Update(ctx, func(tx Tx) error {
		accepted = 0
		for _, id := range ids {
			var r Receipt
			if err := readRecord(tx, kindReceipt, id, &r); err != nil {
				return fmt.Errorf("receipt %s: %w", id, err)
			}
			if r.State() != NewReceipt {
				continue
			}
			r.Accepted = &Acceptance{By: by, At: h.clock.Now().UTC(), Note: note}
			if err := h.writeReceipt(tx, &r); err != nil {
				return err
			}
			accepted++
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("accept receipts: %w", err)
	}
	h.log.Info("conflict decisions accepted", "count", accepted)
	return accepted, nil
}

// versioned is who wrote a touch, and when.
func (t *Touch) versioned() merge.Versioned { return merge.Versioned{HLC: t.HLC, Origin: t.Origin} }

// authors tells who is behind incarnations. It remembers within one View.
type authors struct {
	v     View
	owner map[change.Incarnation]change.DeviceID
	name  map[change.DeviceID]string
}

// device is whose an incarnation is; zero: nobody's that is known.
func (a *authors) device(inc change.Incarnation) (change.DeviceID, error) {
	if id, ok := a.owner[inc]; ok || inc.IsZero() {
		return id, nil
	}
	var id change.DeviceID
	err := readRecord(a.v, kindIncarnation, inc.String(), &id)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return id, err
	}
	if a.owner == nil {
		a.owner = map[change.Incarnation]change.DeviceID{}
	}
	a.owner[inc] = id
	return id, nil
}

// called is a device's name, or "".
func (a *authors) called(id change.DeviceID) (string, error) {
	if n, ok := a.name[id]; ok || id.IsZero() {
		return n, nil
	}
	d, err := readDevice(a.v, id)
	if errors.Is(err, ErrNotFound) {
		d, err = &Device{}, nil
	}
	if err != nil {
		return "", err
	}
	if a.name == nil {
		a.name = map[change.DeviceID]string{}
	}
	a.name[id] = d.Name
	return d.Name, nil
}

// wrote is the name of whoever wrote under an incarnation.
func (a *authors) wrote(inc change.Incarnation) (string, error) {
	if inc.IsZero() {
		return HubName, nil
	}
	id, err := a.device(inc)
	if err != nil {
		return "", err
	}
	return a.called(id)
}

func (a *authors) decision(r *Receipt) (*Decision, error) {
	d := &Decision{Receipt: *r}
	var errs [4]error
	d.DeviceName, errs[0] = a.called(r.Device)
	d.WinnerName, errs[1] = a.wrote(r.Winner.Origin)
	d.LoserName, errs[2] = a.wrote(r.Loser.Origin)
	d.UndoneBy, d.UndoneAt, errs[3] = undoneBy(a.v, r)
	return d, errors.Join(errs[:]...)
}

// undoneBy is who undid a decision, and when; "" when nobody did, or that is forgotten.
func undoneBy(v View, r *Receipt) (by string, at time.Time, err error) {
	if r.Undone == "" {
		return "", at, nil
	}
	var u Receipt
	if err := readRecord(v, kindReceipt, r.Undone, &u); err != nil && !errors.Is(err, ErrNotFound) {
		return "", at, err
	}
	return u.By, u.At, nil
}
