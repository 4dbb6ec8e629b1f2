package sqlitestore

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
	"github.com/tidemark-sync/tidemark/internal/store/ledger"
)

// A trigger is one of ours: its name and its whole CREATE statement.
type trigger struct{ name, sql string }

// triggerClock is now as a change.HLC: milliseconds since 1970 in the upper 48 bits.
const triggerClock = "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER) << 16"

// An origin is who and when, as SQL expressions for the log.
type origin struct{ who, clock string }

var (
	other = origin{opText(ledger.Other), triggerClock}
	// entering says that the hub itself tells: nobody filters it as an echo.
	entering = origin{opText(ledger.Hub), triggerClock}
	// bound is for statements of our own, with parameters.
	bound = origin{"?", "?"}
)

// capture is every trigger of a table. They serve other programs only: our own
// connection runs no trigger of the file, and writes its log itself (see tx).
func (t *table) capture() []trigger {
	list := []trigger{t.afterInsert(), t.afterUpdate(), t.afterDelete(), t.afterRekey()}
	for _, f := range []func() (trigger, bool){t.afterMove, t.beforeRetarget, t.afterArrival, t.beforeDelete} {
		if tr, ok := f(); ok {
			list = append(list, tr)
		}
	}
	return append(list, t.probes()...)
}

// make builds a trigger: when is its event and table, body its statements.
func (t *table) make(kind, event, cond string, body ...string) trigger {
	name := fmt.Sprintf("%s%s%d", sqlite.Prefix, kind, t.id)
	sql := "CREATE TRIGGER " + name + " " + event + " ON " + t.name
	if cond != "" {
		sql += " WHEN " + cond
	}
	return trigger{name, sql + " BEGIN\n  " + strings.Join(body, ";\n  ") + ";\nEND"}
}

// logInto is the head of a statement that logs rows of t.
func (t *table) logInto() string {
	return "INSERT INTO _tidemark_log (tbl, " + strings.Join(logKeys("", len(t.key)), ", ") + ", op, mask, origin, hlc, scope) SELECT " +
		t.number() + ", "
}

// log logs the row that prefix ("NEW." or "OLD.") names.
func (t *table) log(prefix, op, mask, scope string) string {
	return t.logInto() + sqlite.QuoteAll(prefix, t.keyNames) + ", " + op + ", " + mask + ", " + other.who + ", " + other.clock + ", " + scope
}

func opText(op int) string { return strconv.Itoa(op) }

// entomb keeps the image of the row that was just logged.
func (t *table) entomb(prefix, from string) string {
	cols := make([]string, len(t.names))
	for i := range cols {
		cols[i] = fmt.Sprintf("v%d", i)
	}
	return "INSERT INTO _tidemark_tomb (pos, " + strings.Join(cols, ", ") + ") SELECT last_insert_rowid(), " + sqlite.QuoteAll(prefix, t.names) + from
}

func (t *table) afterInsert() trigger {
	return t.make("ins", "AFTER INSERT", "", t.log("NEW.", opText(ledger.Insert), "0", t.expr("NEW.")))
}

// afterUpdate logs the row under its new key; afterRekey logs the old one (trap S8).
func (t *table) afterUpdate() trigger {
	op := "CASE WHEN " + differs(t.keyNames) + " THEN " + opText(ledger.Insert) + " ELSE " + opText(ledger.Update) + " END"
	return t.make("upd", "AFTER UPDATE", "", t.log("NEW.", op, t.mask(), t.expr("NEW.")))
}

func (t *table) afterRekey() trigger {
	return t.make("key", "AFTER UPDATE OF "+sqlite.QuoteAll("", t.keyNames), differs(t.keyNames),
		t.log("OLD.", opText(ledger.Delete), "0", t.expr("OLD.")), t.entomb("OLD.", ""))
}

// afterDelete also notes the rows that hang in the air now: another program may
// have foreign keys off, and put the parent back.
func (t *table) afterDelete() trigger {
	body := []string{t.log("OLD.", opText(ledger.Delete), "0", t.expr("OLD.")), t.entomb("OLD.", "")}
	for _, d := range t.below {
		body = append(body, t.follow(d, "OLD.", other, "'"+ledger.Orphan+"'", "", ""))
	}
	return t.make("del", "AFTER DELETE", "", body...)
}

// afterMove tells the scope that a row leaves, and moves what hangs on it.
func (t *table) afterMove() (trigger, bool) {
	src := t.sources()
	if len(src) == 0 {
		return trigger{}, false
	}
	body := []string{t.log("NEW.", opText(ledger.Leave), "0", t.expr("OLD."))}
	for _, d := range t.below {
		body = append(body, t.follow(d, "NEW.", other, t.expr("OLD."), "", ""), t.follow(d, "NEW.", entering, t.expr("NEW."), "", ""))
	}
	return t.make("mov", "AFTER UPDATE OF "+sqlite.QuoteAll("", src), differs(src), body...), true
}

// beforeRetarget tells the rows that hang on columns about to change that they
// leave, while the way to them still stands.
func (t *table) beforeRetarget() (trigger, bool) {
	to := t.targets()
	if len(to) == 0 {
		return trigger{}, false
	}
	return t.make("tgt", "BEFORE UPDATE OF "+sqlite.QuoteAll("", to), differs(to), t.leaving("OLD.", "", "")...), true
}

// afterArrival finds rows that were written before their parent, or that stayed
// while it was replaced, and logs them as entering. The log's last entries are
// looked at because this may run after afterInsert or before it.
func (t *table) afterArrival() (trigger, bool) {
	if len(t.below) == 0 {
		return trigger{}, false
	}
	replaced := "EXISTS (SELECT 1 FROM _tidemark_log WHERE pos > (SELECT max(pos) FROM _tidemark_log) - 16 AND tbl = " + t.number() + " AND op = " +
		opText(opMaybe) + " AND " + logKeyIs("", prefixed("NEW.", t.keyNames)) + ")"
	var body []string
	for _, d := range t.below {
		body = append(body, t.follow(d, "NEW.", entering, t.expr("NEW."), "(SELECT 1 WHERE "+replaced+" LIMIT 1) CROSS JOIN ", ""),
			t.adopt(d, "NEW.", entering, t.expr("NEW."), "", ""))
	}
	return t.make("arr", "AFTER INSERT", hasOrphans+" OR "+replaced, body...), true
}

const hasOrphans = "EXISTS (SELECT 1 FROM _tidemark_log WHERE scope = '" + ledger.Orphan + "')"

// adopt is follow for rows that the log knows without a parent.
func (t *table) adopt(d []*table, prefix string, by origin, scope, from, where string) string {
	e := d[len(d)-1]
	return t.follow(d, prefix, by, scope, "(SELECT DISTINCT "+strings.Join(logKeys("", len(e.key)), ", ")+" FROM _tidemark_log WHERE scope = '"+ledger.Orphan+
		"' AND tbl = "+e.number()+") AS _l CROSS JOIN "+from,
		" AND "+equals(fmt.Sprintf("_c%d.", len(d)-1), e.keyNames, logKeys("_l.", len(e.key)))+where)
}

// beforeDelete marks where a deletion begins, and tells the rows that hang on
// this one that they leave: foreign key actions come before their own triggers.
func (t *table) beforeDelete() (trigger, bool) {
	if len(t.below) == 0 && !t.cascades {
		return trigger{}, false
	}
	body := t.leaving("OLD.", "", "")
	if t.cascades {
		body = append([]string{t.log("OLD.", opText(opBefore), "0", "''")}, body...)
	}
	return t.make("bye", "BEFORE DELETE", "", body...), true
}

// leaving logs every row below the one that prefix names as leaving its scope.
// from ends in CROSS JOIN and adds a table to choose that row from, where a
// condition on it.
func (t *table) leaving(prefix, from, where string) []string {
	var out []string
	for _, d := range t.below {
		out = append(out, t.follow(d, prefix, other, t.expr(prefix), from, where))
	}
	return out
}

// follow logs the rows at the end of a descent from the row of t that prefix
// names, under a scope.
func (t *table) follow(d []*table, prefix string, by origin, scope, from, where string) string {
	e := d[len(d)-1]
	var b strings.Builder
	last := fmt.Sprintf("_c%d.", len(d)-1)
	b.WriteString(e.logInto() + sqlite.QuoteAll(last, e.keyNames) + ", " + opText(ledger.Follow) + ", 0, " + by.who + ", " + by.clock + ", " + scope + " FROM " + from)
	up := prefix
	var conds []string
	for i, c := range d {
		me := fmt.Sprintf("_c%d.", i)
		if i > 0 {
			b.WriteString(" JOIN ")
		}
		b.WriteString(c.name + " AS " + strings.TrimSuffix(me, "."))
		conds = append(conds, equals(up, c.scope.FK.To, prefixed(me, fkNames(c, c.scope.FK))))
		up = me
	}
	b.WriteString(" WHERE " + strings.Join(conds, " AND ") + where)
	return b.String()
}

// number is the table's number, as SQL.
func (t *table) number() string { return strconv.FormatInt(t.id, 10) }

// logKeyIs compares the log's key columns.
func logKeyIs(prefix string, values []string) string {
	parts := make([]string, len(values))
	for i, k := range logKeys(prefix, len(values)) {
		parts[i] = k + " = " + values[i]
	}
	return strings.Join(parts, " AND ")
}

// differs is true when some of the columns changed, even if their collation says
// otherwise (trap S17).
func differs(names []string) string {
	parts := make([]string, len(names))
	for i, n := range names {
		parts[i] = "OLD." + sqlite.Quote(n) + " IS NOT NEW." + sqlite.Quote(n) + " COLLATE BINARY"
	}
	return balanced(parts, " OR ")
}

// mask is the columns that an update changed, as bits. A change beyond the bits
// there are is 0: any column.
func (t *table) mask() string {
	bits, beyond := []string{strconv.FormatInt(ledger.MaskSeen, 10)}, []string(nil)
	for i, c := range t.stored {
		col := &t.def.Columns[c]
		d := "OLD." + sqlite.Quote(col.Name) + " IS NOT NEW." + sqlite.Quote(col.Name) + " COLLATE BINARY"
		if t.def.Affinity(c) == change.AffinityBlob { // 1 and 1.0 are equal, and yet stored differently
			d += " OR typeof(OLD." + sqlite.Quote(col.Name) + ") <> typeof(NEW." + sqlite.Quote(col.Name) + ")"
		}
		if i < ledger.MaskBits {
			bits = append(bits, fmt.Sprintf("((%s) << %d)", d, i))
		} else {
			beyond = append(beyond, d)
		}
	}
	if len(beyond) == 0 {
		return balanced(bits, " | ")
	}
	return "CASE WHEN " + balanced(beyond, " OR ") + " THEN 0 ELSE " + balanced(bits, " | ") + " END"
}

// balanced joins expressions as a shallow tree: SQLite limits their depth.
func balanced(parts []string, op string) string {
	if len(parts) == 1 {
		return parts[0]
	}
	if len(parts) <= 8 {
		return "(" + strings.Join(parts, op) + ")"
	}
	half := len(parts) / 2
	return "(" + balanced(parts[:half], op) + op + balanced(parts[half:], op) + ")"
}
