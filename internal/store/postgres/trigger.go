package postgresstore

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/tidemark-sync/tidemark/internal/store/ledger"
)

// Capture is six triggers on a table, each with a function of its own in the schema
// tidemark. Inserts, deletes and updates are logged once a statement, from its transition
// tables; but of updates row by row those that change a key, or what scopes hang on. A
// TRUNCATE logs every row as deleted (trap P7). What a logical subscription brings fires no
// triggers of statements: there is one of rows for it, which fires in no other session. In
// one that says it were a replica, both do, and log twice.
//
// An update's two transition tables are filled side by side, so that a row's place in one
// is its place in the other. The plan that joins them is made when they are small, and used
// when they are large, or the other way round (trap P13): so it is one that suits both. A
// full join can only be hashed or merged, and OFFSET 0 keeps it one; of two single rows
// there is nothing to join; and nothing is compiled for a plan that looked dear once.
//
// The others are ENABLE ALWAYS, since whatever a replica writes counts, too. The
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
	for _, tr := range []trigger{t.onInsert(), t.onUpdate(), t.onChange(), t.onDelete(), t.onTruncate(), t.onReplica()} {
		fn := "tidemark." + tr.name + "_" + t.number()
		out = append(out,
			"CREATE OR REPLACE FUNCTION "+fn+"() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off AS $tidemark$\n"+
				"#variable_conflict use_variable\nDECLARE\n"+captureHead+tr.vars+"BEGIN\n  "+strings.Join(tr.body, ";\n  ")+
				";\n  PERFORM pg_notify('tidemark', '');\n  RETURN NULL;\nEND $tidemark$",
			"CREATE OR REPLACE TRIGGER tidemark_"+tr.name+" "+fmt.Sprintf(tr.event, t.name)+" EXECUTE FUNCTION "+fn+"()",
			"ALTER TABLE "+t.name+" ENABLE "+captureFires["tidemark_"+tr.name]+" TRIGGER tidemark_"+tr.name)
	}
	return out
}

// captureFires are the triggers of every table, and in which sessions they fire.
var captureFires = map[string]string{"tidemark_chg": "ALWAYS", "tidemark_del": "ALWAYS", "tidemark_ins": "ALWAYS", "tidemark_trc": "ALWAYS", "tidemark_upd": "ALWAYS",
	"tidemark_rep": "REPLICA"}

// captureMarks begin the hash of a capture, and say how many triggers it has. One without
// any is from a build that had four.
var captureMarks = []string{"4-", "5-", "6-"}

// captureHash names what capture says.
func (t *table) captureHash() string {
	sum := sha256.Sum256([]byte(strings.Join(t.capture(), ";\n")))
	return captureMarks[len(captureMarks)-1] + hex.EncodeToString(sum[:16])
}

// captureWhole is how many triggers the capture that stands has when none is missing.
func (t *table) captureWhole() int {
	for i, m := range captureMarks {
		if strings.HasPrefix(t.captured, m) {
			return 4 + i
		}
	}
	if t.captured != "" {
		return 4
	}
	return len(captureFires)
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
	return crossing + ";\n    INSERT INTO tidemark.orphan (tbl) VALUES (" + t.number() + ") ON CONFLICT DO NOTHING"
}

func (t *table) onInsert() trigger {
	tr := trigger{name: "ins", event: "AFTER INSERT ON %s REFERENCING NEW TABLE AS tidemark_new FOR EACH STATEMENT"}
	tr.body = append([]string{"IF _o = " + originBulk + " THEN\n    RETURN NULL;\n  END IF", t.log("n.", ledger.Insert, "0", t.expr("n."), writing, " FROM tidemark_new AS n"), ifAny},
		t.noteOrphans()...)
	if len(t.below) > 0 {
		tr.vars = t.looseVar()
		tr.body = append(tr.body, when("_loose", noted(t.followAll("n.", entering, t.expr("n."), "tidemark_new AS n CROSS JOIN "))))
	}
	tr.body = append(tr.body, t.crosses()...)
	return tr
}

// ifAny ends a trigger whose statement changed nothing: nobody is to hear of it.
const ifAny = "IF NOT FOUND THEN\n    RETURN NULL;\n  END IF"

// noteOrphans notes rows that were written without the parent that their scope hangs on,
// where that can be.
func (t *table) noteOrphans() []string {
	if t.scope.parent == nil {
		return nil
	}
	cond := "current_setting('session_replication_role') = 'replica'"
	if t.dangles {
		cond = "true"
	}
	return []string{"IF " + cond + " THEN\n    IF EXISTS (SELECT FROM tidemark_new AS n WHERE " + t.expr("n.") + " = '" + ledger.Orphan + "') THEN\n      " +
		noteOrphan(t) + ";\n    END IF;\n  END IF"}
}

// noteOrphaned is noteOrphan for one row, under its scope.
func (t *table) noteOrphaned(scope string) []string {
	if t.scope.parent == nil {
		return nil
	}
	return []string{when(scope+" = '"+ledger.Orphan+"'", []string{noteOrphan(t)})}
}

// notBulk is the condition that capture is to log.
const notBulk = "current_setting('tidemark.origin', true) IS DISTINCT FROM '" + originBulk + "'"

// apart are the columns whose change is logged row by row: with it a row gets another key,
// or other rows another scope.
func (t *table) apart() []int {
	list := slices.Concat(t.key, t.sources(), t.targets())
	slices.Sort(list)
	return slices.Compact(list)
}

// onChange logs the other updates. A change that no known column shows is one of a column
// that was added since: it counts as any.
func (t *table) onChange() trigger {
	tr := trigger{name: "chg", event: "AFTER UPDATE ON %s REFERENCING OLD TABLE AS tidemark_old NEW TABLE AS tidemark_new FOR EACH STATEMENT WHEN (" + notBulk + ")",
		vars: "  _n int := (SELECT count(*) FROM (SELECT FROM tidemark_new LIMIT 2) AS x);\n"}
	side := func(table string) string {
		return "(SELECT " + table + ".*, " + table + " AS tidemark_row, row_number() OVER () AS tidemark_at FROM " + table + ")"
	}
	mask := maskLogged("n.tidemark_mask")
	what := t.mask("o.", "n.") + " AS tidemark_mask, " + t.changed(t.apart(), "o.", "n.") + " AS tidemark_apart"
	one := " FROM (SELECT n.*, " + what + " FROM tidemark_old AS o CROSS JOIN tidemark_new AS n WHERE o.* *<> n.*) AS n WHERE NOT n.tidemark_apart"
	more := " FROM (SELECT n.*, o.tidemark_row AS tidemark_was, " + what + " FROM " + side("tidemark_old") + " AS o FULL JOIN " + side("tidemark_new") +
		" AS n USING (tidemark_at) OFFSET 0) AS n WHERE n.tidemark_was *<> n.tidemark_row AND NOT n.tidemark_apart"
	tr.body = append([]string{
		"IF _n = 1 THEN\n    " + t.log("n.", ledger.Update, mask, t.expr("n."), writing, one) +
			";\n  ELSIF _n > 1 THEN\n    " + t.log("n.", ledger.Update, mask, t.expr("n."), writing, more) + ";\n  ELSE\n    RETURN NULL;\n  END IF", ifAny},
		append(t.noteOrphans(), t.crosses()...)...)
	return tr
}

// onUpdate logs a changed key as a delete and an insert (trap S8).
func (t *table) onUpdate() trigger {
	tr := trigger{name: "upd", event: "AFTER UPDATE ON %s FOR EACH ROW WHEN ((" + t.changed(t.apart(), "OLD.", "NEW.") + ") AND " + notBulk + ")",
		vars: "  _s text COLLATE \"C\" := " + t.expr("NEW.") + ";\n  _was text COLLATE \"C\" := _s;\n  _m bigint := " + t.mask("OLD.", "NEW.") + ";\n"}
	rekey := t.changed(t.key, "OLD.", "NEW.")
	src := t.sources()
	if len(src) > 0 {
		tr.body = append(tr.body, "IF "+t.changed(src, "OLD.", "NEW.")+" THEN\n    _was := "+t.past("OLD.")+";\n  END IF")
	}
	tr.body = append(tr.body, "IF _m = "+strconv.FormatInt(ledger.MaskSeen, 10)+" THEN\n    _m := 0;\n  END IF",
		"IF "+rekey+" THEN\n    "+t.bury("OLD.", "_was", "")+";\n    "+t.log("NEW.", ledger.Insert, "0", "_s", writing, "")+
			";\n  ELSE\n    "+t.log("NEW.", ledger.Update, "_m", "_s", writing, "")+";\n  END IF")
	if len(src) > 0 {
		moved := slices.Concat([]string{t.log("NEW.", ledger.Leave, "0", "_was", writing, "")}, t.followAll("NEW.", writing, "_was", ""), t.followAll("NEW.", entering, "_s", ""))
		if len(t.below) > 0 { // what seems to stay may not: see crossing.go
			tr.body = append(tr.body, when(t.changed(src, "OLD.", "NEW."), noted([]string{when("_was = _s", t.followAll("NEW.", writing, seeming+"_s", ""))})))
		}
		tr.body = append(tr.body, when("_was <> _s", moved))
	}
	tr.body = append(tr.body, t.noteOrphaned("_s")...)
	if to := t.targets(); len(to) > 0 {
		tr.vars += t.looseVar()
		gone := noted(t.followAll("OLD.", writing, "_was", ""), t.followAll("NEW.", entering, "_s", ""))
		tr.body = append(tr.body, when("_loose AND ("+t.changed(to, "OLD.", "NEW.")+")", gone))
	}
	tr.body = append(tr.body, t.crosses()...)
	return tr
}

// onDelete comes after the foreign keys' actions: the rows below that are still
// there hang in the air.
func (t *table) onDelete() trigger {
	tr := trigger{name: "del", event: "AFTER DELETE ON %s REFERENCING OLD TABLE AS tidemark_old FOR EACH STATEMENT"}
	tr.body = []string{t.bury("o.", t.past("o."), " FROM tidemark_old AS o"), ifAny}
	if len(t.below) > 0 {
		tr.vars = t.looseVar()
		tr.body = append(tr.body, when("_loose", noted(t.followAll("o.", writing, t.past("o."), "tidemark_old AS o CROSS JOIN "), []string{noteOrphan(t)})))
	}
	tr.body = append(tr.body, t.crosses()...)
	return tr
}

// onReplica logs row by row what triggers of statements do not see; onUpdate sees the rest.
func (t *table) onReplica() trigger {
	tr := trigger{name: "rep", event: "AFTER INSERT OR UPDATE OR DELETE ON %s FOR EACH ROW WHEN (" + notBulk + ")"}
	put, drop := t.noteOrphaned(t.expr("NEW.")), []string(nil)
	write := append([]string{t.log("NEW.", ledger.Insert, "0", t.expr("NEW."), writing, "")}, put...)
	if len(t.below) > 0 {
		write = append(write, noted(t.followAll("NEW.", entering, t.expr("NEW."), ""))...)
		drop = noted(t.followAll("OLD.", writing, t.past("OLD."), ""), []string{noteOrphan(t)})
	}
	amend := append([]string{t.log("NEW.", ledger.Update, maskLogged("_m"), t.expr("NEW."), writing, " FROM (SELECT "+t.mask("OLD.", "NEW.")+") AS x (_m)")}, put...)
	tr.body = []string{"IF TG_OP = 'INSERT' THEN\n    " + strings.Join(write, ";\n    ") +
		";\n  ELSIF TG_OP = 'DELETE' THEN\n    " + strings.Join(append([]string{t.bury("OLD.", t.past("OLD."), "")}, drop...), ";\n    ") +
		";\n  ELSIF OLD *<> NEW AND NOT (" + t.changed(t.apart(), "OLD.", "NEW.") + ") THEN\n    " + strings.Join(amend, ";\n    ") + ";\n  END IF"}
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

// changed is true when some of the columns are others in now than in was.
func (t *table) changed(list []int, was, now string) string {
	parts := make([]string, len(list))
	for i, c := range list {
		parts[i] = t.cols[c].differs(was, now)
	}
	return strings.Join(parts, " OR ")
}

// maskLogged is a mask as the log has it: 0 when no bit stands for what changed.
func maskLogged(mask string) string {
	return "CASE " + mask + " WHEN " + strconv.FormatInt(ledger.MaskSeen, 10) + " THEN 0 ELSE " + mask + " END"
}

// mask is the columns that an update changed, as bits. A change beyond the bits
// there are is 0: any column.
func (t *table) mask(was, now string) string {
	bits, beyond := []string{strconv.FormatInt(ledger.MaskSeen, 10) + "::bigint"}, []string(nil)
	for i := range t.cols {
		if d := t.cols[i].differs(was, now); i < ledger.MaskBits {
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
