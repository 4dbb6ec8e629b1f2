package sim

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/rule"
)

// The oracle remembers what applications committed, and nothing of how it syncs.
type oracle struct {
	deeds    []*deed
	stock    map[string]int64 // initial quantities
	account  map[string]int64
	copied   map[string]bool               // applications whose files were copied or put back
	salvaged map[string]bool               // keys of rows that a person took back from what devices held
	forced   bool                          // a person wrote over amounts that were written since, with what was held
	before   map[change.Epoch]change.Epoch // which life of the hub each one began in
	retried  map[string]bool               // ledger rows of transactions that a person had applied
	refused  map[string]bool               // ledger rows that devices held and a person let go of: no journal has them
}

func (o *oracle) init() {
	o.stock, o.account, o.copied = map[string]int64{}, map[string]int64{}, map[string]bool{}
	o.salvaged, o.refused = map[string]bool{}, map[string]bool{}
	o.retried, o.before = map[string]bool{}, map[change.Epoch]change.Epoch{}
}

func (o *oracle) remember(d *deed) { o.deeds = append(o.deeds, d) }

// checkSite looks at one file as its application sees it, at any moment of a history.
func (w *world) checkSite(s *site) error {
	if ready, err := s.ready(); err != nil || !ready {
		return err
	}
	sum, _, err := one(s.app.conn, `SELECT total(balance) FROM account`)
	if err != nil {
		return err
	}
	if sum.Float() != 0 && !w.oracle.forced {
		return fmt.Errorf("I4: e%d sees a torn transfer: balances add up to %v", s.n, sum)
	}
	broken, err := s.app.conn.broken()
	if err != nil {
		return err
	}
	if len(broken) > 0 {
		return fmt.Errorf("I4: e%d has broken foreign keys: %v", s.n, broken)
	}
	return nil
}

// checkEnd compares the world at rest with what the oracle kept.
func (w *world) checkEnd() error {
	return errors.Join(w.checkDeeds(), w.checkSums(), w.checkGone(), w.checkReplicas(), w.checkScopes(), w.checkReceipts(), w.checkLosses(), w.checkNumbers())
}

// checkDeeds: each committed transaction is at the hub or was settled by a person (I1, I8).
func (w *world) checkDeeds() error {
	discarded, err := w.discarded()
	if err != nil {
		return err
	}
	var errs []error
	for _, d := range w.oracle.deeds {
		at, err := w.atHubNow(d)
		if err != nil {
			return err
		}
		if at && d.poisoned {
			errs = append(errs, fmt.Errorf("I11: %s breaks a rule and is at the hub", d.ledger))
		}
		if at && d.undone != 0 && !w.oracle.retried[d.ledger] {
			errs = append(errs, fmt.Errorf("I9: %s was handed in before the hub was put back on purpose, and is at the hub again though nobody looked at it", d.ledger))
		}
		if !at && !discarded[d.ledger] && !d.maybe {
			errs = append(errs, fmt.Errorf("I1: transaction %s (%s) is neither at the hub nor was it parked", d.ledger, d.kind))
		}
	}
	return errors.Join(errs...)
}

func (w *world) atHubNow(d *deed) (bool, error) {
	_, ok, err := one(w.hub.app.conn, `SELECT 1 FROM ledger WHERE id=?`, change.Text(d.ledger))
	return ok, err
}

// discarded collects the ledger ids of transactions that were settled as not to be
// applied, and received those of all that wait or were settled so. The journal
// keeps both, but for the rows that devices held.
func (w *world) discarded() (map[string]bool, error) {
	out, err := w.journalled(hub.Discarded)
	if err != nil {
		return nil, err
	}
	maps.Copy(out, w.oracle.refused)
	return out, nil
}

func (w *world) received() (map[string]bool, error) {
	out, err := w.journalled(hub.Discarded, hub.Quarantined)
	if err != nil {
		return nil, err
	}
	maps.Copy(out, w.oracle.refused)
	parked, err := w.hub.hub.Queue(w.ctx, change.DeviceID{})
	for _, p := range parked {
		if err := heldRows(&p, out); err != nil {
			return nil, err
		}
	}
	return out, err
}

// heldRows adds the ledger rows to a set that a salvage holds.
func heldRows(p *hub.Parked, to map[string]bool) error {
	if !p.Salvage {
		return nil
	}
	t, err := p.Transaction()
	if err == nil {
		ledgers(t, to)
	}
	return err
}

func (w *world) journalled(states ...hub.Status) (map[string]bool, error) {
	out := map[string]bool{}
	for _, st := range states {
		if err := w.journalledAs(st, out); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (w *world) journalledAs(st hub.Status, out map[string]bool) error {
	var ids []change.TxID
	p := w.hub.app.conn
	err := p.query(`SELECT id FROM `+p.words().journal+` WHERE status=?`, func(row []change.Value) error {
		ids = append(ids, change.TxID([]byte(row[0].Str())))
		return nil
	}, change.Int(int64(st)))
	if err != nil {
		return err
	}
	return w.hub.store.View(w.ctx, func(v hub.View) error {
		for _, id := range ids {
			tx, err := v.Payload(id)
			if err != nil {
				return fmt.Errorf("read %s transaction %s: %w", st, id, err)
			}
			ledgers(tx, out)
		}
		return nil
	})
}

// checkSums: what is at the hub took effect exactly once and whole (I1, I4).
func (w *world) checkSums() error {
	if len(w.oracle.salvaged) > 0 {
		return nil
	}
	stock, account := map[string]int64{}, map[string]int64{}
	for id, n := range w.oracle.stock {
		stock[id] = n
	}
	for id, n := range w.oracle.account {
		account[id] = n
	}
	for _, d := range w.oracle.deeds {
		at, err := w.atHubNow(d)
		if err != nil {
			return err
		}
		if !at {
			continue
		}
		for id, n := range d.stock {
			stock[id] += n
		}
		for id, n := range d.account {
			account[id] += n
		}
	}
	var errs []error
	for _, c := range []struct {
		sql  string
		want map[string]int64
	}{{`SELECT qty FROM stock WHERE id=?`, stock}, {`SELECT balance FROM account WHERE id=?`, account}} {
		for id, want := range c.want {
			got, _, err := one(w.hub.app.conn, c.sql, change.Text(id))
			if err != nil {
				return err
			}
			if got.Int() != want {
				errs = append(errs, fmt.Errorf("I1: %s is %d at the hub, the transactions there add up to %d", id, got.Int(), want))
			}
		}
	}
	return errors.Join(errs...)
}

// checkGone: what somebody deleted, and nobody else touched, stays deleted (I3).
func (w *world) checkGone() error {
	var errs []error
	touched := map[string]bool{}
	for _, d := range w.oracle.deeds {
		for _, e := range d.edits {
			touched[e.id] = touched[e.id] || d.kind == "edit once"
		}
	}
	for _, d := range w.oracle.deeds {
		// A salvage brings back rows, also of a deed that deleted one: not its deletion.
		if d.gone == "" || touched[d.gone] || w.oracle.salvaged[d.gone] || w.oracle.salvaged[d.ledger] {
			continue
		}
		at, err := w.atHubNow(d)
		if err != nil {
			return err
		}
		_, back, err := one(w.hub.app.conn, `SELECT 1 FROM once WHERE id=?`, change.Text(d.gone))
		if err != nil {
			return err
		}
		if at && back {
			errs = append(errs, fmt.Errorf("I3: row %s, deleted by %s, is back", d.gone, d.ledger))
		}
	}
	return errors.Join(errs...)
}

// checkReplicas: every edge holds exactly the hub's rows of its scopes (I2), and
// foreign keys hold everywhere (I4).
func (w *world) checkReplicas() error {
	var errs []error
	broken, err := w.hub.app.conn.broken()
	if err != nil {
		return err
	}
	if len(broken) > 0 {
		errs = append(errs, fmt.Errorf("I4: the hub has broken foreign keys: %v", broken))
	}
	for _, s := range w.edges {
		grants, err := w.grantsOf(s)
		if err != nil {
			return err
		}
		list := queries(grants)
		once, err := w.onceQuery(s)
		if err != nil {
			return err
		}
		list = append(list, once)
		if w.opt.Families&Leases != 0 {
			const sql = `SELECT id, no, ledger_id FROM invoice ORDER BY id`
			list = append(list, query{"invoice", sql, sql})
		}
		for _, q := range list {
			want, err := rows(w.hub.app.conn, q.hub)
			if err != nil {
				return err
			}
			got, err := rows(s.app.conn, q.edge)
			if err != nil {
				return err
			}
			if !slices.Equal(want, got) {
				errs = append(errs, fmt.Errorf("I2: e%d differs from the hub in %s:\n  hub only: %s\n  edge only: %s",
					s.n, q.table, strings.Join(minus(want, got), "; "), strings.Join(minus(got, want), "; ")))
			}
		}
		st, err := s.engine.Status()
		if err != nil {
			return err
		}
		if st.Waiting != 0 || st.Unsettled != 0 || st.Quarantined != 0 || st.OldestUnsafe != 0 {
			errs = append(errs, fmt.Errorf("I8: e%d at rest reports %d waiting, %d unsettled, %d quarantined, oldest unsafe %v", s.n, st.Waiting, st.Unsettled, st.Quarantined, st.OldestUnsafe))
		}
	}
	return errors.Join(errs...)
}

type query struct{ table, hub, edge string }

func queries(grants []rule.Grant) []query {
	in := []string{"''"} // a list must not be empty
	for _, g := range grants {
		if g.Scope != rule.ScopeAll {
			in = append(in, "'"+strings.TrimPrefix(string(g.Scope), "branch/")+"'")
		}
	}
	mine := "branch_id IN (" + strings.Join(in, ",") + ")"
	out := []query{}
	for _, t := range []struct{ name, cols string }{
		{"branch", "id, name"}, {"stock", "id, item, qty, low"}, {"account", "id, balance"},
		{"tag", "id, label, ledger_id"}, {"ledger", "id, what"},
	} {
		sql := `SELECT ` + t.cols + ` FROM ` + t.name + ` ORDER BY id`
		out = append(out, query{t.name, sql, sql})
	}
	const p, v = `SELECT id, branch_id, name, phone, note, visits FROM patient`, `SELECT id, patient_id, body FROM visit`
	return append(out,
		query{"patient", p + ` WHERE ` + mine + ` ORDER BY id`, p + ` ORDER BY id`},
		query{"visit", v + ` WHERE patient_id IN (SELECT id FROM patient WHERE ` + mine + `) ORDER BY id`, v + ` ORDER BY id`})
}

func minus(a, b []string) []string {
	var out []string
	for _, x := range a {
		if !slices.Contains(b, x) {
			out = append(out, x)
		}
	}
	return out
}

// checkScopes: nothing in a file lies outside what its device may read (I6).
func (w *world) checkScopes() error {
	var errs []error
	for _, s := range w.edges {
		held, err := rows(s.app.conn, `SELECT DISTINCT branch_id FROM patient`)
		if err != nil {
			return err
		}
		grants, err := w.grantsOf(s)
		if err != nil {
			return err
		}
		for _, b := range held {
			if !slices.ContainsFunc(grants, func(g rule.Grant) bool { return g.Scope == scopeOf(strings.Trim(b, "'")) }) {
				errs = append(errs, fmt.Errorf("I6: e%d holds rows of branch %s, which it may not read", s.n, b))
			}
		}
	}
	return errors.Join(errs...)
}

// checkReceipts: each receipt tells who lost what to whom, under which rule (I7).
func (w *world) checkReceipts() error {
	receipts, err := w.hub.hub.Receipts(w.ctx, hub.ReceiptFilter{})
	if err != nil {
		return err
	}
	var errs []error
	for _, r := range receipts {
		w.sometimes("receipt: " + r.Kind)
		if r.Table == "" || len(r.Key) == 0 || r.Rule == "" || r.Winner.Side == "" || r.Loser.Side == "" {
			errs = append(errs, fmt.Errorf("I7: receipt %s leaves something out: %+v", r.ID, r))
		}
	}
	return errors.Join(errs...)
}

// overwrote tells of each value which one its author saw: whoever built on a value
// that never stood at the hub, as a person discarded it, built on that one, too.
func (o *oracle) overwrote() map[string]string {
	out := map[string]string{}
	for _, d := range o.deeds {
		for _, e := range d.edits {
			out[e.column+" "+e.next] = e.column + " " + e.prev
		}
	}
	return out
}

// sawOut notes what an application had put into a row that it deleted itself. Where
// nobody captured that, and the table was left empty, the row comes from the hub again,
// as it was before.
func (w *world) sawOut(d *deed, seen map[string]bool) {
	for _, o := range w.oracle.deeds {
		for _, e := range o.edits {
			if d.gone != "" && e.id == d.gone && o.by == d.by && o.n < d.n {
				seen[e.column+" "+e.next] = true
			}
		}
	}
}

// checkLosses: a value that somebody entered, and that reached the hub, stands
// there, or was overwritten by somebody who saw it, or lost a decision that left a
// receipt (I7). Nothing is lost in silence.
func (w *world) checkLosses() error {
	receipts, err := w.hub.hub.Receipts(w.ctx, hub.ReceiptFilter{})
	if err != nil {
		return err
	}
	lost, gone := map[string]bool{}, map[string]bool{}
	for _, r := range receipts {
		column := r.Column
		if column == "content" {
			column = "body"
		}
		lost[column+" "+r.Hub.Str()], lost[column+" "+r.Edge.Str()] = true, true
		if r.Kind != "column" && len(r.Key) == 1 {
			gone[r.Key[0].Str()] = true // a row at stake as a whole: its receipt holds the row
		}
	}
	seen, before := map[string]bool{}, w.oracle.overwrote()
	var at []edit
	for _, d := range w.oracle.deeds {
		here, err := w.atHubNow(d)
		if err != nil {
			return err
		}
		if here && !w.oracle.salvaged[d.ledger] {
			for _, e := range d.edits {
				if d.whole && (!d.bare || e.column != "extra") {
					at = append(at, e)
				}
				for what := e.column + " " + e.prev; what != "" && !seen[what]; what = before[what] {
					seen[what] = true
				}
			}
			w.sawOut(d, seen)
		}
	}
	var errs []error
	for _, e := range at {
		column, ok := w.atHubColumn(e)
		if !ok {
			continue
		}
		now, there, err := one(w.hub.app.conn, `SELECT `+column+` FROM `+e.table+` WHERE id=?`, change.Text(e.id))
		if err != nil {
			return err
		}
		what := e.column + " " + e.next
		if !there || gone[e.id] || w.oracle.salvaged[e.id] || now.Str() == e.next || seen[what] || lost[what] {
			continue
		}
		errs = append(errs, fmt.Errorf("I7: %s of %s is %q: the value %q was lost without a receipt", e.column, e.id, now.Str(), e.next))
	}
	return errors.Join(errs...)
}
