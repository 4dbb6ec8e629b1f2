package edge

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tidemark-sync/tidemark/internal/rule"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
)

// The triggers of leases and shares run in the application's transactions, and are
// undone with them. They are the only ones of ours that may refuse a write: what
// the rules declare that a device must not do by itself. Refusals are RAISE(ABORT),
// which no OR IGNORE of the application's overrides (trap S16).
//
// They depend on nothing but the rules and the table's shape, like captureSQL.

// applying is the opposite of mute.
const applying = `EXISTS (SELECT 1 FROM _tidemark_applying)`

// leaseTriggers is the triggers for what the rules say of one table's numbers and
// amounts.
func (e *Engine) leaseTriggers(t *table) []string {
	var out []string
	g := &generator{t: t}
	name := e.setup.Schema.Tables[t.id-1].Name
	for _, s := range e.series() {
		if i := columnAt(t, s.Column); s.Table == name && i >= 0 {
			out = append(out, g.numbers(&s, i)...)
		}
	}
	for _, b := range e.bounds() {
		if i := columnAt(t, b.Column); b.Table == name && i >= 0 {
			out = append(out, g.shares(&b, i)...)
		}
	}
	return out
}

// columnAt is the place of a stored column, or -1: the file lacks it.
func columnAt(t *table, name string) int {
	return slices.IndexFunc(t.names, func(n string) bool { return sameName(n, name) })
}

func (g *generator) hook(name string, column int, when, cond string, body ...string) string {
	return fmt.Sprintf("CREATE TRIGGER _tidemark_%d_%s_%d %s ON %s\nWHEN %s BEGIN\n  %s;\nEND",
		g.t.id, name, column, when, g.table(), cond, strings.Join(body, ";\n  "))
}

func (g *generator) table() string { return g.t.sql() }

// literal is a text in SQL.
func literal(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

func raise(why, cond string) string {
	return "SELECT RAISE(ABORT, " + literal("tidemark: "+why) + ") WHERE " + cond
}

// sameKey is the condition that a row of the table has NEW's key.
func (g *generator) sameKey() string {
	var parts []string
	for _, n := range g.keyNames() {
		parts = append(parts, sqlite.Quote(n)+" = NEW."+sqlite.Quote(n))
	}
	return strings.Join(parts, " AND ")
}

// keyColumns is every name by which an UPDATE can set the key.
func (g *generator) keyColumns() []string {
	var out []string
	for _, n := range g.keyNames() {
		out = append(out, sqlite.Quote(n))
	}
	if rowidKey(g.t.schema) {
		out = append(out, "rowid", "oid", "_rowid_")
	}
	return out
}

// numbers is the triggers of a leased column: it is filled from the range when the
// application leaves it NULL, and next moves past every number of the range that
// is used, by whomever: after the file was copied, rows of the copy come in too.
func (g *generator) numbers(s *rule.Series, i int) []string {
	col := sqlite.Quote(g.t.cols[i])
	left := "EXISTS (SELECT 1 FROM _tidemark_lease WHERE name = " + literal(s.Name) + " AND next <= last)"
	past := "UPDATE _tidemark_lease SET next = NEW." + col + " + 1 WHERE name = " + literal(s.Name) + " AND NEW." + col + " BETWEEN next AND last"
	out := []string{
		g.hook("used", i, "AFTER INSERT", "NEW."+col+" IS NOT NULL", past),
		g.hook("moved", i, "AFTER UPDATE OF "+col, "NEW."+col+" IS NOT OLD."+col, past),
	}
	none := "no numbers left for " + s.Name + "; connect to the hub"
	if !s.Key {
		next := "(SELECT min(next) FROM _tidemark_lease WHERE name = " + literal(s.Name) + " AND next <= last)"
		return append(out, g.hook("fill", i, "AFTER INSERT", mute+" AND NEW."+col+" IS NULL",
			raise(none, "NOT "+left),
			fmt.Sprintf("UPDATE %s SET %s = %s WHERE %s AND %s IS NULL", g.table(), col, next, g.sameKey(), col)))
	}
	// A key that stands already belongs to an upsert, which chooses no new one. A key
	// that SQLite would choose is not known yet here, and outside of every range.
	foreign := mute + " AND NOT EXISTS (SELECT 1 FROM _tidemark_lease WHERE name = " + literal(s.Name) + " AND NEW." + col + " BETWEEN first AND last)"
	own := "this key of " + s.Table + " is not one of this device's numbers: take the next from tidemark_number, name " + s.Name
	return append(out,
		g.hook("key", i, "BEFORE INSERT", foreign+" AND NOT EXISTS (SELECT 1 FROM "+g.table()+" WHERE "+g.sameKey()+")",
			raise(none, "NOT "+left), raise(own, left)),
		g.hook("rekeyed", i, "BEFORE UPDATE OF "+strings.Join(g.keyColumns(), ", "), foreign+" AND NEW."+col+" IS NOT OLD."+col,
			raise(none, "NOT "+left), raise(own, left)))
}

// shareKey is a row's key as _tidemark_share has it: each value's storage class and
// bytes. change.Key cannot be computed in SQL; parseShareKey reads this form.
func shareKey(prefix string, names []string) string {
	parts := make([]string, len(names))
	for i, n := range names {
		q := prefix + sqlite.Quote(n)
		parts[i] = "substr(typeof(" + q + "), 1, 1) || hex(" + q + ")"
	}
	return strings.Join(parts, " || ',' || ")
}

// shareLabel is a row's key for people.
func shareLabel(prefix string, names []string) string {
	parts := make([]string, len(names))
	for i, n := range names {
		q := prefix + sqlite.Quote(n)
		parts[i] = "CASE typeof(" + q + ") WHEN 'blob' THEN hex(" + q + ") ELSE " + q + " END"
	}
	return strings.Join(parts, " || '/' || ")
}

// shares is the triggers of a bounded counter: escrow, in SQL. What the application
// takes comes off this file's share, what it adds goes to it, and more than the
// share cannot be taken, so that no two devices can sell one piece.
func (g *generator) shares(b *rule.Bound, i int) []string {
	c := sqlite.Quote(g.t.cols[i])
	now, old := "coalesce(NEW."+c+", 0)", "coalesce(OLD."+c+", 0)"
	where := "tbl = " + literal(b.Table) + " AND key = " + shareKey("NEW.", g.keyNames()) + " AND col = " + literal(b.Column)
	share := func(what string) string {
		return "coalesce((SELECT " + what + " FROM _tidemark_share WHERE " + where + "), 0)"
	}
	has := "EXISTS (SELECT 1 FROM _tidemark_share WHERE " + where + ")"
	begin := func(left string) string {
		return fmt.Sprintf("INSERT INTO _tidemark_share (tbl, key, col, label, left) SELECT %s, %s, %s, %s, %s WHERE NOT %s",
			literal(b.Table), shareKey("NEW.", g.keyNames()), literal(b.Column), shareLabel("NEW.", g.keyNames()), left, has)
	}
	set := func(what, cond string) string {
		return "UPDATE _tidemark_share SET " + what + " WHERE " + where + cond
	}
	name := b.Table + "." + b.Column
	short := fmt.Sprintf("%s: this device's share does not reach for that (see tidemark_share); it grows when the device meets the hub", name)
	whole := raise(name+" counts whole things", "typeof(NEW."+c+") NOT IN ('integer', 'null')")
	low := "(had IS NULL OR left * 2 < had)"
	changed := "NEW." + c + " IS NOT OLD." + c
	floor := fmt.Sprintf("%d", b.Floor)
	was := share("was")
	return []string{
		g.hook("taken", i, "AFTER UPDATE OF "+c, mute+" AND "+changed, whole,
			raise(short, now+" < "+old+" AND "+share("left")+" + "+now+" - "+old+" < 0"),
			begin("0"),
			set("left = max(left + "+now+" - "+old+", 0)", ""),
			set("ask = 1", " AND "+low)),
		// Of INSERT OR REPLACE no other trigger tells what was there (trap S1).
		g.hook("replacing", i, "BEFORE INSERT", mute+" AND "+has,
			set("was = (SELECT "+c+" FROM "+g.table()+" WHERE "+g.sameKey()+")", "")),
		g.hook("replaced", i, "AFTER INSERT", mute, whole,
			raise(name+" cannot go below "+floor, "NOT "+share("was IS NOT NULL")+" AND "+now+" < "+floor),
			raise(short, share("was IS NOT NULL")+" AND "+now+" < "+was+" AND "+share("left")+" + "+now+" - "+was+" < 0"),
			set("left = min(left, max("+now+" - "+floor+", 0)), ask = 1", " AND was IS NULL"),
			set("left = max(left + "+now+" - was, 0), was = NULL, ask = 1", " AND was IS NOT NULL"),
			begin("max("+now+" - "+floor+", 0)")),
		g.hook("renamed", i, "AFTER UPDATE OF "+strings.Join(g.keyColumns(), ", "), mute, begin("0")),
		g.hook("arrived", i, "AFTER INSERT", applying, begin("0")),
		g.hook("came", i, "AFTER UPDATE OF "+c, applying+" AND "+changed, begin("0"),
			set("ask = 1", " AND NEW."+c+" IS NOT seen AND ("+low+" OR left = 0 OR "+now+" - "+floor+" >= 2 * (seen - "+floor+") OR 2 * ("+now+" - "+floor+") <= seen - "+floor+")")),
	}
}
