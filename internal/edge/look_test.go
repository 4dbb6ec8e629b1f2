package edge

import (
	"math/rand/v2"
	"testing"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
)

// Who only looks sees what waits, and can write nothing.
func TestAReadOnlyEngineLooks(t *testing.T) {
	c := enrolled(t)
	c.tx(`INSERT INTO patient VALUES ('p', 1, 'P', 0, 'c1')`)
	c.export()
	c.tx(`INSERT INTO patient VALUES ('q', 1, 'Q', 0, 'c2')`)
	c.export()
	e, err := Open(Config{Path: c.path, Clock: c.clk, Rand: rand.NewChaCha8([32]byte{1}), ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = e.Close() }()
	list, err := e.Waiting(1)
	if err != nil || len(list) != 1 || list[0].Seq != 1 || list[0].State != "waiting" {
		t.Errorf("%+v, %v", list, err)
	}
	if list, err = e.Parked(9); err != nil || len(list) != 0 {
		t.Errorf("%+v, %v", list, err)
	}
	if e.Schema() != c.e.fileHash() || e.Schema() == (change.SchemaHash{}) {
		t.Errorf("schema %s, told to the hub as %s", e.Schema(), c.e.fileHash())
	}
	if !e.Contact().IsZero() || c.e.Contact().IsZero() {
		t.Error("only the engine that heard the hub knows when")
	}
	c.tx(`INSERT INTO patient VALUES ('r', 1, 'R', 0, 'c3')`)
	if _, err := e.Export(); !sqlite.IsReadOnly(err) {
		t.Errorf("it exported: %v", err)
	}
	c.exec("BEGIN IMMEDIATE; UPDATE patient SET name='held'")
	if st, err := e.Brief(); err != nil || st.Waiting != 3 {
		t.Errorf("beside a writer: %+v, %v", st, err)
	}
	c.exec("COMMIT")
}

func TestAFileThatIsNotEnrolledHasNothingToShow(t *testing.T) {
	c := newClinic(t)
	w, err := c.e.Waiting(9)
	if err != nil || w != nil {
		t.Errorf("%+v, %v", w, err)
	}
	p, err := c.e.Parked(9)
	if err != nil || p != nil || c.e.Schema() != (change.SchemaHash{}) {
		t.Errorf("%+v, %v", p, err)
	}
}
