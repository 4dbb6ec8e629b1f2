package postgresstore

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/tidemark-sync/tidemark/change"
)

// A relation is one table as the database's catalogue describes it.
type relation struct {
	OID      uint32
	Schema   string
	Name     string
	Columns  []column     // all of them, generated ones included
	def      change.Table // in SQLite's words, as edges see it; columns parallel to Columns
	refused  []string     // why it cannot sync; empty when it can
	notes    []string     // what is worth knowing when it is adopted
	numbers  map[int]int  // pg_attribute.attnum to index in Columns
	sequence []bool       // parallel to Columns: filled from a sequence
	amends   bool         // triggers of the app may write another row than they are given
	ruled    bool         // it may have rules, which rewrite INSERT but not COPY
}

// ident is the table's name for SQL.
func (r *relation) ident() string { return quote(r.Schema) + "." + quote(r.Name) }

// column is how a column travels, by its index in the table's definition.
func (r *relation) column(i int) column { return r.Columns[i] }

// relations reads the shape of the named tables, in name order. Names are found along
// the search path, as written or else with letter case folded. A table that does not
// exist is left out; one that cannot sync says why.
func relations(ctx context.Context, c *pgx.Conn, names []string) ([]relation, error) {
	cat := &cataloguing{ctx: ctx, c: c, byOID: map[int64]*relation{}}
	for _, step := range []struct {
		what string
		run  func() error
	}{
		{"encoding", cat.encoding}, {"tables", func() error { return cat.tables(names) }}, {"columns", cat.readColumns}, {"indices", cat.indices},
		{"foreign keys", cat.foreignKeys}, {"checks", cat.checks},
	} {
		if err := step.run(); err != nil {
			return nil, fmt.Errorf("read the catalogue's %s: %w", step.what, err)
		}
	}
	out := make([]relation, len(cat.list))
	for i, r := range cat.list {
		r.judge()
		out[i] = *r
	}
	return out, nil
}

// describe is the table in SQLite's words.
func (r *relation) describe() change.Table { return r.def }

type cataloguing struct {
	ctx   context.Context // of one call of relations
	c     *pgx.Conn
	list  []*relation
	byOID map[int64]*relation
	oids  []uint32
}

func (cat *cataloguing) query(sql string, each func(*row) error, args ...any) error {
	return query(cat.ctx, cat.c, sql, each, args...)
}

// encoding refuses a database that takes any bytes for a text. Other encodings are
// converted to the edges' UTF-8 and back.
func (cat *cataloguing) encoding() error {
	return cat.query(`SELECT current_setting('server_encoding')`, func(r *row) error {
		if r.text(0) == "SQL_ASCII" {
			return errors.New("the database is SQL_ASCII, which lets programs write texts that are none: dump it, and restore it into one that is UTF8")
		}
		return nil
	})
}

func (cat *cataloguing) tables(names []string) error {
	lower := make([]string, len(names))
	for i, n := range names {
		lower[i] = strings.ToLower(n)
	}
	found := map[string]*relation{}
	err := cat.query(`SELECT c.oid::int8, n.nspname::text, c.relname::text, c.relkind::text, c.relpersistence::text,
			c.relispartition, EXISTS (SELECT 1 FROM pg_inherits i WHERE c.oid IN (i.inhrelid, i.inhparent)), row_security_active(c.oid),
			EXISTS (SELECT 1 FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid WHERE t.tgrelid = c.oid AND NOT t.tgisinternal AND t.tgenabled <> 'D'
				AND t.tgtype & 3 = 3 AND t.tgtype & 20 <> 0 AND p.pronamespace <> coalesce(to_regnamespace('tidemark'), 0::oid)), c.relhasrules
		FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE lower(c.relname) = ANY($1::text[]) AND c.relkind IN ('r', 'p', 'v', 'm', 'f') AND pg_table_is_visible(c.oid)
			AND n.nspname NOT IN ('tidemark', 'pg_catalog', 'information_schema')
		ORDER BY c.relname`, func(r *row) error {
		rel := &relation{OID: uint32(r.int(0)), Schema: r.text(1), Name: r.text(2), numbers: map[int]int{}, amends: r.bool(8), ruled: r.bool(9)}
		rel.def.Name = rel.Name
		rel.kind(r.text(3), r.text(4), r.bool(5) || r.bool(6), r.bool(7))
		low := strings.ToLower(rel.def.Name)
		if old := found[low]; old == nil || slices.Contains(names, rel.def.Name) {
			found[low] = rel
		}
		return nil
	}, lower)
	if err != nil {
		return err
	}
	slices.Sort(lower)
	for _, n := range slices.Compact(lower) {
		if rel := found[n]; rel != nil {
			cat.list = append(cat.list, rel)
			cat.byOID[int64(rel.OID)] = rel
			cat.oids = append(cat.oids, rel.OID)
		}
	}
	slices.SortFunc(cat.list, func(a, b *relation) int { return strings.Compare(a.def.Name, b.def.Name) })
	return nil
}

// kind refuses what is no ordinary table.
func (r *relation) kind(kind, persistence string, family, guarded bool) {
	switch {
	case kind == "v" || kind == "m":
		r.refuse("it is a view, which holds no rows of its own")
	case kind == "f":
		r.refuse("it is a foreign table: its rows are kept elsewhere, where nobody tells of changes")
	case kind == "p" || family:
		r.refuse("it is partitioned or inherits: writers of a part would not be seen")
	case persistence == "u":
		r.refuse("it is UNLOGGED: a crash empties it without a word; ALTER TABLE … SET LOGGED")
	case persistence == "t":
		r.refuse("it is temporary")
	case guarded:
		r.refuse("row level security hides rows from the hub: give its role BYPASSRLS, or make it the owner")
	}
}

func (r *relation) refuse(format string, args ...any) {
	r.refused = append(r.refused, fmt.Sprintf(format, args...))
}

func (r *relation) note(format string, args ...any) {
	r.notes = append(r.notes, fmt.Sprintf(format, args...))
}

const columnsSQL = `SELECT a.attrelid::int8, a.attnum::int8, a.attname::text, format_type(a.atttypid, a.atttypmod), format_type(a.atttypid, -1),
		b.typname::text, b.typtype::text, coalesce(e.typname::text, ''), coalesce(e.typtype::text, ''), b.mod::int8, a.attnotnull OR b.strict,
		coalesce(pg_get_expr(d.adbin, d.adrelid), ''), a.attgenerated <> '', a.attidentity <> '', coalesce(NOT k.collisdeterministic, false), a.attidentity = 'a',
		coalesce((SELECT quote_ident(n.nspname) FROM pg_namespace n WHERE n.oid = k.collnamespace) || '.' || quote_ident(k.collname), '')
	FROM pg_attribute a
	JOIN LATERAL (WITH RECURSIVE up(oid, typname, typtype, typelem, typbasetype, mod, strict) AS (
			SELECT t.oid, t.typname, t.typtype, t.typelem, t.typbasetype, CASE WHEN t.typtype = 'd' THEN t.typtypmod ELSE a.atttypmod END, t.typnotnull
				FROM pg_type t WHERE t.oid = a.atttypid
			UNION ALL
			SELECT t.oid, t.typname, t.typtype, t.typelem, t.typbasetype, CASE WHEN t.typtype = 'd' AND up.mod < 0 THEN t.typtypmod ELSE up.mod END,
				t.typnotnull OR up.strict FROM up JOIN pg_type t ON t.oid = up.typbasetype WHERE up.typtype = 'd')
		SELECT * FROM up WHERE typtype <> 'd') b ON true
	LEFT JOIN pg_type e ON e.oid = b.typelem AND b.typname LIKE '\_%'
	LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
	LEFT JOIN pg_collation k ON k.oid = a.attcollation
	WHERE a.attrelid = ANY($1::oid[]) AND a.attnum > 0 AND NOT a.attisdropped
	ORDER BY a.attrelid, a.attnum`

func (cat *cataloguing) readColumns() error {
	declared, err := cat.declared()
	if err != nil {
		return err
	}
	return cat.query(columnsSQL, func(r *row) error {
		rel := cat.byOID[r.int(0)]
		c := column{table: rel.Name, name: r.text(2), quoted: quote(r.text(2)), typ: r.text(3), cast: r.text(4), base: r.text(5)}
		c.form = formOf(r.text(5), r.text(6), formOf(r.text(7), r.text(8), formNone))
		c.class = c.form.class()
		c.scale = scaleOf(c.form, r.int(9))
		c.always = r.bool(15)
		c.folds = r.text(5) == "citext" || r.bool(14)
		c.collated = r.text(16)
		kept, there := declared[rel.ident()+"."+c.quoted]
		if c.declared = kept.typ; !there {
			c.declared = c.form.declares()
		}
		c.affinity = change.AffinityOf(c.declared)
		generated, sequence := r.bool(12), r.bool(13)
		def := change.Column{Name: c.name, Type: c.declared, NotNull: r.bool(10), Generated: generated, Collation: kept.fold}
		if !generated && !sequence {
			def.Default = edgeDefault(r.text(11), &c)
		}
		switch {
		case c.form == formNone && !generated:
			rel.refuse("column %s is of type %s, whose values edges cannot hold", c.name, c.typ)
		case def.Default == "" && !sequence && r.text(11) != "" && !generated:
			sequence = strings.HasPrefix(r.text(11), "nextval(")
			if !sequence {
				rel.note("the default of column %s, %s, means nothing in SQLite: applications there give the value themselves", c.name, r.text(11))
			}
		}
		rel.numbers[int(r.int(1))] = len(rel.Columns)
		rel.Columns = append(rel.Columns, c)
		rel.def.Columns = append(rel.def.Columns, def)
		rel.sequence = append(rel.sequence, sequence)
		return nil
	}, cat.oids)
}

// scaleOf is the number of digits that a type modifier leaves after the point.
func scaleOf(f form, mod int64) int {
	switch {
	case mod < 0:
	case f == formNumeric: // 11 bits, signed, below an offset of 4
		return int((mod-4)&0x7ff^0x400) - 0x400
	case f == formTime || f == formStamp || f == formMoment:
		return int(mod)
	}
	return anyScale
}

// A declaration is how edges declare a column: its type and collation.
type declaration struct{ typ, fold string }

// declared is what columns are called at edges, where that was written down when
// the tables were made.
func (cat *cataloguing) declared() (map[string]declaration, error) {
	out := map[string]declaration{}
	there := false
	err := cat.query(`SELECT to_regclass('tidemark.declared') IS NOT NULL`, func(r *row) error {
		there = r.bool(0)
		return nil
	})
	if err != nil || !there {
		return out, err
	}
	err = cat.query(`SELECT space, tbl, col, typ, fold FROM tidemark.declared`, func(r *row) error {
		out[quote(r.text(0))+"."+quote(r.text(1))+"."+quote(r.text(2))] = declaration{r.text(3), r.text(4)}
		return nil
	})
	return out, err
}

func (cat *cataloguing) indices() error {
	return cat.query(`SELECT i.indrelid::int8, c.relname::text, i.indisprimary, i.indimmediate,
			coalesce(pg_get_expr(i.indpred, i.indrelid), ''), array_to_string((i.indkey::int2[])[0:i.indnkeyatts-1], ','),
			(SELECT string_agg(pg_get_indexdef(i.indexrelid, k, false), chr(31) ORDER BY k) FROM generate_series(1, i.indnkeyatts) k)
		FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
		WHERE i.indrelid = ANY($1::oid[]) AND i.indisunique AND i.indislive ORDER BY i.indrelid, c.relname`, func(r *row) error {
		rel := cat.byOID[r.int(0)]
		cols := rel.at(r.text(5))
		if r.bool(2) {
			rel.def.Key = cols
			if !r.bool(3) {
				rel.refuse("its primary key is DEFERRABLE: a row would have no name until the commit")
			}
			return nil
		}
		for k, term := range strings.Split(r.text(6), "\x1f") {
			if k < len(cols) && cols[k] < 0 {
				cols[k] = rel.folded(term)
			}
		}
		rel.def.Unique = append(rel.def.Unique, change.Unique{Name: r.text(1), Columns: cols, Where: r.text(4)})
		return nil
	}, cat.oids)
}

var lowered = regexp.MustCompile(`^lower\(\(?("(?:[^"]|"")+"|[a-z_][a-z_0-9$]*)(?: COLLATE "C")?\)?\)$`)

// folded is the column that an index's expression folds as SQLite's NOCASE does, where
// edges declare it so; -1 otherwise.
func (r *relation) folded(term string) int {
	m := lowered.FindStringSubmatch(term)
	if m == nil {
		return -1
	}
	name := m[1]
	if name[0] == '"' {
		name = strings.ReplaceAll(name[1:len(name)-1], `""`, `"`)
	}
	return slices.IndexFunc(r.def.Columns, func(d change.Column) bool { return d.Name == name && foldsCase(&d) })
}

// at turns attribute numbers into indices of columns; -1 is an expression.
func (r *relation) at(list string) []int {
	var out []int
	for _, s := range strings.Split(list, ",") {
		n, err := strconv.Atoi(s)
		i, ok := r.numbers[n]
		if err != nil || !ok {
			i = -1
		}
		out = append(out, i)
	}
	return out
}

func (cat *cataloguing) foreignKeys() error {
	actions := map[string]string{"a": "NO ACTION", "r": "RESTRICT", "c": "CASCADE", "n": "SET NULL", "d": "SET DEFAULT"}
	return cat.query(`SELECT k.conrelid::int8, p.relname::text, array_to_string(k.conkey, ','),
			(SELECT string_agg(replace(a.attname::text, ',', ',,'), ', ' ORDER BY x.n) FROM unnest(k.confkey) WITH ORDINALITY x(num, n)
				JOIN pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = x.num), k.confdeltype::text, k.confupdtype::text
		FROM pg_constraint k JOIN pg_class p ON p.oid = k.confrelid
		WHERE k.contype = 'f' AND k.conrelid = ANY($1::oid[]) ORDER BY k.conrelid, k.conname`, func(r *row) error {
		rel := cat.byOID[r.int(0)]
		fk := change.ForeignKey{Columns: rel.at(r.text(2)), Parent: r.text(1), OnDelete: actions[r.text(4)], OnUpdate: actions[r.text(5)]}
		for _, n := range strings.Split(r.text(3), ", ") {
			fk.To = append(fk.To, strings.ReplaceAll(n, ",,", ","))
		}
		rel.def.ForeignKeys = append(rel.def.ForeignKeys, fk)
		return nil
	}, cat.oids)
}

// checks finds the columns of floating-point numbers that may hold NaN, which SQLite
// does not know: it arrives as NULL, so edges must be free to hold one.
func (cat *cataloguing) checks() error {
	type place struct {
		rel *relation
		i   int
	}
	sound := map[place]bool{}
	err := cat.query(`SELECT conrelid::int8, conkey[1]::int8 FROM pg_constraint
		WHERE contype = 'c' AND convalidated AND cardinality(conkey) = 1 AND conrelid = ANY($1::oid[])
			AND pg_get_constraintdef(oid) ~ '<> ''NaN''::(double precision|real)\)*$'`, func(r *row) error {
		rel := cat.byOID[r.int(0)]
		if i, ok := rel.numbers[int(r.int(1))]; ok {
			sound[place{rel, i}] = true
		}
		return nil
	}, cat.oids)
	if err != nil {
		return err
	}
	for _, rel := range cat.list {
		for i := range rel.Columns {
			c, def := &rel.Columns[i], &rel.def.Columns[i]
			if (c.form == formDouble || c.form == formReal) && def.NotNull && !sound[place{rel, i}] {
				def.NotNull = false
				rel.note("column %s may hold NaN, which edges see as NULL, so that it is not NOT NULL there; ALTER TABLE %s ADD CHECK (%s <> 'NaN') makes it so",
					c.name, rel.ident(), c.quoted)
			}
		}
	}
	return nil
}

// judge refuses tables whose rows have no name that holds everywhere.
func (r *relation) judge() {
	if len(r.def.Key) == 0 {
		if len(r.refused) == 0 {
			r.refuse("it has no primary key, so its rows cannot be told apart between devices")
		}
		return
	}
	for _, k := range r.def.Key {
		c := &r.Columns[k]
		if c.form == formNone {
			continue // said before
		}
		if why := c.keyable(); why != "" {
			r.refuse("key column %s: %s", c.name, why)
		}
		if r.def.Columns[k].Generated {
			r.refuse("key column %s is generated", c.name)
		}
		if r.sequence[k] {
			r.note("key column %s is numbered by a sequence, which devices do not share: lease numbers to them, or use UUIDs", c.name)
		}
	}
	for _, u := range r.def.Unique {
		for _, k := range u.Columns {
			if k >= 0 && r.Columns[k].folds {
				r.note("%s takes different texts of column %s for equal; SQLite does not: what two devices accept, the hub may refuse", u.Name, r.Columns[k].name)
			}
		}
	}
}
