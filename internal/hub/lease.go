package hub

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/rule"
	"github.com/tidemark-sync/tidemark/internal/wire"
)

// Kinds of records for numbers and shares.
const (
	kindSeries = "lease"  // by name: series
	kindRange  = "grant"  // by name and first number: NumberGrant
	kindHolder = "holder" // by device: holder
	kindShare  = "share"  // by table, column and key: share
)

// maxAsk is how many numbers or shares one question may be about.
const maxAsk = 10_000

// The numbers that a hub may have handed out in a life that is lost are skipped:
// so many ranges, and this many per device.
const (
	lostRanges    = 16
	lostPerDevice = 2
)

// A series is how far a leased column's numbers are handed out.
type series struct {
	Next  int64        `json:"next"`
	Epoch change.Epoch `json:"epoch"` // in which Next was last made sure of
}

// A NumberGrant is a range of numbers that one device got for good.
type NumberGrant struct {
	Name   string             `json:"name"` // table.column
	Device change.DeviceID    `json:"device"`
	Inc    change.Incarnation `json:"incarnation"`
	First  int64              `json:"first"`
	Last   int64              `json:"last"`
	At     time.Time          `json:"at"`
}

// A holder is what the hub knows of a device that asked for numbers or shares.
type holder struct {
	Inc     change.Incarnation   `json:"incarnation"`
	Past    []change.Incarnation `json:"past,omitempty"` // earlier lives: what they held is void
	Since   change.Epoch         `json:"since"`          // in which this life first asked; 0: in one that is lost
	ID      uint64               `json:"id"`             // of the last question
	Answer  *wire.LeaseGrant     `json:"answer"`
	Numbers []wire.NumberLeft    `json:"numbers,omitempty"` // as it said last, with what it got then
	At      time.Time            `json:"at"`

	gone bool // the device is revoked: what it held is void
}

// Lease answers a device's question for numbers and shares. The answer is kept:
// asked again under the same ID, it is the same, so that a lost answer neither
// burns a range nor doubles it. The caller has authenticated the device.
func (h *Hub) Lease(ctx context.Context, device change.DeviceID, inc change.Incarnation, ask *wire.LeaseAsk) (*wire.LeaseGrant, error) {
	if len(ask.Numbers) > maxAsk || len(ask.Shares) > maxAsk {
		return nil, &wire.Fault{Code: "malformed", Message: fmt.Sprintf("a question about %d numbers and %d shares; a hub takes %d of each", len(ask.Numbers), len(ask.Shares), maxAsk), Hint: "the edge is broken: update it"}
	}
	var out *wire.LeaseGrant
	err := h.update(ctx, func(tx Tx) error {
		l := &lending{hub: h, tx: tx, shape: h.shape.Load(), now: h.clock.Now(), book: newBook(tx), out: &wire.LeaseGrant{ID: ask.ID}}
		if err := l.answer(device, inc, ask); err != nil {
			return err
		}
		out = l.out
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("lease to device %s: %w", device, err)
	}
	return out, nil
}

// lease answers a LeaseAsk.
func (s *Session) lease(ctx context.Context, m *wire.LeaseAsk, emit func(wire.Message) error) error {
	s.hub.note(s.device, func(*presence) {})
	g, err := s.hub.Lease(ctx, s.device, s.hello.Incarnation, m)
	if err != nil {
		return s.fail("lease", err)
	}
	return emit(g)
}

// A lending is one question on its way to its answer.
type lending struct {
	hub   *Hub
	tx    Tx
	shape *shape
	now   time.Time
	dev   *Device
	epoch change.Epoch
	book  *book
	who   *holder
	late  bool     // the question is older than one that was answered, or its file was put back
	all   []rights // of the active devices; nil: not read yet
	out   *wire.LeaseGrant
}

func (l *lending) answer(device change.DeviceID, inc change.Incarnation, ask *wire.LeaseAsk) (err error) {
	if l.dev, err = activeDevice(l.tx, device); err != nil {
		return err
	}
	cur, err := l.tx.Cursor()
	if err != nil {
		return err
	}
	l.epoch = cur.Epoch
	if l.who, err = l.book.holder(device); err != nil {
		return err
	}
	if l.who.Inc == inc && l.who.ID == ask.ID {
		if l.who.Answer != nil {
			l.out = l.who.Answer
		}
		return nil
	}
	if err := l.meet(inc, ask.ID); err != nil {
		return err
	}
	l.late = ask.ID < l.who.ID
	for i := range ask.Numbers {
		if err := l.number(&ask.Numbers[i]); err != nil {
			return fmt.Errorf("numbers of %s: %w", ask.Numbers[i].Name, err)
		}
	}
	for i := range ask.Shares {
		if err := l.share(&ask.Shares[i]); err != nil {
			return fmt.Errorf("share of %s: %w", ask.Shares[i].Table, err)
		}
	}
	if l.late { // what the device said since stands
		return nil
	}
	l.who.ID, l.who.Answer, l.who.At, l.who.Numbers = ask.ID, l.out, l.now.UTC(), slices.Clone(ask.Numbers)
	for _, g := range l.out.Numbers {
		for i := range l.who.Numbers {
			if n := &l.who.Numbers[i]; n.Name == g.Name {
				n.Left, n.Highest = n.Left+uint64(g.Last-g.First+1), max(n.Highest, g.Last)
			}
		}
	}
	return writeRecord(l.tx, kindHolder, device.String(), l.who)
}

// meet turns to the present life of the device's file. What earlier ones held is
// void from here on: a life asks first once all that it continues was handed in.
func (l *lending) meet(inc change.Incarnation, id uint64) error {
	if l.who.Inc == inc {
		return nil
	}
	back, err := l.setBack()
	if err != nil {
		return err
	}
	past := l.who.Past
	for _, i := range append([]change.Incarnation{l.who.Inc}, l.dev.Incarnations...) {
		if i != inc && !i.IsZero() && !slices.Contains(past, i) {
			past = append(past, i)
		}
	}
	past = slices.DeleteFunc(past, func(i change.Incarnation) bool { return i == inc })
	since := l.epoch
	if id > 1 && back {
		since = 0 // the hub was set back to before its first question
	}
	*l.who = holder{Inc: inc, Past: past, Since: since}
	return nil
}

// setBack reports whether the hub ever was. Otherwise it knows by itself all that it
// handed out, and what a device says beyond that is not so.
func (l *lending) setBack() (bool, error) {
	lives, err := l.tx.Lineage()
	if err != nil {
		return false, fmt.Errorf("read lineage: %w", err)
	}
	return len(lives) > 1, nil
}

// number makes sure that no number which a device may have is handed out again,
// and grants a range when few are left.
func (l *lending) number(n *wire.NumberLeft) error {
	s := l.shape.series[n.Name]
	if s == nil {
		return nil
	}
	rec, err := l.next(s)
	if err != nil {
		return err
	}
	was, may := *rec, rightsOf(l.dev.Grants).may(rule.Insert)
	if may && n.Highest >= rec.Next {
		back, err := l.setBack()
		if err != nil {
			return err
		}
		if back {
			rec.Next = min(n.Highest, rule.MaxNumber) + 1
		}
	}
	if may && n.Left < uint64(s.Low) {
		if err := l.grant(s, rec); err != nil {
			return err
		}
	}
	if *rec == was {
		return nil
	}
	return writeRecord(l.tx, kindSeries, s.Name, rec)
}

// next reads how far a series is handed out. In a life that continues a restored
// copy nobody knows what the lost one handed out: as much as can be expected of it
// is skipped, once for each such life since: the one before has skipped as well, and may
// have handed out what came then.
func (l *lending) next(s *rule.Series) (*series, error) {
	rec := &series{}
	err := readRecord(l.tx, kindSeries, s.Name, rec)
	if errors.Is(err, ErrNotFound) {
		*rec = series{Next: s.Start}
	} else if err != nil {
		return nil, err
	}
	lost, err := l.livesSince(rec.Epoch)
	if err != nil {
		return nil, err
	}
	rec.Epoch = l.epoch
	if lost == 0 {
		return rec, nil
	}
	if err := l.pastRows(s, rec); err != nil {
		return nil, err
	}
	devices := int64(0)
	err = eachRecord(l.tx, kindDevice, "", func(string, []byte) error { devices++; return nil })
	if err != nil {
		return nil, err
	}
	skip := s.Size * max(lostRanges, lostPerDevice*devices) * lost
	rec.Next += skip
	l.hub.log.Warn("numbers skipped: the hub was set back, and may have handed them out", "name", s.Name, "skipped", skip, "next", rec.Next)
	return rec, writeRecord(l.tx, kindSeries, s.Name, rec)
}

// livesSince counts the lives of the hub that began after the one of an epoch, or, for
// a series that has no record yet, after the first. When there is one, all that are over
// and in no lineage count as well: each may have handed out what followed.
func (l *lending) livesSince(epoch change.Epoch) (int64, error) {
	lives, err := l.tx.Lineage()
	if err != nil {
		return 0, err
	}
	at := slices.IndexFunc(lives, func(b change.Branch) bool { return b.Epoch == epoch })
	n := int64(len(lives) - 1 - max(at, 0))
	if n == 0 {
		return 0, nil
	}
	err = eachRecord(l.tx, kindReplaced, "", func(id string, _ []byte) error {
		if !slices.ContainsFunc(lives, func(b change.Branch) bool { return b.Epoch.String() == id }) {
			n++
		}
		return nil
	})
	return n, err
}

// pastRows moves next past the numbers that stand in the table: rows from before
// there were leases, or written at the hub.
func (l *lending) pastRows(s *rule.Series, rec *series) error {
	top, err := l.tx.Highest(s.Table, s.Column, rule.MaxNumber)
	if err != nil {
		return err
	}
	if !top.IsNull() {
		rec.Next = max(rec.Next, top.Int()+1)
	}
	return nil
}

// grant hands out the next range.
func (l *lending) grant(s *rule.Series, rec *series) error {
	if err := l.pastRows(s, rec); err != nil {
		return err
	}
	if rec.Next > rule.MaxNumber-s.Size {
		l.hub.log.Error("numbers used up", "name", s.Name, "next", rec.Next)
		return nil
	}
	g := NumberGrant{Name: s.Name, Device: l.dev.ID, Inc: l.who.Inc, First: rec.Next, Last: rec.Next + s.Size - 1, At: l.now.UTC()}
	rec.Next = g.Last + 1
	l.out.Numbers = append(l.out.Numbers, wire.NumberRange{Name: g.Name, First: g.First, Last: g.Last})
	return writeRecord(l.tx, kindRange, rangeID(&g), &g)
}

// may reports whether a device has a verb over anything at all.
func (r rights) may(v rule.Verb) bool {
	for _, have := range r {
		if have&v == v {
			return true
		}
	}
	return false
}

// A LeaseReport is what of numbers and shares is out, for people.
type LeaseReport struct {
	Numbers []SeriesReport `json:"numbers"`
	Shares  []ShareReport  `json:"shares"`
}

// A SeriesReport is one leased column.
type SeriesReport struct {
	Name   string         `json:"name"`
	Next   int64          `json:"next"` // the first number that nobody has
	Size   int64          `json:"size"` // of a range; 0: the column is leased no more
	Ranges []NumberGrant  `json:"ranges"`
	Left   []NumberReport `json:"left"`
}

// A NumberReport is how many numbers a device had left when it last asked for
// some, with what it got then.
type NumberReport struct {
	Device change.DeviceID `json:"device"`
	Left   uint64          `json:"left"`
	// Highest is the last number that the device holds; 0 when none. It is beyond its
	// ranges when the hub was set back: a life that is lost handed out what follows.
	Highest int64     `json:"highest"`
	At      time.Time `json:"at"`
}

// A ShareReport sums up what a device holds of one bounded counter.
type ShareReport struct {
	Table  string          `json:"table"`
	Column string          `json:"column"`
	Device change.DeviceID `json:"device"`
	Rows   int             `json:"rows"`
	Held   int64           `json:"held"`
}

// Leases reports what numbers and shares are out. It reads all of them.
func (h *Hub) Leases(ctx context.Context) (*LeaseReport, error) {
	out := &LeaseReport{Numbers: []SeriesReport{}, Shares: []ShareReport{}}
	err := h.view(ctx, func(v View) error {
		if err := out.numbers(v, h.shape.Load()); err != nil {
			return err
		}
		return out.shares(v)
	})
	if err != nil {
		return nil, fmt.Errorf("report leases: %w", err)
	}
	return out, nil
}

func (r *LeaseReport) numbers(v View, shape *shape) error {
	now := map[string]string{} // present names by those under which devices asked
	for _, f := range shape.formerSeries() {
		now[f.was] = f.name
	}
	err := eachRecord(v, kindSeries, "", func(name string, body []byte) error {
		var s series
		if err := json.Unmarshal(body, &s); err != nil {
			return fmt.Errorf("decode series %s: %w", name, err)
		}
		n := SeriesReport{Name: name, Next: s.Next, Ranges: []NumberGrant{}, Left: []NumberReport{}}
		if leased := shape.series[name]; leased != nil {
			n.Size = leased.Size
		}
		r.Numbers = append(r.Numbers, n)
		return nil
	})
	if err != nil {
		return err
	}
	for i := range r.Numbers {
		if err := r.Numbers[i].ranges(v); err != nil {
			return err
		}
	}
	return eachRecord(v, kindHolder, "", func(id string, body []byte) error {
		var who holder
		if err := json.Unmarshal(body, &who); err != nil {
			return fmt.Errorf("decode holder %s: %w", id, err)
		}
		device, err := change.ParseDeviceID(id)
		if err != nil {
			return err
		}
		for _, n := range who.Numbers {
			for i := range r.Numbers {
				if r.Numbers[i].Name == cmp.Or(now[n.Name], n.Name) {
					r.Numbers[i].Left = append(r.Numbers[i].Left, NumberReport{Device: device, Left: n.Left, Highest: n.Highest, At: who.At})
				}
			}
		}
		return nil
	})
}

func (s *SeriesReport) ranges(v View) error {
	return eachUnder(v, kindRange, s.Name+"/", func(id string, body []byte) error {
		var g NumberGrant
		if err := json.Unmarshal(body, &g); err != nil {
			return fmt.Errorf("decode range %s: %w", id, err)
		}
		s.Ranges = append(s.Ranges, g)
		return nil
	})
}
