package tidemark_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"

	_ "modernc.org/sqlite"

	"github.com/tidemark-sync/tidemark"
	"github.com/tidemark-sync/tidemark/tidemarktest"
)

const (
	pharmacy = `CREATE TABLE stock (id TEXT PRIMARY KEY NOT NULL, qty INTEGER NOT NULL);
		CREATE TABLE patient (id TEXT PRIMARY KEY NOT NULL, phone TEXT, city TEXT);
		INSERT INTO stock VALUES ('aspirin', 10);
		INSERT INTO patient VALUES ('p1', '555-0100', 'Kiel');`
	pharmacyRules = `tables:
  stock: {scope: all, columns: {qty: counter}}
  patient: {scope: all, columns: {phone: arrival}}
`
)

// Open a file and enrol it with the token that `tidemark device add` printed,
// write, and sync.
func Example() {
	tidemarktest.Run(func(t tidemarktest.T) {
		hub := tidemarktest.NewHub(t, pharmacy, pharmacyRules)
		ctx := context.Background()

		db, err := tidemark.Open(ctx, tidemark.Config{
			Path:  filepath.Join(t.TempDir(), "till.db"),
			Token: hub.Token(t, "till 1", "all"),
			Agent: "pharmacy 2.3",
		})
		if err != nil {
			fmt.Println(err)
			return
		}
		defer db.Close()
		if err := db.Sync(ctx); err != nil { // the first one fills the file
			fmt.Println(err)
			return
		}
		err = db.Write(ctx, func(tx *tidemark.Tx) error {
			return tx.Exec(`UPDATE stock SET qty = qty - ? WHERE id = ?`, 3, "aspirin")
		})
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println("at the hub before:", hub.Query(t, `SELECT qty FROM stock`))
		if err := db.Sync(ctx); err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println("at the hub after: ", hub.Query(t, `SELECT qty FROM stock`))
	})
	// Output:
	// at the hub before: 10
	// at the hub after:  7
}

// Watch the status: work is unsafe while it is only here.
func ExampleDB_Watch() {
	tidemarktest.Run(func(t tidemarktest.T) {
		hub := tidemarktest.NewHub(t, pharmacy, pharmacyRules)
		ctx := context.Background()
		db := hub.Open(t, "till", "all")
		hub.Link("till").Cut()
		if err := db.Start(ctx); err != nil {
			fmt.Println(err)
			return
		}
		_ = db.Write(ctx, func(tx *tidemark.Tx) error { return tx.Exec(`UPDATE stock SET qty = 9`) })

		told := false
		for st, err := range db.Watch(ctx) {
			switch {
			case err != nil:
				fmt.Println(err)
			case st.OldestUnsafe > 0 && st.Agent.State == tidemark.Offline && !told:
				fmt.Printf("%s: %d transaction exists only here\n", st.Agent.State, st.Unsafe)
				told = true
				hub.Link("till").Restore()
			case st.OldestUnsafe == 0 && st.Unsettled == 0 && told:
				fmt.Println("all work is at the hub")
				return
			}
		}
	})
	// Output:
	// offline: 1 transaction exists only here
	// all work is at the hub
}

// Two devices work offline on the same rows. Numbers under the counter policy add
// up; of two phone numbers, under the arrival policy, the one that reaches the hub
// last stands, and there is a receipt for the other.
func Example_conflict() {
	tidemarktest.Run(func(t tidemarktest.T) {
		hub := tidemarktest.NewHub(t, pharmacy, pharmacyRules)
		ctx := context.Background()
		one, two := hub.Open(t, "one", "all"), hub.Open(t, "two", "all")

		for i, db := range []*tidemark.DB{one, two} {
			err := db.Write(ctx, func(tx *tidemark.Tx) error {
				return errors.Join(
					tx.Exec(`UPDATE stock SET qty = qty - 3 WHERE id = 'aspirin'`),
					tx.Exec(`UPDATE patient SET phone = ? WHERE id = 'p1'`, fmt.Sprintf("555-020%d", i+1)))
			})
			if err != nil {
				fmt.Println(err)
				return
			}
		}
		hub.Settle(t, one, two)

		for _, db := range []*tidemark.DB{one, two} {
			_ = db.Read(ctx, func(tx *tidemark.Tx) error {
				return tx.Query(`SELECT qty, phone FROM stock, patient`, func(r tidemark.Row) error {
					var qty int
					var phone string
					err := r.Scan(&qty, &phone)
					fmt.Println(filepath.Base(db.Path()), qty, phone)
					return err
				})
			})
		}
		for _, r := range hub.Receipts(t) {
			if r.Column == "phone" {
				fmt.Printf("%s %s of %s: the hub had %s, %s stands, by %s\n", r.Table, r.Column, r.Key, r.Hub, r.Result, r.Rule)
			}
		}
	})
	// Output:
	// one.db 4 555-0202
	// two.db 4 555-0202
	// patient phone of 'p1': the hub had '555-0201', '555-0202' stands, by arrival
}

// What was discarded at the hub is kept as a rescue copy, and can be entered again.
func ExampleDB_Reapply() {
	tidemarktest.Run(func(t tidemarktest.T) {
		hub := tidemarktest.NewHub(t, `CREATE TABLE slip (id TEXT PRIMARY KEY NOT NULL, number INTEGER UNIQUE, note TEXT)`, `tables: {slip: {scope: all}}`)
		ctx := context.Background()
		one, two := hub.Open(t, "one", "all"), hub.Open(t, "two", "all")
		_ = one.Write(ctx, func(tx *tidemark.Tx) error { return tx.Exec(`INSERT INTO slip VALUES ('a', 1, 'first')`) })
		_ = two.Write(ctx, func(tx *tidemark.Tx) error { return tx.Exec(`INSERT INTO slip VALUES ('b', 1, 'second')`) })
		hub.Settle(t, one, two)

		queue, err := two.Queue(ctx)
		if err != nil || len(queue) == 0 {
			fmt.Println("nothing is parked", err)
			return
		}
		fmt.Println(queue[0].State, "with", len(queue[0].Ops), "change")
		hub.Discard(t, queue[0].ID, "number taken") // a person at the hub: tidemark queue discard
		hub.Settle(t, one, two)

		// The other slip makes room, then the copy is entered again.
		_ = two.Write(ctx, func(tx *tidemark.Tx) error { return tx.Exec(`UPDATE slip SET number = 2 WHERE id = 'a'`) })
		rescues, err := two.Rescues(ctx)
		for _, r := range rescues {
			err = errors.Join(err, two.Reapply(ctx, r.ID))
		}
		if err != nil {
			fmt.Println(err)
			return
		}
		hub.Settle(t, one, two)
		fmt.Println(hub.Query(t, `SELECT number, note FROM slip ORDER BY number`))
	})
	// Output:
	// quarantined with 1 change
	// 1|'second'
	// 2|'first'
}

// An application that has a *sql.DB of its own keeps it, when its driver is the same
// engine: modernc.org/sqlite.
func ExampleDB_Adopt() {
	tidemarktest.Run(func(t tidemarktest.T) {
		hub := tidemarktest.NewHub(t, pharmacy, pharmacyRules)
		ctx := context.Background()
		db := hub.Open(t, "till", "all")

		own, err := sql.Open("sqlite", "file:"+db.Path()+"?_pragma=busy_timeout(5000)&_pragma=foreign_keys(1)&_txlock=immediate")
		if err != nil {
			fmt.Println(err)
			return
		}
		defer own.Close()
		if err := db.Adopt(own); err != nil {
			fmt.Println(err)
			return
		}
		tx, err := own.BeginTx(ctx, nil)
		if err != nil {
			fmt.Println(err)
			return
		}
		err = tidemark.Begin(ctx, tx) // what follows is one transaction, everywhere
		if err == nil {
			_, err = tx.Exec(`UPDATE stock SET qty = qty - 2`)
		}
		if err == nil {
			_, err = tx.Exec(`UPDATE patient SET city = 'Lund'`)
		}
		if err := errors.Join(err, tx.Commit()); err != nil {
			fmt.Println(err)
			return
		}
		list, err := db.Queue(ctx)
		if err != nil || len(list) != 1 {
			fmt.Println(len(list), err)
			return
		}
		fmt.Println("one transaction,", len(list[0].Ops), "rows,", list[0].State)
	})
	// Output:
	// one transaction, 2 rows, waiting
}
