package edge

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/rule"
)

// strict makes the fake hub judge transactions as a real one would: what breaks
// a constraint, or builds on something parked, is parked.
func (h *fakeHub) strict() {
	h.decide = func(tx *change.Transaction) (uint8, string) {
		if h.dependsOnParked(tx) {
			h.park(tx)
			return outcomeQuarantined, "depends on parked work"
		}
		keep := map[string]map[string][]change.Value{}
		for t, m := range h.rows {
			keep[t] = maps.Clone(m)
		}
		n, ok := len(h.log), true
		for i := range tx.Ops {
			op := &tx.Ops[i]
			_, there := h.rows[op.Table][op.Key.ID()]
			ok = ok && there == (op.Kind != change.Insert) && h.allowed(op)
		}
		if ok {
			h.apply(tx, tx.Incarnation)
			ok = h.consistent()
			for i := range tx.Ops {
				ok = ok && h.allowed(&tx.Ops[i])
			}
		}
		h.rows, h.log = keep, h.log[:n]
		if !ok {
			h.park(tx)
			return outcomeQuarantined, "constraint"
		}
		return outcomeApplied, ""
	}
}

// allowed judges an operation by the scope of its row as it stands.
func (h *fakeHub) allowed(op *change.Op) bool {
	row := h.rows[op.Table][op.Key.ID()]
	return row == nil || h.readable(h.scope(op.Table, row))
}

func (h *fakeHub) park(tx *change.Transaction) { h.parked = append(h.parked, tx) }

func touches(tx *change.Transaction) map[string]bool {
	out := map[string]bool{}
	for i := range tx.Ops {
		op := &tx.Ops[i]
		out[op.Table+op.Key.ID()] = true
		if op.Table != "visit" {
			continue
		}
		if j := op.Column("patient_id"); j >= 0 {
			for _, vals := range [][]change.Value{op.New, op.Base} {
				if vals != nil {
					out["patient"+change.Key{vals[j]}.ID()] = true
				}
			}
		}
	}
	return out
}

func (h *fakeHub) dependsOnParked(tx *change.Transaction) bool {
	mine := touches(tx)
	for _, p := range h.parked {
		for k := range touches(p) {
			if mine[k] {
				return true
			}
		}
	}
	return false
}

func (h *fakeHub) consistent() bool {
	cards := map[change.Value]bool{}
	for _, row := range h.rows["patient"] {
		if !row[4].IsNull() && cards[row[4]] {
			return false
		}
		cards[row[4]] = true
	}
	for _, row := range h.rows["visit"] {
		if h.get("patient", row[1]) == nil {
			return false
		}
	}
	return true
}

// drop deletes a patient at the hub, with its visits.
func (h *fakeHub) drop(id string) {
	for _, v := range h.ids("visit") {
		if row := h.rows["visit"][v]; row[1] == text(id) {
			h.del("visit", row[0])
		}
	}
	if h.get("patient", text(id)) != nil {
		h.del("patient", text(id))
	}
}

// hubPut writes a patient at the hub when its constraints allow it.
func (h *fakeHub) hubPut(id string, branch int64, name string, card change.Value) {
	for _, row := range h.rows["patient"] {
		if !card.IsNull() && row[4] == card && row[0] != text(id) {
			card = change.Null
		}
	}
	visits := num(0)
	if old := h.get("patient", text(id)); old != nil {
		visits = num(old[3].Int() + 1)
	}
	h.put("patient", text(id), num(branch), text(name), visits, card)
}

// TestEdge_Converges lets an application, other devices and an unreliable line
// do what they like. At every moment foreign keys hold and the hub's view in the
// file is some state of the hub; once everything is settled, both are equal.
func TestEdge_Converges(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		c := newClinic(t)
		defer c.close()
		c.t, c.h.t = r, r
		c.h.chunk = 3
		c.h.scopeOf = clinicScope(c.h)
		c.h.strict()
		c.grant(0, 1, 2)
		for i := range 4 {
			c.h.hubPut(fmt.Sprint("p", i), int64(i%3), "start", change.Null)
			c.h.put("visit", text(fmt.Sprint("v", i)), text(fmt.Sprint("p", i)), text("start"))
		}
		c.dial().sync()
		id := rapid.IntRange(0, 5)
		card := rapid.IntRange(0, 3)
		steps := rapid.IntRange(1, 25).Draw(r, "steps")
		for n := range steps {
			p, k := fmt.Sprint("p", id.Draw(r, "p")), card.Draw(r, "card")
			cardV, cardSQL := change.Null, "NULL"
			if k > 0 {
				cardV, cardSQL = text(fmt.Sprint("c", k)), fmt.Sprintf("'c%d'", k)
			}
			v := fmt.Sprint("v", id.Draw(r, "v"))
			b := int64(rapid.IntRange(0, 2).Draw(r, "branch"))
			switch rapid.IntRange(0, 13).Draw(r, "what") {
			case 0:
				_ = c.try(fmt.Sprintf("INSERT INTO patient VALUES ('%s', %d, 'app%d', 0, %s)", p, b, n, cardSQL))
			case 1:
				_ = c.try(fmt.Sprintf("UPDATE patient SET name='app%d', visits=visits+1 WHERE id='%s'", n, p))
			case 2:
				_ = c.try(fmt.Sprintf("UPDATE patient SET card=%s, branch=%d WHERE id='%s'", cardSQL, b, p))
			case 3:
				_ = c.try(fmt.Sprintf("DELETE FROM patient WHERE id='%s'", p))
			case 4:
				_ = c.try(fmt.Sprintf("INSERT INTO visit VALUES ('%s', '%s', 'app%d')", v, p, n))
			case 5:
				_ = c.try(fmt.Sprintf("UPDATE visit SET note='app%d', patient_id='%s' WHERE id='%s'", n, p, v))
			case 6:
				c.h.hubPut(p, b, fmt.Sprint("hub", n), cardV)
			case 7:
				c.h.drop(p)
			case 8:
				if c.h.get("patient", text(p)) != nil {
					c.h.put("visit", text(v), text(p), text(fmt.Sprint("hub", n)))
				}
			case 9:
				c.export()
			case 10:
				c.cutSync(r, rapid.IntRange(1, 20).Draw(r, "cut"))
			case 11:
				c.dial().sync()
				c.agree(false)
			case 12:
				switch rapid.IntRange(0, 3).Draw(r, "trouble") {
				case 0:
					c.h.floor = len(c.h.log)
				case 1:
					c.grant(0, 1)
				case 2:
					c.grant(1, 2)
				case 3:
					c.grant(0, 1, 2)
				}
			case 13:
				c.concludeOne()
			}
			c.foreign()
			c.want("SELECT count(*) FROM _tidemark_applying", "0")
		}
		c.dial().sync()
		for len(c.h.parked) > 0 {
			c.concludeOne()
		}
		c.dial().sync()
		c.agree(true)
		c.foreign()
	})
}

// grant gives the device some branches.
func (c *clinic) grant(branches ...int) {
	c.h.grants = nil
	for _, b := range branches {
		c.h.grants = append(c.h.grants, rule.Grant{Scope: rule.ScopeID(fmt.Sprint("branch/", b)), Verbs: rule.Every})
	}
}

// cutSync is a session that ends after some messages, and an agent that crashes.
func (c *clinic) cutSync(r *rapid.T, messages int) {
	l := c.dial()
	l.limit = messages
	if err := l.run(); err != nil {
		r.Fatal(err)
	}
	if err := l.s.Nudge(context.Background(), l.send); err != nil {
		r.Fatal(err)
	}
	l.limit += messages
	if err := l.run(); err != nil {
		r.Fatal(err)
	}
	_ = l.s.Close()
	if messages%3 == 0 {
		c.reopen()
	}
}

// concludeOne discards the oldest parked transaction.
func (c *clinic) concludeOne() {
	list := c.h.parked
	if len(list) == 0 {
		return
	}
	c.h.parked = slices.Clone(list[1:])
	c.h.conclude(list[0], outcomeDiscarded, "no")
}
