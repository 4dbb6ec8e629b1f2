package config

import (
	"strings"
	"testing"

	"github.com/tidemark-sync/tidemark/internal/rule"
)

const depot = `
CREATE TABLE invoice (id TEXT PRIMARY KEY NOT NULL, no INTEGER UNIQUE, ref TEXT, free);
CREATE TABLE ticket (id INTEGER PRIMARY KEY, what TEXT);
CREATE TABLE pair (a INTEGER, b INTEGER, PRIMARY KEY (a, b));
CREATE TABLE stock (code TEXT PRIMARY KEY NOT NULL, qty INTEGER, weight REAL);
CREATE TABLE point (at REAL PRIMARY KEY NOT NULL, n INTEGER);
`

func TestLeases(t *testing.T) {
	schema := schemaOf(t, depot)
	for _, c := range []struct {
		name, tables string
		want         []string
	}{
		{"fits", `
  invoice: {scope: all, columns: {No: {lease: {size: 50, low: 50, start: 1000}}}}
  ticket: {scope: all, keys: leased, columns: {id: {lease: {size: 10}}}}
  stock: {scope: all, policy: counter, columns: {qty: {floor: -5}}}`, nil},
		{"keys alone", `
  ticket: {scope: all, keys: leased}`, nil},
		{"nothing given takes the defaults", `
  invoice: {scope: all, columns: {no: {lease: }}}`, nil},
		{"wrong columns", `
  invoice: {scope: all, columns: {ref: {lease: {}}, free: {lease: {}}}}
  ticket: {scope: all, keys: app-assigned, columns: {id: {lease: {}}}}
  stock: {scope: all, columns: {weight: {policy: counter, floor: 0}}}
  point: {scope: all, columns: {n: {policy: counter, floor: 0}}}`, []string{
			"leased numbers are integers, and the column is declared without a type", "the column is declared TEXT",
			"part of the key", "add keys: leased to the table", "counts whole things, and the column is declared REAL", "a key of floating point numbers (at)"}},
		{"wrong keys", `
  pair: {scope: all, keys: leased}
  ticket: {reference: true, keys: leased}`, []string{"leased keys are for a key of one integer column that no foreign key is on; this one is (a, b)", "devices only read the table"}},
		{"by themselves", `
  invoice: {scope: all, columns: {no: {lease: {size: 0, low: many, high: 3, start: 99999999999999999}}}}
  stock: {scope: all, columns: {qty: {floor: 0, lease: {size: 10, low: 11}}}}
  ticket: {reference: true, columns: {id: {lease: {}}, what: {policy: counter, floor: 0}}}
  pair: {scope: all, by_row: true, columns: {b: {floor: 0.5}}}
  point: {scope: all, by_row: true, columns: {n: {floor: 1}}}`, []string{
			"size: 0 is out of range; want 1 to 1000000000", `want a whole number, not "many"`, "high: unknown key", "is out of range; want 1 to 9007199254740992",
			"11 is more than a whole range has (size: 10)", "not both", "only a counter can have a floor", "need no numbers of their own", "need no shares", `want a whole number, not "0.5"`, "so amounts cannot be added up"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg, err := Parse([]byte("tables:" + c.tables))
			if err == nil {
				err = cfg.ValidateAgainst(schema)
			}
			if (err == nil) != (c.want == nil) {
				t.Fatalf("got %v", err)
			}
			for _, w := range c.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("nothing says %q:\n%v", w, err)
				}
			}
		})
	}
}

func TestLeasesOfRules(t *testing.T) {
	schema := schemaOf(t, depot)
	cfg, err := Parse([]byte(`tables:
  invoice: {scope: all, columns: {NO: {lease: {size: 50, start: 7}}, gone: {lease: {}}}}
  ticket: {scope: all, keys: leased}
  lost: {scope: all, keys: leased}
  stock: {scope: all, columns: {Qty: {policy: counter, floor: 3}}}`))
	if err != nil {
		t.Fatal(err)
	}
	s := cfg.Tables.Series(schema)
	want := []rule.Series{
		{Name: "invoice.no", Table: "invoice", Column: "no", Lease: rule.Lease{Size: 50, Low: 10, Start: 7}},
		{Name: "ticket.id", Table: "ticket", Column: "id", Key: true, Lease: rule.Lease{Size: 1000, Low: 200, Start: 1}},
	}
	if len(s) != 2 || s[0] != want[0] || s[1] != want[1] {
		t.Errorf("series %+v", s)
	}
	if b := cfg.Tables.Bounds(schema); len(b) != 1 || b[0] != (rule.Bound{Table: "stock", Column: "qty", Floor: 3}) {
		t.Errorf("bounds %+v", b)
	}
}
