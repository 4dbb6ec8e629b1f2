package hub

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/wire"
)

// A life is one incarnation of a device's file. The file begins another one when
// the hub knows more of its history than it does itself: a backup was put back, or
// there are two files. The hub cannot tell which at that moment. It can later: of a
// file that was restored the old life never speaks again, two copies speak in turns.
//
// "Speaks" means a message that answers a Welcome. A Hello alone may have lain in
// some buffer on the way, or be that of a file that is about to fork; what follows
// a Welcome that was sent after another life spoke comes from a file that is alive
// beside it.
const kindLives = "lives" // by DeviceID: lives

// CopyPolicy says what becomes of a file that goes on from an older state.
type CopyPolicy string

// The policies.
const (
	AllowCopies CopyPolicy = "allow" // it goes on by itself
	HoldCopies  CopyPolicy = "hold"  // it waits for the operator's word; its work stays in it
)

// lives is what the hub knows of the lives of one device. Turns number the changes
// of speaker, so that no clock decides what came first.
type lives struct {
	Turn  uint64             `json:"turn"`
	Last  change.Incarnation `json:"last"` // who spoke last; zero when nobody did
	Lives []Life             `json:"lives"`
	// Copies are the devices that were split off this one, directly or not, when this
	// is the device that joined with the key. They have the same key.
	Copies []change.DeviceID `json:"copies,omitempty"`
}

// A Life is one incarnation of a device's file, as the hub knows it. Times are by
// the hub's clock.
type Life struct {
	Inc    change.Incarnation `json:"incarnation"`
	Parent change.Incarnation `json:"parent,omitzero"` // which it went on from; zero for the first
	First  time.Time          `json:"first"`
	Seen   time.Time          `json:"seen"`           // when it last became the one that speaks
	Held   bool               `json:"held,omitempty"` // waits for the operator's word
	Ended  string             `json:"ended,omitempty"`
	Split  change.DeviceID    `json:"split,omitzero"` // the device that its file is from now on

	Allowed  bool   `json:"allowed,omitempty"`  // held once, and the operator let it go on
	Knows    bool   `json:"knows,omitempty"`    // its edge takes another name when it is told
	Turn     uint64 `json:"turn,omitempty"`     // when it last became the one that speaks
	Returned uint64 `json:"returned,omitempty"` // when it last did so after another one
}

func readLives(v View, device change.DeviceID) (*lives, error) {
	l := &lives{}
	err := readRecord(v, kindLives, device.String(), l)
	if errors.Is(err, ErrNotFound) {
		return l, nil
	}
	if err != nil {
		return nil, fmt.Errorf("lives of device %s: %w", device, err)
	}
	return l, nil
}

// eachLives calls fn for each device of which lives are known.
func eachLives(v View, fn func(change.DeviceID, *lives)) error {
	return eachRecord(v, kindLives, "", func(id string, body []byte) error {
		var l lives
		var d change.DeviceID
		if err := errors.Join(json.Unmarshal(body, &l), d.UnmarshalText([]byte(id))); err != nil {
			return fmt.Errorf("decode lives of device %s: %w", id, err)
		}
		fn(d, &l)
		return nil
	})
}

func (l *lives) save(tx Tx, device change.DeviceID) error {
	return writeRecord(tx, kindLives, device.String(), l)
}

// find returns a life, or nil.
func (l *lives) find(inc change.Incarnation) *Life {
	for i := range l.Lives {
		if l.Lives[i].Inc == inc {
			return &l.Lives[i]
		}
	}
	return nil
}

// continued reports whether a life goes on from another one.
func (l *lives) continued(parent change.Incarnation) bool {
	return slices.ContainsFunc(l.Lives, func(o Life) bool { return o.Parent == parent })
}

// add notes a new life. Lives found before are not to be used after it.
func (l *lives) add(inc, parent change.Incarnation, now time.Time) *Life {
	l.forget()
	l.Lives = append(l.Lives, Life{Inc: inc, Parent: parent, First: now, Seen: now})
	return &l.Lives[len(l.Lives)-1]
}

// speaks makes a life the one that spoke last. copied says that its file is one of
// two that are in use: another life came back while this one was away, and now this
// one does. One return alone does not prove it: first an old backup may have been
// put back, then a newer one of the life before.
func (l *lives) speaks(life *Life, now time.Time) (copied bool) {
	was := life.Turn
	l.Turn++
	l.Last, life.Turn, life.Seen = life.Inc, l.Turn, now
	if was == 0 {
		return false
	}
	life.Returned = l.Turn
	for i := range l.Lives {
		o := &l.Lives[i]
		if o.Inc != life.Inc && o.Split.IsZero() && o.Ended == "" && o.Returned > was {
			copied = true
		}
	}
	return copied
}

// speakers remembers who spoke last of each device, so that a message costs no
// read of the store.
type speakers struct {
	mu   sync.Mutex
	last map[change.DeviceID]change.Incarnation
}

func (s *speakers) is(d change.DeviceID, inc change.Incarnation) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last[d] == inc
}

func (s *speakers) set(d change.DeviceID, inc change.Incarnation) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last == nil {
		s.last = map[change.DeviceID]change.Incarnation{}
	}
	s.last[d] = inc
}

// A standpoint is what a session knows of its file's life.
type standpoint struct {
	knows bool   // the edge says how long its chain is, and takes another name
	turn  uint64 // of the device's lives, as this session was welcomed
	// mine is how far the chain of this very file is known to have come, when counts
	// is set: what the hub has beyond it is another file's.
	mine   uint64
	counts bool
}

// took notes how far a push brought this file's chain.
func (s *Session) took(seq uint64) { s.place.mine = max(s.place.mine, seq) }

// alone refuses to answer a file when another one went on with its chain: that
// one's rows would be left out as this one's own. The edge greets again and finds
// that its chain does not fit.
func (s *Session) alone(v View) error {
	if !s.place.counts || s.hello.Incarnation.IsZero() {
		return nil
	}
	p, err := v.Progress(s.hello.Incarnation)
	if err != nil {
		return fmt.Errorf("read progress: %w", err)
	}
	if p.Seq <= s.place.mine {
		return nil
	}
	return copiedFault()
}

func copiedFault() *wire.Fault {
	return &wire.Fault{Code: "copied", Message: "another file with the same identity is in use: one of the two is a copy of the other",
		Hint: "the file takes an identity of its own by itself; nothing is lost"}
}

// held counts the lives that wait for a word.
func (l *lives) held() (n int) {
	for i := range l.Lives {
		if l.Lives[i].Held {
			n++
		}
	}
	return n
}
