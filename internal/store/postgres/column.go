package postgresstore

import (
	"fmt"
	"strings"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/hub"
)

// A column is how one column's values travel between their PostgreSQL type and the
// five kinds that edges know. It never changes once made.
//
// A value has two shapes here. In rows, read gives an SQL expression that yields the
// class's type, and value makes of that what edges hold. In keys of the log and in
// images of deleted rows, text gives an expression that yields text, the same in every
// session whatever its settings; parse and spell lead from there and back. The other
// way, put makes of an edge's value the argument for the placeholder that param writes.
type column struct {
	table    string // for errors
	name     string
	quoted   string
	typ      string // as format_type writes it, with its modifier: varchar(10)
	cast     string // the same without: an explicit cast to varchar(10) would cut the text
	base     string // pg_type.typname; of a domain: what it stands for
	form     form
	class    class
	scale    int    // numeric: digits after the point; times: of the second; or anyScale
	declared string // the type that edges declare
	affinity change.Affinity
	always   bool   // only a sequence fills it: GENERATED ALWAYS AS IDENTITY
	folds    bool   // equal is not identical: citext, a collation that is not deterministic
	collated string // its collation, for SQL; "" for a type that has none
}

// anyScale is the scale of a column whose type has none.
const anyScale = -1 << 15

// read is the expression that yields the column's value in its class, of the row
// that a prefix such as "t." names.
func (c *column) read(prefix string) string {
	expr := prefix + c.quoted
	switch c.form {
	case formInt2, formInt4:
		return expr + "::int8"
	case formInt8, formBytes:
		return expr
	case formBool:
		return expr + "::int4::int8"
	case formReal, formDouble: // SQLite has neither NaN nor a negative zero
		return "nullif(" + expr + "::float8 + 0, 'NaN')"
	}
	return c.text(prefix)
}

// text is the expression that yields the column's value as keys and images in the
// change log hold it, in any session.
func (c *column) text(prefix string) string {
	expr := prefix + c.quoted
	switch c.form {
	case formBool:
		return expr + "::int4::text"
	case formReal, formDouble:
		return "encode(float8send(nullif(" + expr + "::float8 + 0, 'NaN')), 'hex')"
	case formBytes:
		return "encode(" + expr + ", 'hex')"
	case formDate, formTime:
		return "(to_json(" + expr + ") #>> '{}')"
	case formStamp:
		return "replace(to_json(" + expr + ") #>> '{}', 'T', ' ')"
	case formMoment:
		return "replace(to_json(" + expr + " AT TIME ZONE 'UTC') #>> '{}', 'T', ' ')"
	case formNumeric:
		if c.affinity != change.AffinityText { // only the number counts at edges
			return "trim_scale(" + expr + ")::text"
		}
	case formMoney:
		return expr + "::numeric::text"
	case formSpan: // its text depends on a setting, its parts do not
		months := "(extract(year FROM " + expr + ") * 12 + extract(month FROM " + expr + "))::int4"
		days := "extract(day FROM " + expr + ")::int4"
		return "format('P%sM%sDT%sS', " + months + ", " + days + ", trim_scale(extract(epoch FROM " + expr +
			" - make_interval(months => " + months + ", days => " + days + "))))"
	case formText:
		if c.cast == "text" { // a domain over it is another type
			return expr
		}
	}
	return expr + "::text"
}

// param is placeholder n, a parameter of the class, as a value of the column's type.
func (c *column) param(n int) string {
	return c.convert(fmt.Sprintf("$%d::%s", n, classType[c.class]))
}

// convert is an expression of the class as one of the column's type.
func (c *column) convert(p string) string {
	switch c.form {
	case formBytes, formDouble:
		return p
	case formBool:
		return "(" + p + " <> 0)"
	case formMoment:
		return p + "::timestamptz"
	case formMoney:
		return p + "::numeric::money"
	}
	if c.cast == "text" || c.cast == "bigint" {
		return p
	}
	return p + "::" + c.cast
}

// value makes of what read yielded what edges hold.
func (c *column) value(v change.Value) change.Value {
	switch v.Kind() {
	case change.KindText:
		if c.affinity == change.AffinityText || c.affinity == change.AffinityBlob {
			return v
		}
		if c.form == formNumeric || c.form == formMoney {
			if f, ok := special(v.Str()); ok {
				return f
			}
		}
		return c.affinity.Store(v)
	case change.KindFloat, change.KindInt:
		if c.affinity != change.AffinityText {
			return c.affinity.Store(v)
		}
	}
	return v
}

// keyable says why the column cannot be part of a primary key, or "".
func (c *column) keyable() string {
	switch c.form {
	case formReal, formDouble:
		return "floating-point numbers do not name a row the same way everywhere"
	case formNone, formMoney, formSpan, formCast:
		return "values of type " + c.typ + " may be equal and spelled differently"
	case formNumeric:
		if c.scale == anyScale && c.affinity == change.AffinityText {
			return "decimals without a fixed scale may be equal and spelled differently (1.0 and 1.00): declare it numeric(p,s)"
		}
	case formText:
		if c.base == "json" {
			return "values of type json cannot be compared"
		}
	}
	if c.folds {
		return "its type or collation takes different texts for equal"
	}
	return ""
}

// A put is a value on its way into a column.
type put struct {
	arg  any          // for the placeholder: nil, int64, float64, string or []byte
	now  change.Value // what reading the column will yield
	sure bool         // now is certain; otherwise the row must be read back to know
}

// put makes a value ready for its column, or says, as a *hub.ConstraintError, why the
// column cannot hold it. PostgreSQL may still refuse it: a text that is too long, a
// number of too many digits, a word that an enum does not know.
func (c *column) put(v change.Value) (put, error) {
	if v.IsNull() {
		return put{sure: true}, nil
	}
	switch c.form {
	case formInt2, formInt4, formInt8:
		return c.putInt(v)
	case formBool:
		return c.putBool(v)
	case formReal, formDouble:
		return c.putFloat(v)
	case formBytes:
		if v.Kind() != change.KindBlob {
			return put{}, c.refuse(v, "")
		}
		return put{arg: []byte(v.Str()), now: v, sure: true}, nil
	}
	return c.putText(v)
}

// same is put for a value that names a row: one that would be stored otherwise than
// it is spelled is refused.
func (c *column) same(v change.Value) (put, error) {
	p, err := c.put(v)
	if err == nil && (!p.sure || p.now != v || v.IsNull()) {
		return put{}, c.refuse(v, "it names a row, and would be spelled otherwise at the hub")
	}
	return p, err
}

func (c *column) refuse(v change.Value, why string) error {
	s := v.String()
	if len(s) > 60 {
		s = strings.ToValidUTF8(s[:60], "") + "…"
	}
	detail := fmt.Sprintf("column %s is %s and cannot hold the %s %s", c.name, c.typ, v.Kind(), s)
	if why != "" {
		detail += ": " + why
	}
	return &hub.ConstraintError{Kind: "type", Table: c.table, Detail: detail}
}
