package admit

import (
	"slices"

	"github.com/tidemark-sync/tidemark/change"
)

// A ring is the queue of one class: devices take turns, and each one's asks keep
// their order.
type ring struct {
	order []change.DeviceID // who has something waiting, next first
	asks  map[change.DeviceID][]*Ticket
	n     int
}

func (r *ring) push(t *Ticket) {
	if r.asks == nil {
		r.asks = map[change.DeviceID][]*Ticket{}
	}
	who := t.ask.Who
	if len(r.asks[who]) == 0 {
		r.order = append(r.order, who)
	}
	r.asks[who] = append(r.asks[who], t)
	r.n++
}

// first is who is next, or nil.
func (r *ring) first() *Ticket {
	if len(r.order) == 0 {
		return nil
	}
	return r.asks[r.order[0]][0]
}

// remove takes a ticket out. The other devices keep their places.
func (r *ring) remove(t *Ticket) {
	who := t.ask.Who
	list := r.asks[who]
	i := slices.Index(list, t)
	if i < 0 {
		return
	}
	r.n--
	if list = slices.Delete(list, i, i+1); len(list) > 0 {
		r.asks[who] = list
		return
	}
	delete(r.asks, who)
	if r.order[0] == who { // mostly
		r.order = r.order[1:]
		return
	}
	i = slices.Index(r.order, who)
	r.order = slices.Delete(r.order, i, i+1)
}

// rotate puts a device that had its turn behind the others, when it has more.
func (r *ring) rotate(who change.DeviceID) {
	if len(r.order) > 1 && r.order[0] == who {
		r.order = append(r.order[1:], who)
	}
}
