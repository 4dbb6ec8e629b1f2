// Package tidemarktest gives a test a real hub: a database, a listener with TLS on
// the loopback interface, rules, and for each device a network that can be cut.
// Nothing is simulated but the distance.
//
//	func TestSale(t *testing.T) {
//		hub := tidemarktest.NewHub(t, `CREATE TABLE stock (id TEXT PRIMARY KEY NOT NULL, qty INTEGER)`,
//			`tables: {stock: {scope: all, columns: {qty: counter}}}`)
//		till := hub.Open(t, "till", "all")
//		hub.Link("till").Cut() // the till goes on
//		…
//		hub.Link("till").Restore()
//		hub.Settle(t, till)
//		hub.Query(t, `SELECT qty FROM stock WHERE id = 'aspirin'`)
//	}
//
// Waiting never sleeps for a guessed time: [Hub.Settle] syncs until nothing moves,
// [Eventually] asks again and again until a deadline.
package tidemarktest
