package hub

import (
	"cmp"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/rule"
	"github.com/tidemark-sync/tidemark/internal/wire"
)

// Bounded counters by escrow (O'Neil, The Escrow Transactional Method, 1986): of
// what a counter has above its floor, each device holds a share that it may take
// off by itself, offline. What is in nobody's share is free. The shares and the
// free part never come to more than the counter holds, so nothing is sold twice.
//
// The hub's record of a share is never below what the device believes it has: it
// is lowered only by work that takes from the counter, and by what the device
// itself reports; it is raised before the device hears of it.

// A share is what devices hold of one counter.
type share struct {
	Table  string          `json:"table"`
	Column string          `json:"column"`
	Key    change.Key      `json:"key"`
	Held   map[string]held `json:"held"` // by device
}

type held struct {
	Inc   change.Incarnation `json:"incarnation"`
	Epoch change.Epoch       `json:"epoch"` // in which the device last told of it
	Left  int64              `json:"left"`
}

// A book reads and writes shares inside one Update.
type book struct {
	v  View
	tx Tx // nil: only to read
	// operator says that the work is a person's at the hub: it comes off nobody's share.
	operator bool
	holders  map[change.DeviceID]*holder
}

func newBook(tx Tx) *book { return &book{v: tx, tx: tx, holders: map[change.DeviceID]*holder{}} }

// holder is what is known of a device that holds something; zero when nothing is.
func (k *book) holder(device change.DeviceID) (*holder, error) {
	if who := k.holders[device]; who != nil {
		return who, nil
	}
	who := &holder{}
	if err := readRecord(k.v, kindHolder, device.String(), who); err != nil && !errors.Is(err, ErrNotFound) {
		return nil, err
	}
	d, err := readDevice(k.v, device)
	switch {
	case errors.Is(err, ErrNotFound):
		who.gone = true
	case err != nil:
		return nil, err
	default:
		who.gone = d.State != Active
	}
	k.holders[device] = who
	return who, nil
}

func shareID(t *table, c int, key change.Key) string {
	return shareGroup(t.schema.Name, t.names[c]) + hex.EncodeToString([]byte(key.ID()))
}

// shareGroup is what the IDs of all shares of one counter begin with.
func shareGroup(table, column string) string {
	return strings.ToLower(table) + "/" + strings.ToLower(column) + "/"
}

func (k *book) read(t *table, c int, key change.Key) (*share, error) {
	s := &share{}
	err := readRecord(k.v, kindShare, shareID(t, c, key), s)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return nil, err
	}
	if s.Held == nil {
		*s = share{Table: t.schema.Name, Column: t.names[c], Key: key, Held: map[string]held{}}
	}
	return s, nil
}

func (k *book) write(t *table, c int, key change.Key, s *share) error {
	if len(s.Held) == 0 {
		return k.tx.PutRecord(kindShare, shareID(t, c, key), nil)
	}
	return writeRecord(k.tx, kindShare, shareID(t, c, key), s)
}

// valid reports whether a device still holds what the record says: it is not
// revoked, and no later life of its file gave it up.
func (k *book) valid(device change.DeviceID, x held) (bool, error) {
	who, err := k.holder(device)
	return err == nil && !who.gone && !slices.Contains(who.Past, x.Inc), err
}

// sum is what a device holds, and what all others do.
func (k *book) sum(s *share, device change.DeviceID) (own held, has bool, others int64, err error) {
	for id, x := range s.Held {
		d, err := change.ParseDeviceID(id)
		if err != nil {
			return own, false, 0, err
		}
		ok, err := k.valid(d, x)
		if err != nil {
			return own, false, 0, err
		}
		switch {
		case !ok:
			delete(s.Held, id) // never valid again
		case d == device:
			own, has = x, true
		default:
			others = sumCapped(others, x.Left)
		}
	}
	return own, has, others, nil
}

// share answers for one counter of one row.
func (l *lending) share(ask *wire.ShareLeft) error {
	t := l.shape.table(ask.Table)
	if t == nil || len(ask.Key) != len(t.key) || ask.Left < 0 {
		return nil
	}
	c := t.column(ask.Column)
	if c < 0 || t.cols[c].rule.Floor == nil {
		return nil
	}
	own := *ask // under the key as the hub's column types have it: as work comes
	own.Key = t.present(&change.Op{Key: ask.Key}).Key
	add, err := l.fairShare(t, c, &own)
	if err != nil {
		return err
	}
	l.out.Shares = append(l.out.Shares, wire.ShareGrant{Table: ask.Table, Key: ask.Key, Column: ask.Column, Add: add})
	return nil
}

// fairShare decides how a device's share moves: up to an even part of what there
// is, one part staying free, as far as it is free. A device that holds much more
// while little is free is asked to give back; the record follows when it did.
func (l *lending) fairShare(t *table, c int, ask *wire.ShareLeft) (add int64, err error) {
	row, err := l.tx.Row(t.schema.Name, ask.Key)
	if err != nil || row == nil {
		return 0, err
	}
	scope, err := l.tx.ScopeOf(t.schema.Name, row)
	if err != nil || rightsOf(l.dev.Grants)[scope]&rule.Update == 0 {
		return 0, err
	}
	s, err := l.book.read(t, c, ask.Key)
	if err != nil {
		return 0, err
	}
	own, has, others, err := l.book.sum(s, l.dev.ID)
	if err != nil {
		return 0, err
	}
	out := own.Left
	if !l.late { // otherwise the device may hold more than it did then
		out = min(own.Left, ask.Left)
	}
	if l.who.Since != l.epoch && (!has || own.Epoch != l.epoch) {
		out = ask.Left // the hub was set back: only the device knows
	}
	writers, err := l.writers(scope)
	if err != nil {
		return 0, err
	}
	room := max(row[c].Int()-*t.cols[c].rule.Floor, 0)
	fair := room / (writers + 1)
	if room%(writers+1) > 0 {
		fair++
	}
	free := max(room-sumCapped(others, out), 0)
	target := out
	switch {
	case out < fair:
		out += min(fair-out, free)
		target = out
	case out-fair > fair && free < fair:
		target = fair
	}
	s.Held[l.dev.ID.String()] = held{Inc: l.who.Inc, Epoch: l.epoch, Left: out}
	return target - ask.Left, l.book.write(t, c, ask.Key, s)
}

// writers counts the devices that may change rows of a scope; at least one.
func (l *lending) writers(scope rule.ScopeID) (int64, error) {
	if l.all == nil {
		l.all = []rights{}
		err := eachDevice(l.tx, func(d *Device) error {
			if d.State == Active {
				l.all = append(l.all, rightsOf(d.Grants))
			}
			return nil
		})
		if err != nil {
			return 0, err
		}
	}
	n := int64(0)
	for _, r := range l.all {
		if r[scope]&rule.Update != 0 {
			n++
		}
	}
	return max(n, 1), nil
}

// bound keeps bounded counters above what other devices hold, and takes what this
// transaction does off its device's share, or adds it. It comes before the rows are
// written.
func (a *attempt) bound() error {
	for _, w := range a.list {
		for _, c := range w.t.bounded {
			if err := a.boundColumn(w, c); err != nil {
				return err
			}
		}
	}
	return nil
}

func (a *attempt) boundColumn(w *work, c int) error {
	if w.kind == change.Delete {
		return a.book().tx.PutRecord(kindShare, shareID(w.t, c, w.op.Key), nil)
	}
	if w.kind == 0 || w.kind == change.Update && !slices.Contains(w.set, c) {
		return nil
	}
	now := w.result[c]
	if k := now.Kind(); k != change.KindInt && k != change.KindNull {
		return refuse("floor", "row %s of %s: %s counts whole things, and would be %s", w.op.Key, w.t.schema.Name, w.t.names[c], brief(now))
	}
	s, err := a.book().read(w.t, c, w.op.Key)
	if err != nil {
		return err
	}
	device := a.tx.Device
	if a.book().operator {
		device = change.DeviceID{}
	}
	fresh := w.op.Kind == change.Insert && w.kind == change.Insert && !a.book().operator
	if fresh { // another row than the one that others held shares of
		clear(s.Held)
	}
	own, has, others, err := a.book().sum(s, device)
	if err != nil {
		return err
	}
	floor := *w.t.cols[c].rule.Floor
	falls := w.row == nil || now.Int() < w.row[c].Int()
	if least := sumCapped(floor, others); falls && now.Int() < least {
		if others == 0 {
			return refuse("floor", "row %s of %s: %s would be %d, below its floor %d", w.op.Key, w.t.schema.Name, w.t.names[c], now.Int(), floor)
		}
		return refuse("floor", "row %s of %s: %s would be %d, and must not go below %d: other devices hold shares of %d of it", w.op.Key, w.t.schema.Name, w.t.names[c], now.Int(), least, others)
	}
	if a.book().operator {
		return nil
	}
	left := max(own.Left+delta(w, c, floor), 0)
	if !fresh && left == own.Left {
		return nil
	}
	if !has {
		own = held{Inc: a.tx.Incarnation, Epoch: a.start.Epoch}
	}
	own.Left = left
	if left > 0 || has {
		s.Held[device.String()] = own
	}
	return a.book().write(w.t, c, w.op.Key, s)
}

// delta is what an operation adds to its device's share.
func delta(w *work, c int, floor int64) int64 {
	if w.op.Kind == change.Insert {
		return max(w.result[c].Int()-floor, 0)
	}
	j := slices.Index(w.cols, c)
	if j < 0 || j >= len(w.op.New) || j >= len(w.op.Base) {
		return 0
	}
	return w.op.New[j].Int() - w.op.Base[j].Int()
}

func sumCapped(a, b int64) int64 {
	if b > 0 && a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}

// book is the batch's book of shares.
func (b *batch) book() *book {
	if b.shares == nil {
		b.shares = newBook(b.tx)
	}
	return b.shares
}

func (r *LeaseReport) shares(v View) error {
	k := &book{v: v, holders: map[change.DeviceID]*holder{}}
	at := map[string]int{}
	err := eachRecord(v, kindShare, "", func(id string, body []byte) error {
		var s share
		if err := json.Unmarshal(body, &s); err != nil {
			return fmt.Errorf("decode share %s: %w", id, err)
		}
		for dev, x := range s.Held {
			device, err := change.ParseDeviceID(dev)
			if err != nil {
				return err
			}
			if ok, err := k.valid(device, x); err != nil {
				return err
			} else if !ok {
				continue
			}
			key := s.Table + "/" + s.Column + "/" + dev
			i, ok := at[key]
			if !ok {
				i, at[key] = len(r.Shares), len(r.Shares)
				r.Shares = append(r.Shares, ShareReport{Table: s.Table, Column: s.Column, Device: device})
			}
			r.Shares[i].Rows++
			r.Shares[i].Held += x.Left
		}
		return nil
	})
	slices.SortFunc(r.Shares, func(a, b ShareReport) int {
		return cmp.Or(cmp.Compare(a.Table, b.Table), cmp.Compare(a.Column, b.Column), slices.Compare(a.Device[:], b.Device[:]))
	})
	return err
}
