package demo

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
)

// The clinic chain before the story begins.
const (
	patients = 3000
	visits   = 6000
	items    = 200
	boxes    = 5000 // of the item that both branches use up
)

// The branches. The referral centre's patients are known to both others.
const (
	north = iota + 1
	south
	centre
)

// The things that both branches touch while they cannot see each other.
const (
	hotItem     = "gauze"
	hotPatient  = "p0003" // of the referral centre
	rulesFile   = "tidemark.yaml"
	clinicFile  = "clinic.db"
	clinicStory = 7 // the seed: the same clinic every time
)

const schema = `CREATE TABLE branch(id INTEGER PRIMARY KEY, name TEXT NOT NULL);
CREATE TABLE patient(id TEXT PRIMARY KEY NOT NULL,
  branch_id INTEGER NOT NULL REFERENCES branch(id),
  name TEXT NOT NULL, born TEXT NOT NULL, phone TEXT, note TEXT);
CREATE TABLE visit(id TEXT PRIMARY KEY NOT NULL,
  patient_id TEXT NOT NULL REFERENCES patient(id) ON DELETE CASCADE,
  day TEXT NOT NULL, reason TEXT NOT NULL);
CREATE INDEX visit_patient ON visit(patient_id);
CREATE TABLE stock(item TEXT PRIMARY KEY NOT NULL, qty INTEGER NOT NULL);
`

const rules = `tables:
  branch:  {scope: all, keys: app-assigned}
  patient: {scope: "branch/{branch_id}"}  # who gets which rows
  visit:   {scope: {via: patient_id}}     # goes with its patient
  stock:   {scope: all, columns: {qty: {policy: counter}}}  # adds up
`

var (
	firstNames = []string{"Ada", "Ben", "Chi", "Dora", "Emil", "Fatou", "Goran", "Hana", "Ivo", "Jun", "Kofi", "Lena", "Mia", "Noor", "Otto", "Pia", "Rosa", "Sven", "Tala", "Uma"}
	lastNames  = []string{"Abara", "Berg", "Costa", "Diaz", "Endo", "Fofana", "Grant", "Haas", "Ito", "Jansen", "Khan", "Lund", "Moreau", "Novak", "Okoye", "Petrov", "Rossi", "Silva", "Tanaka", "Weiss"}
	reasons    = []string{"check-up", "cough", "dressing", "fever", "follow-up", "sprain", "vaccination", "wound care"}
)

// makeClinic writes the clinic's database, the same one every time.
func makeClinic(dir string) (err error) {
	c, err := sqlite.Open(filepath.Join(dir, clinicFile), sqlite.Options{NoSync: true})
	if err != nil {
		return err
	}
	defer func() {
		if e := c.Close(); err == nil && e != nil {
			err = fmt.Errorf("close %s: %w", clinicFile, e)
		}
	}()
	if err := sqlite.Script(c, schema); err != nil {
		return fmt.Errorf("create the clinic's tables: %w", err)
	}
	if err := sqlite.Immediate(c, func() error { return fillClinic(c) }); err != nil {
		return fmt.Errorf("fill the clinic's tables: %w", err)
	}
	return nil
}

func fillClinic(c *sqlite.Conn) error {
	r := rand.New(rand.NewPCG(clinicStory, clinicStory))
	pick := func(list []string) change.Value { return change.Text(list[r.IntN(len(list))]) }
	day := func(from, years int) change.Value {
		return change.Text(fmt.Sprintf("%d-%02d-%02d", from+r.IntN(years), 1+r.IntN(12), 1+r.IntN(28)))
	}
	for id, name := range []string{north: "North", south: "South", centre: "Referral centre"} {
		if name == "" {
			continue
		}
		if err := sqlite.Exec(c, "INSERT INTO branch VALUES(?,?)", change.Int(int64(id)), change.Text(name)); err != nil {
			return err
		}
	}
	for i := range patients {
		// Two fifths each at north and south, one fifth at the referral centre.
		branch := []int64{north, south, north, centre, south}[i%5]
		err := sqlite.Exec(c, "INSERT INTO patient VALUES(?,?,?,?,?,NULL)", patientID(i), change.Int(branch),
			change.Text(pick(firstNames).Str()+" "+pick(lastNames).Str()), day(1935, 85), change.Text(fmt.Sprintf("555-%04d", r.IntN(10000))))
		if err != nil {
			return err
		}
	}
	for i := range visits {
		err := sqlite.Exec(c, "INSERT INTO visit VALUES(?,?,?,?)", change.Text(fmt.Sprintf("v%05d", i)),
			patientID(r.IntN(patients)), day(2023, 2), pick(reasons))
		if err != nil {
			return err
		}
	}
	for i := range items {
		name, qty := fmt.Sprintf("item-%03d", i), int64(20+r.IntN(400))
		if i == 0 {
			name, qty = hotItem, boxes
		}
		if err := sqlite.Exec(c, "INSERT INTO stock VALUES(?,?)", change.Text(name), change.Int(qty)); err != nil {
			return err
		}
	}
	return nil
}

func patientID(i int) change.Value { return change.Text(fmt.Sprintf("p%04d", i)) }
