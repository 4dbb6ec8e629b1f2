package admit

import (
	"slices"

	"github.com/tidemark-sync/tidemark/change"
)

// A ring is the queue of one class: parties take turns, the devices of a party take
// theirs among themselves, and each device's asks keep their order.
type ring struct {
	order turns[change.Hash]
	lanes map[change.Hash]*lane
	n     int
}

// A lane is who waits of one party.
type lane struct {
	order turns[change.DeviceID]
	asks  map[change.DeviceID][]*Ticket
}

// party is with whom an ask shares its turns. Who belongs to nobody is alone.
func (a *Ask) party() change.Hash {
	if a.Party != (change.Hash{}) {
		return a.Party
	}
	var alone change.Hash
	copy(alone[:], a.Who[:])
	return alone
}

func (r *ring) push(t *Ticket) {
	if r.lanes == nil {
		r.lanes = map[change.Hash]*lane{}
	}
	l := r.lanes[t.party]
	if l == nil {
		l = &lane{asks: map[change.DeviceID][]*Ticket{}}
		r.lanes[t.party] = l
		r.order.add(t.party)
	}
	who := t.ask.Who
	if len(l.asks[who]) == 0 {
		l.order.add(who)
	}
	l.asks[who] = append(l.asks[who], t)
	r.n++
}

// first is who is next, or nil.
func (r *ring) first() *Ticket {
	if len(r.order) == 0 {
		return nil
	}
	l := r.lanes[r.order[0]]
	return l.asks[l.order[0]][0]
}

// remove takes a ticket out. The others keep their places.
func (r *ring) remove(t *Ticket) {
	l, who := r.lanes[t.party], t.ask.Who
	if l == nil {
		return
	}
	i := slices.Index(l.asks[who], t)
	if i < 0 {
		return
	}
	r.n--
	if l.asks[who] = slices.Delete(l.asks[who], i, i+1); len(l.asks[who]) > 0 {
		return
	}
	delete(l.asks, who)
	l.order.drop(who)
	if len(l.order) == 0 {
		delete(r.lanes, t.party)
		r.order.drop(t.party)
	}
}

// rotate puts who had its turn behind the others: the party behind the other parties,
// the device behind the others of its party.
func (r *ring) rotate(t *Ticket) {
	r.order.rotate(t.party)
	if l := r.lanes[t.party]; l != nil {
		l.order.rotate(t.ask.Who)
	}
}

// turns are those who have something waiting, next first.
type turns[K comparable] []K

func (o *turns[K]) add(k K) { *o = append(*o, k) }

func (o *turns[K]) drop(k K) {
	if (*o)[0] == k { // mostly
		*o = (*o)[1:]
		return
	}
	i := slices.Index(*o, k)
	*o = slices.Delete(*o, i, i+1)
}

func (o *turns[K]) rotate(k K) {
	if len(*o) > 1 && (*o)[0] == k {
		*o = append((*o)[1:], k)
	}
}
