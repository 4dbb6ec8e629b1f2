package sim

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/tidemark-sync/tidemark/change"
)

// An app is a program with a connection of its own to one file, which knows
// nothing of Tidemark but, if aware, the one-line statement that starts a transaction.
type app struct {
	name  string
	conn  program
	rng   *rand.Rand
	aware bool
	n     int // transactions begun

	recipes []recipe // those of this history's families
	frugal  bool     // stock has a floor
	grows   bool     // table once changes its columns
	limit   string   // the kind of its last transaction, when a declared limit refused it
}

// newApp is an application over a connection.
func newApp(name string, c program, rng *rand.Rand, aware bool, families Family) *app {
	a := &app{name: name, conn: c, rng: rng, aware: aware, frugal: families&Leases != 0, grows: families&Schemas != 0}
	for _, r := range recipes {
		if r.family == 0 || r.family&families != 0 {
			a.recipes = append(a.recipes, r)
		}
	}
	return a
}

// A deed is what one application transaction did, as the oracle remembers it.
type deed struct {
	ledger   string           // the id of its ledger row
	by       string           // which application
	n        int              // its how-manieth transaction
	kind     string           // for the trace
	stock    map[string]int64 // what it added to stock.qty, by id
	account  map[string]int64 // what it added to account.balance, by id
	gone     string           // a row of table once that it deleted
	poisoned bool             // breaks a rule of the hub
	edits    []edit
	number   int64        // the invoice number it used, 0 for none
	undone   change.Epoch // of the life for which it was undone, after it was confirmed to its device: only a person may apply it
	maybe    bool         // went down with a disk, or a person let go of it: it may be at the hub, or not
	bare     bool         // went down with a disk but for what was handed in: no column that only the file had
	whole    bool         // travels as one transaction: a group of an unaware application may be parked in part
}

// An edit is one value that an application put in the place of another one that it
// saw. Every new value is unique in a history, and columns go by their first names.
type edit struct{ table, id, column, prev, next string }

// A recipe is one kind of transaction. It returns false when the file holds
// nothing it could work on; the transaction is then undone.
type recipe struct {
	kind   string
	weight int
	cook   func(a *app, d *deed) (bool, error)
	family Family // of hard histories; 0: of every history
}

var recipes = []recipe{
	{"new patient", 8, (*app).newPatient, 0},
	{"edit patient", 14, (*app).editPatient, 0},
	{"visit", 8, (*app).newVisit, 0},
	{"sell", 14, (*app).sell, 0},
	{"transfer", 12, (*app).transfer, 0},
	{"delete patient", 3, (*app).deletePatient, 0},
	{"move patient", 3, (*app).movePatient, 0},
	{"tag", 5, (*app).tag, 0},
	{"poison", 2, (*app).poison, 0},
	{"restock", 4, (*app).restock, 0},
	{"rename key", 2, (*app).renameKey, 0},
	{"once", 4, (*app).once, 0},
	{"forget once", 3, (*app).forgetOnce, 0},
	{"note thrice", 3, (*app).noteThrice, 0},
	{"replace stock", 2, (*app).replaceStock, 0},
	{"edit once", 6, (*app).editOnce, Schemas},
	{"invoice", 12, (*app).invoice, Leases},
}

// errNothing says that a transaction comes to nothing, and is undone.
var errNothing = errors.New("nothing to do")

// act runs one random transaction and returns what it did, or nil when it came to nothing.
func (a *app) act() (*deed, error) {
	r, d := a.begin()
	err := a.conn.atomic(func() error { return a.perform(r, d) })
	if a.limit = ""; a.conn.refused(err) && strings.Contains(err.Error(), "tidemark: ") {
		a.limit = r.kind
	}
	if errors.Is(err, errNothing) || (err != nil && a.conn.refused(err)) { // the app's own schema refused: its own affair
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %s: %w", a.name, r.kind, err)
	}
	return d, nil
}

// begin draws what the next transaction is.
func (a *app) begin() (r recipe, d *deed) {
	total := 0
	for _, r := range a.recipes {
		total += r.weight
	}
	pick := a.rng.IntN(total)
	for _, r = range a.recipes {
		if pick -= r.weight; pick < 0 {
			break
		}
	}
	a.n++
	return r, &deed{by: a.name, n: a.n, ledger: fmt.Sprintf("%s-%d", a.name, a.n), kind: r.kind, stock: map[string]int64{}, account: map[string]int64{}, whole: a.aware || a.atHub()}
}

// atHub reports whether the application writes to the hub's database.
func (a *app) atHub() bool { return a.name == "hub" || a.name == "slow" }

// perform does it, within a transaction.
func (a *app) perform(r recipe, d *deed) error {
	if a.aware {
		if err := a.exec(`UPDATE _tidemark_tx SET id=id+1`); err != nil {
			return err
		}
	}
	what := r.kind
	if r.kind == "poison" {
		what = "poison"
	}
	if err := a.exec(`INSERT INTO ledger (id, what) VALUES (?, ?)`, change.Text(d.ledger), change.Text(what)); err != nil {
		return err
	}
	ok, err := r.cook(a, d)
	if err == nil && !ok {
		err = errNothing
	}
	return err
}

func (a *app) exec(sql string, args ...change.Value) error { return a.conn.exec(sql, args...) }

// any picks a random id of a table, or "".
func (a *app) any(table string) (string, error) {
	var ids []string
	err := a.conn.query(`SELECT id FROM `+table+` ORDER BY id`, func(row []change.Value) error {
		ids = append(ids, row[0].Str())
		return nil
	})
	if err != nil || len(ids) == 0 {
		return "", err
	}
	return ids[a.rng.IntN(len(ids))], nil
}

func (a *app) fresh(kind string) change.Value {
	return change.Text(fmt.Sprintf("%s-%s-%d", kind, a.name, a.n))
}

func (a *app) newPatient(*deed) (bool, error) {
	// An application writes rows of its own site: of a branch it sees patients of.
	b, ok, err := one(a.conn, `SELECT branch_id FROM patient ORDER BY id LIMIT 1`)
	if err != nil || !ok {
		return false, err
	}
	return true, a.exec(`INSERT INTO patient (id, branch_id, name, phone, note) VALUES (?, ?, 'n', 'p', 'a b c')`, a.fresh("p"), b)
}

func (a *app) editPatient(d *deed) (bool, error) {
	id, err := a.any("patient")
	if id == "" {
		return false, err
	}
	switch a.rng.IntN(5) {
	case 0:
		return true, a.overwrite(d, "patient", id, "phone", "phone", d.ledger)
	case 1:
		return true, a.overwrite(d, "patient", id, "name", "name", d.ledger)
	case 2:
		return true, a.exec(`UPDATE patient SET note=coalesce(note,'')||' '||? WHERE id=?`, change.Text(d.ledger), change.Text(id))
	case 3:
		if err := a.overwrite(d, "patient", id, "phone", "phone", d.ledger); err != nil {
			return false, err
		}
		return true, a.overwrite(d, "patient", id, "name", "name", d.ledger)
	}
	return true, a.exec(`UPDATE patient SET visits=visits+1 WHERE id=?`, change.Text(id))
}

// overwrite replaces a value and remembers which one its author saw.
// The file calls the column local.
func (a *app) overwrite(d *deed, table, id, column, local, next string) error {
	prev, _, err := one(a.conn, `SELECT `+local+` FROM `+table+` WHERE id=?`, change.Text(id))
	if err != nil {
		return err
	}
	d.edits = append(d.edits, edit{table, id, column, prev.Str(), next})
	return a.exec(`UPDATE `+table+` SET `+local+`=? WHERE id=?`, change.Text(next), change.Text(id))
}

func (a *app) newVisit(*deed) (bool, error) {
	id, err := a.any("patient")
	if id == "" {
		return false, err
	}
	return true, a.exec(`INSERT INTO visit (id, patient_id, body) VALUES (?, ?, 'b')`, a.fresh("v"), change.Text(id))
}

func (a *app) sell(d *deed) (bool, error) {
	id, err := a.any("stock")
	if id == "" {
		return false, err
	}
	if a.frugal && a.atHub() {
		return false, nil // what a device may sell by itself is not for others to sell
	}
	n := int64(1 + a.rng.IntN(3))
	d.stock[id] -= n
	return true, a.exec(`UPDATE stock SET qty=qty-? WHERE id=?`, change.Int(n), change.Text(id))
}

func (a *app) transfer(d *deed) (bool, error) {
	from, err := a.any("account")
	if err != nil {
		return false, err
	}
	to, err := a.any("account")
	if err != nil || from == to || from == "" {
		return false, err
	}
	n := int64(1 + a.rng.IntN(100))
	d.account[from] -= n
	d.account[to] += n
	if err := a.exec(`UPDATE account SET balance=balance-? WHERE id=?`, change.Int(n), change.Text(from)); err != nil {
		return false, err
	}
	return true, a.exec(`UPDATE account SET balance=balance+? WHERE id=?`, change.Int(n), change.Text(to))
}

func (a *app) deletePatient(*deed) (bool, error) {
	id, err := a.any("patient")
	if id == "" {
		return false, err
	}
	return true, a.exec(`DELETE FROM patient WHERE id=?`, change.Text(id))
}

func (a *app) movePatient(*deed) (bool, error) {
	id, err := a.any("patient")
	if id == "" {
		return false, err
	}
	b, err := a.any("branch")
	if b == "" {
		return false, err
	}
	return true, a.exec(`UPDATE patient SET branch_id=? WHERE id=?`, change.Text(b), change.Text(id))
}

// tag draws from a small pool of labels: two sites take the same one (trap D10).
func (a *app) tag(d *deed) (bool, error) {
	return true, a.exec(`INSERT INTO tag (id, label, ledger_id) VALUES (?, ?, ?)`,
		a.fresh("t"), change.Text(fmt.Sprintf("label%d", a.rng.IntN(12))), change.Text(d.ledger))
}

func (a *app) poison(d *deed) (bool, error) {
	d.poisoned = true
	if !a.aware { // what a group of unaware transactions did elsewhere is applied without the parked row
		return true, nil
	}
	return a.sell(d)
}

func (a *app) restock(d *deed) (bool, error) {
	id, err := a.any("stock")
	if id == "" {
		return false, err
	}
	d.stock[id] += 10
	return true, a.exec(`UPDATE stock SET qty=qty+10, low=low-1 WHERE id=?`, change.Text(id))
}

func (a *app) renameKey(*deed) (bool, error) {
	id, ok, err := one(a.conn, `SELECT id FROM patient WHERE NOT EXISTS (SELECT 1 FROM visit WHERE patient_id=patient.id) ORDER BY id LIMIT 1`)
	if err != nil || !ok {
		return false, err
	}
	return true, a.exec(`UPDATE patient SET id=? WHERE id=?`, a.fresh("k"), id)
}

func (a *app) once(d *deed) (bool, error) {
	if a.grows {
		return a.writeOnce(d)
	}
	return true, a.exec(`INSERT INTO once (id, body) VALUES (?, 'x')`, a.fresh("o"))
}

func (a *app) forgetOnce(d *deed) (bool, error) {
	id, err := a.any("once")
	if id == "" {
		return false, err
	}
	d.gone = id
	return true, a.exec(`DELETE FROM once WHERE id=?`, change.Text(id))
}

// noteThrice writes one row three times, deletes a visit and brings it back: the
// net effect is what travels.
func (a *app) noteThrice(d *deed) (bool, error) {
	id, err := a.any("patient")
	if id == "" {
		return false, err
	}
	for i := range 3 {
		if err := a.overwrite(d, "patient", id, "phone", "phone", fmt.Sprintf("%s.%d", d.ledger, i)); err != nil {
			return false, err
		}
	}
	return true, a.exec(`UPDATE patient SET visits=visits+2 WHERE id=?`, change.Text(id))
}

// replaceStock rewrites a row in place with INSERT OR REPLACE, which fires no
// delete trigger (trap S1).
func (a *app) replaceStock(d *deed) (bool, error) {
	id, err := a.any("stock")
	if id == "" {
		return false, err
	}
	d.stock[id]++
	return true, a.exec(a.conn.words().replace, change.Text(id))
}
