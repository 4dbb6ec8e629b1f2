package sim

import (
	"errors"
	"fmt"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/rule"
)

// invoiceDDL is a table whose numbers people read out on the telephone: no two rows
// of the whole company may have the same.
const invoiceDDL = `CREATE TABLE invoice (id TEXT PRIMARY KEY, no INTEGER UNIQUE, ledger_id TEXT NOT NULL REFERENCES ledger(id))`

// scarce is the stock of each item at the start, where it has a floor.
const scarce = 40

func declareLeases(r *rule.Rules) {
	floor := int64(0)
	stock := r.Table("stock")
	qty := stock.Columns["qty"]
	qty.Floor = &floor
	stock.Columns["qty"] = qty
	r.Tables = append(r.Tables, rule.Table{Name: "invoice", Scope: rule.Scope{All: true},
		Columns: map[string]rule.Column{"no": {Lease: &rule.Lease{Size: 12, Low: 4, Start: 100}}}})
}

// invoice takes the next number of the file, by name or by leaving it out.
func (a *app) invoice(d *deed) (bool, error) {
	if a.atHub() {
		return false, nil
	}
	id := a.fresh("i")
	var err error
	if a.rng.IntN(2) == 0 {
		err = a.exec(`INSERT INTO invoice (id, no, ledger_id) SELECT ?, next, ? FROM tidemark_number WHERE name='invoice.no' AND next IS NOT NULL`, id, change.Text(d.ledger))
	} else {
		err = a.exec(`INSERT INTO invoice (id, ledger_id) VALUES (?, ?)`, id, change.Text(d.ledger))
	}
	if err != nil {
		return false, err
	}
	no, ok, err := one(a.conn, `SELECT no FROM invoice WHERE id=?`, id)
	if err != nil || !ok {
		return false, err
	}
	if no.IsNull() {
		return false, fmt.Errorf("I1: %s was given no number", id.Str())
	}
	d.number = no.Int()
	return true, nil
}

// checkFloor: no message ever brings a bounded counter below its floor at the hub.
func (w *world) checkFloor() error {
	if w.opt.Families&Leases == 0 {
		return nil
	}
	low, err := rows(w.hub.app.conn, `SELECT id, qty FROM stock WHERE qty<0`)
	if err == nil && len(low) > 0 {
		err = fmt.Errorf("the hub has less than nothing of %v", low)
	}
	return err
}

// checkNumbers: no number was given out twice, but by files that were copied or
// put back and had no way to know, or by a hub that had none.
func (w *world) checkNumbers() error {
	if w.blind {
		return nil
	}
	var errs []error
	first := map[int64]*deed{}
	for _, d := range w.oracle.deeds {
		if d.number == 0 {
			continue
		}
		o := first[d.number]
		if o == nil {
			first[d.number] = d
			continue
		}
		w.sometimes("number used twice by copies")
		if !w.oracle.copied[d.by] && !w.oracle.copied[o.by] {
			errs = append(errs, fmt.Errorf("number %d was given to %s and to %s", d.number, o.ledger, d.ledger))
		}
	}
	return errors.Join(errs...)
}

// checkParkedFloor: what a device sold within its shares is never refused, unless
// its file was copied or put back, or the hub was.
func (w *world) checkParkedFloor(p *hub.Parked) error {
	if p.Code != "floor" {
		return nil
	}
	w.sometimes("parked below the floor")
	if w.hub.put {
		return nil
	}
	for _, s := range w.edges {
		if s.name() == p.Device && !w.oracle.copied[s.app.name] {
			return fmt.Errorf("e%d sold what its share allowed, and the hub refused it: %s", s.n, p.Reason)
		}
	}
	return nil
}
