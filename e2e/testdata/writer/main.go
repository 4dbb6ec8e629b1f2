// Command writer is an application of the tests: Go, database/sql, plain SQL. It
// sells for ever and appends the id of each sale whose commit succeeded to a list.
package main

import (
	"crypto/rand"
	"database/sql"
	"fmt"
	"os"
	"time"

	_ "modernc.org/sqlite"
)

func main() {
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(file, list string) error {
	db, err := sql.Open("sqlite", "file:"+file+"?_pragma=busy_timeout(30000)&_pragma=foreign_keys(1)&_txlock=immediate")
	if err != nil {
		return err
	}
	out, err := os.OpenFile(list, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	for i := 0; ; i++ {
		id := rand.Text()
		if err := sell(db, id, fmt.Sprintf("i%d", i%3)); err != nil {
			continue // locked: the next sale
		}
		if _, err := fmt.Fprintln(out, id); err != nil {
			return err
		}
		<-time.After(20 * time.Millisecond)
	}
}

func sell(db *sql.DB, id, item string) error {
	tx, err := db.Begin()
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	for _, q := range []struct {
		sql  string
		args []any
	}{
		{`UPDATE _tidemark_tx SET id=id+1`, nil},
		{`INSERT INTO sale VALUES (?,?,2,'go')`, []any{id, item}},
		{`UPDATE item SET qty=qty-2 WHERE id=?`, []any{item}},
	} {
		if _, err := tx.Exec(q.sql, q.args...); err != nil {
			return err
		}
	}
	return tx.Commit()
}
