package sim

import (
	"fmt"
	"testing"
)

// ending is what a history came to at the hub: the rows of every table, and what
// became of each transaction.
func (w *world) ending() (out []string, err error) {
	p := w.hub.app.conn
	for _, sql := range []string{
		`SELECT id, name FROM branch ORDER BY id`,
		`SELECT id, branch_id, name, phone, note, visits FROM patient ORDER BY id`,
		`SELECT id, patient_id, body FROM visit ORDER BY id`,
		`SELECT id, item, qty, low FROM stock ORDER BY id`,
		`SELECT id, balance FROM account ORDER BY id`,
		`SELECT id, label, ledger_id FROM tag ORDER BY id`,
		`SELECT id, what FROM ledger ORDER BY id`,
		`SELECT * FROM once ORDER BY id`,
		`SELECT id, status FROM ` + p.words().journal + ` ORDER BY id`,
	} {
		list, err := rows(p, sql)
		if err != nil {
			return nil, err
		}
		for _, l := range list {
			out = append(out, fmt.Sprintf("%.10s: %s", sql[len("SELECT "):], l))
		}
	}
	return out, nil
}

// alike are the families of histories that go alike whatever the hub is: but for the
// sessions that end with a process which is started anew, and for what is drawn when
// the hub is put back.
const alike = Clones | Leases | Parcels

// finish plays a history whose hub does not crash, and returns what it came to.
func finish(t *testing.T, opt Options) (out []string) {
	t.Helper()
	opt.sturdy, opt.Dir = true, dir(t)
	opt.atRest = func(w *world) (err error) {
		out, err = w.ending()
		return err
	}
	if _, err := Run(opt); err != nil {
		t.Fatal(shorten(err))
	}
	return out
}

// Any interleaving of hub processes comes to what one comes to, and PostgreSQL to what
// SQLite does.
func TestSameEndWithAnyNumberOfProcesses(t *testing.T) {
	if testing.Short() {
		t.Skip("starts PostgreSQL servers")
	}
	s := startServer(t)
	for seed := *first; seed < *first+uint64(histories(3)); seed++ {
		play := drawFamilies(seed) & alike
		if play == 0 {
			play = Plain
		}
		file := finish(t, Options{Seed: seed, Families: play})
		for n := 1; n <= 3; n++ {
			got := finish(t, Options{Seed: seed, Families: play, Processes: n, base: s.base(seed)})
			if d := firstDifference(file, got); len(minus(file, got))+len(minus(got, file)) > 0 {
				t.Errorf("seed %d (%s): a hub in a file, and %d processes on a server, come to different ends: %s", seed, play, n, d)
			}
		}
	}
}
