package postgresstore

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"github.com/tidemark-sync/tidemark/internal/store/ledger"
)

// Capture is four triggers on a table, each with a function of its own in the schema
// tidemark. Inserts and deletes are logged once a statement, from its transition
// table; updates row by row, because a statement trigger's plan for joining two
// transition tables is made when they are empty, and a bad one for large ones (trap
// P13). A TRUNCATE logs every row as deleted (trap P7).
//
// All are ENABLE ALWAYS: rows that logical replication brings count, too. The
// functions run as their owner, so that whoever writes the table needs no rights in
// the schema tidemark, and with a search path that nobody can put anything on.

// A trigger is one of ours.
type trigger struct {
	name  string // of the trigger, and with the table's number of its function
	event string // of CREATE TRIGGER, with %s for the table
	vars  string
	body  []string
}

// captureHead says who writes, and when.
const captureHead = `  _o int := coalesce(nullif(current_setting('tidemark.origin', true), ''), '0')::int;
  _h bigint := CASE WHEN _o = 0 THEN (extract(epoch FROM clock_timestamp()) * 1000)::bigint << 16
    ELSE coalesce(nullif(current_setting('tidemark.hlc', true), ''), '0')::bigint END;
`

// An origin is who and when, as SQL expressions for the log.
type origin struct{ who, clock string }

var (
	writing = origin{"_o", "_h"}
	// entering says that the hub itself tells: nobody filters it as an echo.
	entering = origin{strconv.Itoa(ledger.Hub), "_h"}
)

// capture is the statements that set up a table's triggers.
func (t *table) capture() []string {
	var out []string
	for _, tr := range []trigger{t.onInsert(), t.onUpdate(), t.onDelete(), t.onTruncate()} {
		fn := "tidemark." + tr.name + "_" + t.number()
		out = append(out,
			"CREATE OR REPLACE FUNCTION "+fn+"() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $tidemark$\n"+
				"#variable_conflict use_variable\nDECLARE\n"+captureHead+tr.vars+"BEGIN\n  "+strings.Join(tr.body, ";\n  ")+
				";\n  PERFORM pg_notify('tidemark', '');\n  RETURN NULL;\nEND $tidemark$",
			"CREATE OR REPLACE TRIGGER tidemark_"+tr.name+" "+fmt.Sprintf(tr.event, t.name)+" EXECUTE FUNCTION "+fn+"()",
			"ALTER TABLE "+t.name+" ENABLE ALWAYS TRIGGER tidemark_"+tr.name)
	}
	return out
}

// captureNames are the triggers of every table.
var captureNames = []string{"tidemark_del", "tidemark_ins", "tidemark_trc", "tidemark_upd"}

// captureHash names what capture says.
func (t *table) captureHash() string {
	sum := sha256.Sum256([]byte(strings.Join(t.capture(), ";\n")))
	return hex.EncodeToString(sum[:16])
}

// log logs rows of t: prefix names them, from is a FROM clause or "".
func (t *table) log(prefix string, op int, mask, scope string, by origin, from string) string {
	return t.logInto("") + t.number() + ", " + t.logKey(prefix) + ", " + strconv.Itoa(op) + ", " + mask + ", " + by.who + ", " + by.clock + ", " + scope + from
}

// logInto is the head of a statement that logs; more are further columns.
func (t *table) logInto(more string) string {
	return "INSERT INTO tidemark.log (tbl, key, op, mask, origin, hlc, scope" + more + ") SELECT "
}

// bury logs rows of t as deleted, with their images.
func (t *table) bury(prefix, scope, from string) string {
	return t.logInto(", image") + t.number() + ", " + t.logKey(prefix) + ", " + strconv.Itoa(ledger.Delete) + ", 0, _o, _h, " + scope + ", " + t.image(prefix) + from
}

// looseVar says whether rows may be there without the row that their scope hangs on:
// where foreign keys are off or deferred, or once were.
func (t *table) looseVar() string {
	return "  _loose boolean := " + strconv.FormatBool(t.loose) + " OR current_setting('session_replication_role') = 'replica' OR EXISTS (SELECT FROM tidemark.orphan);\n"
}

func noteOrphan(t *table) string {
	return "INSERT INTO tidemark.orphan (tbl) VALUES (" + t.number() + ") ON CONFLICT DO NOTHING"
}

func (t *table) onInsert() trigger {
	tr := trigger{name: "ins", event: "AFTER INSERT ON %s REFERENCING NEW TABLE AS tidemark_new FOR EACH STATEMENT"}
	tr.body = []string{"IF _o = " + originBulk + " THEN\n    RETURN NULL;\n  END IF", t.log("n.", ledger.Insert, "0", t.expr("n."), writing, " FROM tidemark_new AS n")}
	if t.scope.parent != nil {
		cond := "current_setting('session_replication_role') = 'replica'"
		if t.dangles {
			cond = "true"
		}
		tr.body = append(tr.body, "IF "+cond+" THEN\n    IF EXISTS (SELECT FROM tidemark_new AS n WHERE "+t.expr("n.")+" = '"+ledger.Orphan+"') THEN\n      "+
			noteOrphan(t)+";\n    END IF;\n  END IF")
	}
	if len(t.below) > 0 {
		tr.vars = t.looseVar()
		tr.body = append(tr.body, when("_loose", t.followAll("n.", entering, t.expr("n."), "tidemark_new AS n CROSS JOIN ")))
	}
	return tr
}

// onUpdate logs a changed key as a delete and an insert (trap S8). The trigger only
// runs where something changed, so a change that no known column shows is one of a
// column that was added since: it counts as any.
func (t *table) onUpdate() trigger {
	tr := trigger{name: "upd", event: "AFTER UPDATE ON %s FOR EACH ROW WHEN (OLD.* *<> NEW.* AND current_setting('tidemark.origin', true) IS DISTINCT FROM '" + originBulk + "')",
		vars: "  _s text COLLATE \"C\" := " + t.expr("NEW.") + ";\n  _was text COLLATE \"C\" := _s;\n  _m bigint := " + t.mask() + ";\n"}
	rekey := t.changed(t.key)
	src := t.sources()
	if len(src) > 0 {
		tr.body = append(tr.body, "IF "+t.changed(src)+" THEN\n    _was := "+t.past("OLD.")+";\n  END IF")
	}
	tr.body = append(tr.body, "IF _m = "+strconv.FormatInt(ledger.MaskSeen, 10)+" THEN\n    _m := 0;\n  END IF",
		"IF "+rekey+" THEN\n    "+t.bury("OLD.", "_was", "")+";\n    "+t.log("NEW.", ledger.Insert, "0", "_s", writing, "")+
			";\n  ELSE\n    "+t.log("NEW.", ledger.Update, "_m", "_s", writing, "")+";\n  END IF")
	if len(src) > 0 {
		moved := append([]string{t.log("NEW.", ledger.Leave, "0", "_was", writing, "")}, t.followAll("NEW.", writing, "_was", "")...)
		moved = append(moved, t.followAll("NEW.", entering, "_s", "")...)
		tr.body = append(tr.body, when("_was <> _s", moved))
	}
	if t.scope.parent != nil {
		tr.body = append(tr.body, when("_s = '"+ledger.Orphan+"'", []string{noteOrphan(t)}))
	}
	if to := t.targets(); len(to) > 0 {
		tr.vars += t.looseVar()
		gone := append(t.followAll("OLD.", writing, "_was", ""), t.followAll("NEW.", entering, "_s", "")...)
		tr.body = append(tr.body, when("_loose AND ("+t.changed(to)+")", gone))
	}
	return tr
}

// onDelete comes after the foreign keys' actions: the rows below that are still
// there hang in the air.
func (t *table) onDelete() trigger {
	tr := trigger{name: "del", event: "AFTER DELETE ON %s REFERENCING OLD TABLE AS tidemark_old FOR EACH STATEMENT"}
	tr.body = []string{t.bury("o.", t.past("o."), " FROM tidemark_old AS o")}
	if len(t.below) > 0 {
		tr.vars = t.looseVar()
		tr.body = append(tr.body, when("_loose", append(t.followAll("o.", writing, t.past("o."), "tidemark_old AS o CROSS JOIN "), noteOrphan(t))))
	}
	return tr
}

func (t *table) onTruncate() trigger {
	return trigger{name: "trc", event: "BEFORE TRUNCATE ON %s FOR EACH STATEMENT",
		body: []string{t.bury("t.", t.past("t."), " FROM "+t.name+" AS t")}}
}

func when(cond string, list []string) string {
	if len(list) == 0 {
		return "NULL"
	}
	return "IF " + cond + " THEN\n    " + strings.Join(list, ";\n    ") + ";\n  END IF"
}

// followAll logs every row below the one that prefix names. from ends in CROSS JOIN
// and names where that row comes from, when it is no variable.
func (t *table) followAll(prefix string, by origin, scope, from string) []string {
	out := make([]string, 0, len(t.below))
	for _, d := range t.below {
		out = append(out, t.follow(d, prefix, by, scope, from, ""))
	}
	return out
}

// follow logs the rows at the end of a descent from the row of t that prefix names,
// under a scope.
func (t *table) follow(d []*table, prefix string, by origin, scope, from, where string) string {
	var b strings.Builder
	b.WriteString(" FROM " + from)
	up, above := prefix, t
	var conds []string
	for i, c := range d {
		me := fmt.Sprintf("_c%d.", i)
		if i > 0 {
			b.WriteString(" CROSS JOIN ")
		}
		b.WriteString(c.name + " AS " + strings.TrimSuffix(me, "."))
		conds = append(conds, equals(c.pick(me, c.scope.from), above.pick(up, c.scope.to)))
		up, above = me, c
	}
	b.WriteString(" WHERE " + strings.Join(conds, " AND ") + where)
	return d[len(d)-1].log(up, ledger.Follow, "0", scope, by, b.String())
}

// changed is true when an update changed some of the columns.
func (t *table) changed(list []int) string {
	parts := make([]string, len(list))
	for i, c := range list {
		parts[i] = t.cols[c].differs()
	}
	return strings.Join(parts, " OR ")
}

// mask is the columns that an update changed, as bits. A change beyond the bits
// there are is 0: any column.
func (t *table) mask() string {
	bits, beyond := []string{strconv.FormatInt(ledger.MaskSeen, 10) + "::bigint"}, []string(nil)
	for i := range t.cols {
		if d := t.cols[i].differs(); i < ledger.MaskBits {
			bits = append(bits, fmt.Sprintf("CASE WHEN %s THEN %d::bigint ELSE 0 END", d, int64(1)<<i))
		} else {
			beyond = append(beyond, d)
		}
	}
	s := strings.Join(bits, " | ")
	if len(beyond) == 0 {
		return s
	}
	return "CASE WHEN " + strings.Join(beyond, " OR ") + " THEN 0 ELSE " + s + " END"
}
