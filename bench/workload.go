package main

import (
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/tidemark-sync/tidemark/change"
)

// tables are the workload's tables, parents first: about 200 bytes a row, text
// UUID keys, one foreign key index each as an application would have it.
var tables = []struct {
	name    string
	columns []string
	ddl     string
}{
	{"customers", []string{"id", "name", "email", "phone", "city", "created_at", "note"},
		`CREATE TABLE customers (id TEXT PRIMARY KEY, name TEXT NOT NULL, email TEXT, phone TEXT, city TEXT, created_at TEXT NOT NULL, note TEXT)`},
	{"orders", []string{"id", "customer_id", "status", "total", "placed_at", "note"},
		`CREATE TABLE orders (id TEXT PRIMARY KEY, customer_id TEXT NOT NULL REFERENCES customers(id), status TEXT NOT NULL, total INTEGER NOT NULL, placed_at TEXT NOT NULL, note TEXT)`},
	{"order_lines", []string{"id", "order_id", "product", "quantity", "price", "note"},
		`CREATE TABLE order_lines (id TEXT PRIMARY KEY, order_id TEXT NOT NULL REFERENCES orders(id), product TEXT NOT NULL, quantity INTEGER NOT NULL, price INTEGER NOT NULL, note TEXT)`},
}

// Indices into tables.
const (
	customers = iota
	orders
	lines
	tableCount
)

// schema is every statement that makes an empty workload database.
func schema() []string {
	var out []string
	for _, t := range tables {
		out = append(out, t.ddl)
	}
	return append(out,
		`CREATE INDEX orders_customer ON orders (customer_id)`,
		`CREATE INDEX order_lines_order ON order_lines (order_id)`)
}

// A dataset is the seed rows of each table, in insertion order.
type dataset [tableCount][][]change.Value

// split says how many customers, orders and lines make n seed rows: a tenth
// customers, three tenths orders, the rest lines, at least one of each.
func split(n int) (c, o, l int) {
	c, o = max(n/10, 1), max(n*3/10, 1)
	return c, o, max(n-c-o, 1)
}

// seedRows makes n rows, always the same ones.
func seedRows(n int) *dataset {
	c, o, l := split(n)
	g := newGenerator(0)
	var d dataset
	for i := range c {
		d[customers] = append(d[customers], g.customer(i))
	}
	for i := range o {
		d[orders] = append(d[orders], g.order(uuidOf(orders, 0, i), i%c))
	}
	for i := range l {
		d[lines] = append(d[lines], g.line(uuidOf(lines, 0, i), uuidOf(orders, 0, i%o)))
	}
	return &d
}

// A step is one change transaction: a new order with three lines, and an older
// order updated; five row changes.
type step struct {
	order  []change.Value
	lines  [3][]change.Value
	older  string // key of the seed order that is updated
	status string
	total  int64
	was    []change.Value // status and total before; nil where nobody needs them
}

// stepRows is how many row changes a step makes.
const stepRows = 5

// steps makes n change transactions of one writer (from 1) over a seed of rows.
// Two of at most strides writers never update the same order.
func steps(n, rows, writer, strides int) []step {
	c, o, _ := split(rows)
	g := newGenerator(uint64(writer))
	out := make([]step, n)
	for i := range out {
		id := uuidOf(orders, writer, i)
		s := step{order: g.order(id, g.r.IntN(c)), status: g.status(), total: int64(g.r.IntN(100_000))}
		for j := range s.lines {
			s.lines[j] = g.line(uuidOf(lines, writer, i*3+j), id)
		}
		k := g.r.IntN(o)
		if strides > 1 && o >= strides {
			k = k - k%strides + writer%strides
			if k >= o {
				k -= strides
			}
		}
		s.older = uuidOf(orders, 0, k)
		out[i] = s
	}
	return out
}

// A generator makes cells from a deterministic source.
type generator struct{ r *rand.Rand }

func newGenerator(stream uint64) *generator {
	return &generator{rand.New(rand.NewPCG(0x7469_6465_6d61_726b, stream))}
}

func (g *generator) customer(i int) []change.Value {
	name := g.words(2)
	return []change.Value{
		change.Text(uuidOf(customers, 0, i)), change.Text(name),
		change.Text(strings.ReplaceAll(name, " ", ".") + fmt.Sprintf("%d@example.org", i)),
		change.Text(fmt.Sprintf("+49 30 %07d", g.r.IntN(10_000_000))),
		change.Text(g.words(1)), change.Text(g.moment()), change.Text(g.words(11)),
	}
}

func (g *generator) order(id string, customer int) []change.Value {
	return []change.Value{
		change.Text(id), change.Text(uuidOf(customers, 0, customer)), change.Text(g.status()),
		change.Int(int64(g.r.IntN(100_000))), change.Text(g.moment()), change.Text(g.words(13)),
	}
}

func (g *generator) line(id, order string) []change.Value {
	return []change.Value{
		change.Text(id), change.Text(order), change.Text(g.words(3)),
		change.Int(int64(1 + g.r.IntN(9))), change.Int(int64(g.r.IntN(20_000))), change.Text(g.words(13)),
	}
}

func (g *generator) status() string { return statuses[g.r.IntN(len(statuses))] }

func (g *generator) moment() string {
	return fmt.Sprintf("2026-%02d-%02dT%02d:%02d:%02dZ", 1+g.r.IntN(12), 1+g.r.IntN(28), g.r.IntN(24), g.r.IntN(60), g.r.IntN(60))
}

// words joins n of 1,024 made-up words, so that text compresses about as notes
// and addresses do: well, but not absurdly so.
func (g *generator) words(n int) string {
	b := make([]byte, 0, n*8)
	for i := range n {
		if i > 0 {
			b = append(b, ' ')
		}
		w := g.r.IntN(1024)
		b = append(b, syllables[w&31]...)
		b = append(b, syllables[w>>5&31]...)
		if w&3 == 0 {
			b = append(b, syllables[w>>3&31]...)
		}
	}
	return string(b)
}

var statuses = []string{"draft", "placed", "paid", "packed", "shipped", "returned"}

var syllables = []string{
	"ba", "den", "ko", "ri", "lam", "so", "ter", "mi", "nu", "vel", "po", "gar", "shi", "tu", "ran", "el",
	"fo", "din", "ma", "che", "lo", "wes", "ki", "per", "hu", "san", "ga", "ti", "bor", "ne", "za", "mun",
}

// uuidOf is the version 4 UUID of row i of a table by a writer (0 is the seed):
// as random in the index as a real one, and known without keeping a list.
func uuidOf(table, writer, i int) string {
	a := mix(uint64(table)<<56 ^ uint64(writer)<<32 ^ uint64(i))
	b := mix(a ^ 0x9e3779b97f4a7c15)
	return fmt.Sprintf("%08x-%04x-4%03x-%04x-%012x", a>>32, a>>16&0xffff, a&0xfff, 0x8000|b>>48&0x3fff, b&0xffffffffffff)
}

// mix is the finalizer of splitmix64.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
