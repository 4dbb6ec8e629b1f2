package config

import (
	"strings"
	"testing"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
)

const shop = `
CREATE TABLE branch (id TEXT PRIMARY KEY NOT NULL, name TEXT);
CREATE TABLE customer (id TEXT PRIMARY KEY NOT NULL, branch_id TEXT REFERENCES branch, name TEXT, tags JSON, visits INTEGER, upper_name TEXT AS (upper(name)));
CREATE TABLE orders (id TEXT PRIMARY KEY NOT NULL, customer_id TEXT REFERENCES customer(id), total REAL);
CREATE TABLE line (order_id TEXT REFERENCES orders, no INTEGER, note TEXT, other_order TEXT, PRIMARY KEY (order_id, no), FOREIGN KEY (order_id, other_order) REFERENCES orders(id, customer_id));
CREATE TABLE item (id INTEGER PRIMARY KEY, price REAL, stock INT);
CREATE TABLE detail (id INTEGER PRIMARY KEY REFERENCES item, photo BLOB);
CREATE TABLE a (id TEXT PRIMARY KEY NOT NULL, b_id TEXT REFERENCES b);
CREATE TABLE b (id TEXT PRIMARY KEY NOT NULL, a_id TEXT REFERENCES a);
CREATE TABLE nokey (x);
CREATE TABLE device (id TEXT PRIMARY KEY NOT NULL, site TEXT, branch_id TEXT REFERENCES branch, customer_id TEXT REFERENCES customer);
`

func schemaOf(t *testing.T, ddl string) *change.Schema {
	t.Helper()
	c, err := sqlite.Open(":memory:", sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if err := sqlite.Script(c, ddl); err != nil {
		t.Fatal(err)
	}
	names, _, err := sqlite.TableNames(c)
	if err != nil {
		t.Fatal(err)
	}
	s, err := sqlite.Describe(c, names)
	if err != nil {
		t.Fatal(err)
	}
	return &s
}

func TestAgainst(t *testing.T) {
	schema := schemaOf(t, shop)
	for _, c := range []struct {
		name, tables string
		want         []string // faults in order; none: it fits
	}{
		{"fits", `
  Branch: {scope: all}
  customer: {scope: "branch/{branch_id}", columns: {tags: set, visits: counter, name: text}, checks: [{name: n, expr: row.visits >= 0}]}
  orders: {scope: {via: customer_id}, columns: {total: max}}
  item: {scope: all, keys: app-assigned, columns: {stock: counter}}
  detail: {scope: {via: id}}`, nil},
		{"reference needs no key kind", `
  item: {reference: true}`, nil},
		{"unknown table and columns", `
  brunch: {scope: all}
  branch: {scope: "b/{nmae}", columns: {nmae: latest, id: latest}}
  customer: {scope: "branch/{upper_name}", columns: {upper_name: latest}, checks: [{name: n, expr: row.vists > 0}]}`, []string{
			`tables.brunch: the database has no table "brunch"; did you mean "branch"?`,
			`tables.branch.scope: the table has no column "nmae"; did you mean "name"?`,
			`tables.branch.columns.id: the column is part of the key`,
			`tables.branch.columns.nmae: the table has no column "nmae"`,
			`tables.customer.scope: the column "upper_name" is generated`,
			`tables.customer.scope: rows go by branch but point at table branch, whose rows go by b`,
			`tables.customer.columns.upper_name: the column is generated`,
			`tables.customer.checks[0].expr: unknown column "vists"; did you mean "visits"?`,
		}},
		{"keys", `
  nokey: {scope: all}
  item: {scope: all}`, []string{
			`tables.nokey: the table has no primary key`,
			`tables.item.keys: the key id is an integer`,
		}},
		{"via", `
  orders: {scope: {via: total}}
  line: {scope: {via: order_id}}
  device: {scope: {via: sitee}}
  customer: {scope: {via: branch_id}}
  branch: {scope: "branch/{id}"}
  detail: {scope: {via: id}}`, []string{
			`tables.orders.scope.via: the column "total" has no foreign key`,
			`tables.line.scope.via: the column "order_id" has 2 foreign keys, to orders and orders`,
			`tables.device.scope.via: the table has no column "sitee"; did you mean "site"?`,
			`tables.detail: rows point at table item, which does not sync`,
		}},
		{"circle", `
  a: {scope: {via: b_id}}
  b: {scope: {via: a_id}}`, []string{
			`tables.a.scope.via: the scope goes round in a circle: a → b → a`,
			`tables.b.scope.via: the scope goes round in a circle: b → a → b`,
		}},
		{"not closed", `
  branch: {scope: "branch/{id}"}
  customer: {scope: all}
  device: {scope: "site/{site}"}`, []string{
			`tables.customer.scope: rows go to every device but point at table branch, whose rows go to some (branch/{id})`,
			`tables.device.scope: rows go by site but point at table branch, whose rows go by branch`,
		}},
		{"types", `
  branch: {reference: true}
  customer: {scope: "branch/{branch_id}", columns: {visits: text, tags: text, name: counter}}
  detail: {scope: all, policy: counter}
  item: {scope: all, keys: app-assigned, columns: {price: set}}`, []string{
			`tables.customer.columns.name.policy: counter adds numbers, and the column is declared TEXT`,
			`tables.customer.columns.tags.policy: text merges words, and the column is declared JSON`,
			`tables.customer.columns.visits.policy: text merges words, and the column is declared INTEGER`,
			`tables.detail.policy: does not fit the column photo: counter adds numbers, and the column is declared BLOB`,
			`tables.item.columns.price.policy: set merges JSON arrays, and the column is declared REAL`,
		}},
		{"other names", `
  place: {was: branch, scope: all}
  client: {was: [customer, buyer], scope: "branch/{place_id}", columns: {place_id: {was: branch_id}, id: {was: uid}, label: {was: name, policy: text}, upper_name: {was: big}, visits: {was: calls, policy: counter}}, checks: [{name: n, expr: "row.label != old.label || row.calls >= 0"}]}
  sales: {was: orders, scope: {via: client_id}, columns: {client_id: {was: customer_id}}, dropped: [total, tip]}`, nil},
		{"other names that are taken", `
  branch: {was: item, scope: all}
  customer: {was: [shop, orders], scope: "branch/{branch_id}", columns: {name: {was: tags}, label: {was: [nmae, visits]}, nothing: {was: nil}}}`, []string{
			`tables.branch.was: the database has a table "item", too`,
			`tables.customer.columns.nothing: the table has no column "nothing"`,
			`tables.customer.was: the database has a table "orders", too`,
			`tables.customer.columns.name.was: the table has a column "tags", too`,
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			conf, err := Parse([]byte("tables:" + c.tables))
			if err != nil {
				t.Fatal(err)
			}
			got := AsFaults(conf.ValidateAgainst(schema))
			for i := range max(len(got), len(c.want)) {
				switch {
				case i >= len(got):
					t.Errorf("missing: %s", c.want[i])
				case i >= len(c.want):
					t.Errorf("unexpected: %v", got[i])
				case !strings.Contains(got[i].Error(), c.want[i]) || got[i].Line == 0:
					t.Errorf("got  %v\nwant %s", got[i], c.want[i])
				}
			}
		})
	}
}
