package tidemark_test

import (
	"context"
	"testing"

	"github.com/tidemark-sync/tidemark"
	"github.com/tidemark-sync/tidemark/tidemarktest"
)

const shopDDL = `CREATE TABLE stock (id TEXT PRIMARY KEY NOT NULL, qty INTEGER NOT NULL DEFAULT 0, note);
CREATE TABLE sale (id TEXT PRIMARY KEY NOT NULL, stock TEXT NOT NULL REFERENCES stock(id), slip TEXT UNIQUE, v);
CREATE TABLE tag (a TEXT NOT NULL, b INTEGER NOT NULL, PRIMARY KEY (a, b)) WITHOUT ROWID;`

const shopRules = `tables:
  stock: {scope: all, columns: {qty: counter}}
  sale: {scope: all}
  tag: {scope: all}
`

var ctx = context.Background()

func newHub(t *testing.T) *tidemarktest.Hub {
	t.Helper()
	hub := tidemarktest.NewHub(t, shopDDL, shopRules)
	hub.Exec(t, `INSERT INTO stock VALUES ('aspirin', 10, NULL), ('plaster', 5, 'blue')`)
	return hub
}

func write(t *testing.T, db *tidemark.DB, sql string, args ...any) {
	t.Helper()
	if err := db.Write(ctx, func(tx *tidemark.Tx) error { return tx.Exec(sql, args...) }); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// text reads the first column of the first row.
func text(t *testing.T, db *tidemark.DB, sql string, args ...any) (out string) {
	t.Helper()
	err := db.Read(ctx, func(tx *tidemark.Tx) error {
		return tx.Query(sql, func(r tidemark.Row) error {
			out = r.Value(0).String()
			return nil
		}, args...)
	})
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return out
}

func status(t *testing.T, db *tidemark.DB) tidemark.Status {
	t.Helper()
	st, err := db.Status(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return st
}
