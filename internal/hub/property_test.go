package hub_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/hub"
)

// A history is random work by three sites and another program on the hub's file,
// with lost answers, sites that stay away, rows that move and quarantines that
// people settle, from one seed.
type history struct {
	*world
	r     *rand.Rand
	sites []*site
	ids   []string // customers
	count map[string]int
}

// TestHistories_Converge checks after each history: every site has exactly the
// hub's rows (I2), no transaction is lost (I1), no foreign key hangs (I4), the
// counters hold exactly what was sold (exactly once), and nothing went where it
// should not (I6).
func TestHistories_Converge(t *testing.T) {
	total := map[string]int{}
	for seed := range uint64(12) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			h := &history{world: newWorld(t), r: rand.New(rand.NewPCG(seed, 7)), count: total}
			h.run()
		})
	}
	for _, rare := range []string{"applied", "merged", "quarantined", "receipt", "retry", "resend", "rebase"} {
		if total[rare] == 0 {
			t.Errorf("no history had a %s", rare)
		}
	}
	t.Log(total)
}

func (h *history) run() {
	h.sql("INSERT INTO product VALUES ('p','tea',1,'T'); INSERT INTO stock VALUES ('T','x',1000)")
	for _, b := range []string{"1", "2"} {
		for i := range 4 {
			id := fmt.Sprintf("c%s%d", b, i)
			h.ids = append(h.ids, id)
			h.sql(fmt.Sprintf("INSERT INTO customer(id,branch,name,age) VALUES ('%s','%s','n',0); INSERT INTO orders VALUES ('o%s','%s','new',1)", id, b, id, id))
		}
	}
	h.sites = []*site{h.site("a", branchGrant("1"), everywhere), h.site("b", branchGrant("1"), branchGrant("2"), everywhere), h.site("c", branchGrant("2"), everywhere)}
	waiting := map[*site][]*change.Transaction{}
	for range 120 {
		s := h.sites[h.r.IntN(len(h.sites))]
		h.clock.Advance(time.Duration(h.r.IntN(3000)) * time.Millisecond)
		switch k := h.r.IntN(20); {
		case k < 10:
			if ops, bases := h.work(s); len(ops) > 0 {
				waiting[s] = append(waiting[s], h.build(s, ops, bases))
			}
		case k < 13 && len(waiting[s]) > 0:
			s.push(waiting[s]...)
			if h.r.IntN(3) == 0 { // the answer gets lost: they are sent again, with more
				h.count["resend"]++
				continue
			}
			waiting[s] = nil
		case k < 17:
			s.sync(h)
		case k == 17:
			h.other()
		case k == 18:
			h.person()
		}
	}
	for range 3 {
		for _, s := range h.sites {
			s.push(waiting[s]...)
			waiting[s] = nil
		}
		h.person()
	}
	h.check()
}

// sync pulls; a site that has to start over does.
func (s *site) sync(h *history) {
	s.t.Helper()
	if h.r.IntN(12) == 0 { // it lost its copy, or was away too long
		h.count["rebase"]++
		s.mark = 0
		s.rebootstrap()
		return
	}
	s.pull()
}

// rebootstrap reads the rows anew and ends with an echoing pull, as an edge does.
func (s *site) rebootstrap() {
	s.t.Helper()
	sent := s.sent
	s.sent = nil // with echo, what did not come did not change
	s.bootstrapEcho()
	s.sent = sent
}

// build makes a transaction whose operations name what their author had seen.
func (h *history) build(s *site, ops []change.Op, bases []change.Cursor) *change.Transaction {
	tx := s.tx(ops...)
	tx.Bases = append(tx.Bases, bases...)
	tx.Unaware = h.r.IntN(4) == 0
	s.prev = tx.Sum()
	return tx
}

// pending is the site's transactions whose outcome it has not pulled, or that are
// in quarantine.
func (s *site) pending() []*change.Transaction {
	var out []*change.Transaction
	for _, t := range s.sent {
		if st, ok := s.done[t.Seq]; !ok || st == hub.Quarantined {
			out = append(out, t)
		}
	}
	return out
}

// look is a row on the site's screen: the hub's with the pending edits on top,
// and the base its author saw: that of the oldest pending edit.
func (s *site) look(table string, key change.Key) (row map[string]change.Value, base change.Cursor) {
	if r, ok := s.rows[table][key.ID()]; ok {
		row = map[string]change.Value{}
		for c, v := range r.vals {
			row[c] = v
		}
	}
	base = s.base
	for _, t := range s.pending() {
		for _, op := range t.Ops {
			if op.Table != table || !op.Key.Equal(key) {
				continue
			}
			if base == s.base {
				base = t.Bases[op.BaseAt]
			}
			switch {
			case op.Kind == change.Delete:
				row = nil
			case op.Kind == change.Insert || row != nil:
				if row == nil {
					row = map[string]change.Value{}
				}
				for i, c := range op.Columns {
					if table == "stock" && c == "qty" && op.Kind == change.Update {
						row[c] = change.Int(row[c].Int() + op.New[i].Int() - op.Base[i].Int())
					} else {
						row[c] = op.New[i]
					}
				}
			}
		}
	}
	return row, base
}

// work is one random transaction of a site.
func (h *history) work(s *site) (ops []change.Op, bases []change.Cursor) {
	add := func(op change.Op, base change.Cursor) {
		if base != s.base {
			bases = append(bases, base)
			op.BaseAt = len(bases)
		}
		ops = append(ops, op)
	}
	id := h.ids[h.r.IntN(len(h.ids))]
	key := change.Key{change.Text(id)}
	row, base := s.look("customer", key)
	fresh := fmt.Sprintf("%v-%d", s.inc.String()[:4], s.seq)
	switch h.r.IntN(9) {
	case 0, 1:
		k := change.Key{change.Text("T"), change.Text("x")}
		if st, b := s.look("stock", k); st != nil {
			add(updKey("stock", k, "qty", st["qty"], change.Int(st["qty"].Int()-int64(1+h.r.IntN(3)))), b)
		}
	case 2, 3:
		if row != nil {
			add(upd("customer", id, "age", row["age"], h.r.IntN(100)), base)
		}
	case 4:
		if row != nil {
			add(upd("customer", id, "name", row["name"], fresh, "age", row["age"], h.r.IntN(100)), base)
			add(ins("orders", "o"+fresh, id, "new", 1), s.base)
			add(ins("line", "o"+fresh, 1, "pen"), s.base)
		}
	case 5:
		if row != nil {
			h.family(s, id, row, base, add)
		}
	case 6: // sometimes two sites choose one address
		add(ins("customer", "x"+fresh, []string{"1", "2"}[h.r.IntN(2)], "new", fmt.Sprint("mail", h.r.IntN(6))), s.base)
		h.ids = append(h.ids, "x"+fresh)
	case 7:
		k := change.Key{change.Text("o" + id)}
		if o, b := s.look("orders", k); o != nil {
			add(upd("orders", "o"+id, "status", o["status"], fresh, "total", o["total"], h.r.IntN(50)-2), b)
		}
	case 8:
		if row != nil && s == h.sites[1] { // it may write both branches
			add(upd("customer", id, "branch", row["branch"], []string{"1", "2"}[h.r.IntN(2)]), base)
		}
	}
	return ops, bases
}

// family deletes a customer with its orders and their lines, as a cascade does.
func (h *history) family(s *site, id string, row map[string]change.Value, base change.Cursor, add func(change.Op, change.Cursor)) {
	image := func(table string, key change.Key, row map[string]change.Value) change.Op {
		op := change.Op{Table: table, Kind: change.Delete, Key: key}
		for _, c := range columnsOf[table] {
			op.Columns, op.Base = append(op.Columns, c), append(op.Base, row[c])
		}
		return op
	}
	keys := func(table string) (out []change.Key) {
		seen := map[string]bool{}
		for _, r := range s.rows[table] {
			seen[r.key.ID()] = true
			out = append(out, r.key)
		}
		for _, t := range s.pending() {
			for _, op := range t.Ops {
				if op.Table == table && !seen[op.Key.ID()] {
					seen[op.Key.ID()] = true
					out = append(out, op.Key)
				}
			}
		}
		slices.SortFunc(out, func(a, b change.Key) int { return slices.Compare([]byte(a.ID()), []byte(b.ID())) })
		return out
	}
	for _, ok := range keys("orders") {
		o, ob := s.look("orders", ok)
		if o == nil || o["customer"] != change.Text(id) {
			continue
		}
		for _, lk := range keys("line") {
			if l, lb := s.look("line", lk); l != nil && l["ord"] == ok[0] {
				add(image("line", lk, l), lb)
			}
		}
		add(image("orders", ok, o), ob)
	}
	add(image("customer", change.Key{change.Text(id)}, row), base)
}

// other is another program on the hub's file.
func (h *history) other() {
	id := h.ids[h.r.IntN(len(h.ids))]
	switch h.r.IntN(4) {
	case 0:
		h.sql(fmt.Sprintf("UPDATE customer SET name='hub%d' WHERE id='%s'", h.r.IntN(100), id))
	case 1:
		h.sql(fmt.Sprintf("UPDATE customer SET branch=CASE branch WHEN '1' THEN '2' ELSE '1' END WHERE id='%s'", id))
	case 2:
		h.sql(fmt.Sprintf("DELETE FROM customer WHERE id='%s'", id))
	case 3:
		h.sql(fmt.Sprintf("INSERT OR IGNORE INTO orders VALUES ('o%s', (SELECT id FROM customer WHERE id='%s'), 'new', 1)", id, id))
	}
}

// person settles something in quarantine.
func (h *history) person() {
	q := h.queue()
	if len(q) == 0 {
		return
	}
	p := q[h.r.IntN(len(q))]
	if len(p.DependsOn) > 0 {
		return
	}
	h.count["retry"]++
	var err error
	if h.r.IntN(2) == 0 {
		_, err = h.hub.Retry(h.ctx, p.ID)
	} else {
		_, err = h.hub.Discard(h.ctx, p.ID, "a test")
	}
	h.must(err)
}

func (h *history) check() {
	h.t.Helper()
	sold := int64(0)
	waits := map[change.TxID]bool{}
	split := map[change.TxID]int64{}
	for _, p := range h.queue() {
		waits[p.ID] = true
		if p.Split {
			t, err := p.Transaction()
			h.must(err)
			split[p.ID] = delta(t)
		}
	}
	for _, s := range h.sites {
		s.pull()
		for _, t := range s.sent {
			st, ok := s.done[t.Seq]
			if !ok {
				h.t.Errorf("transaction %d of a site has no outcome", t.Seq)
			}
			if waits[t.ID] != (st == hub.Quarantined) {
				h.t.Errorf("transaction %s is %v at its device; in quarantine: %v", t.ID, st, waits[t.ID])
			}
			h.count[st.String()]++
			switch part, isSplit := split[t.ID]; {
			case st == hub.Applied || st == hub.Merged:
				sold += delta(t)
			case isSplit:
				sold += delta(t) - part
			}
		}
	}
	h.count["receipt"] += len(h.receipts())
	h.want("SELECT qty FROM stock", fmt.Sprint(1000+sold))
	h.want("SELECT count(*) FROM pragma_foreign_key_check", "0")
	for i, s := range h.sites {
		where := []string{"branch='1'", "branch IN ('1','2')", "branch='2'"}[i]
		s.same("customer", where)
		s.same("orders", "customer IN (SELECT id FROM customer WHERE "+where+")")
		s.same("line", "ord IN (SELECT o.id FROM orders o JOIN customer c ON c.id=o.customer WHERE c."+where+")")
		s.same("stock", "1")
	}
}

// delta is what a transaction changes in the stock.
func delta(t *change.Transaction) (n int64) {
	for _, op := range t.Ops {
		if op.Table == "stock" && op.Kind == change.Update {
			n += op.New[0].Int() - op.Base[0].Int()
		}
	}
	return n
}
