package postgresstore

import "slices"

// A form is a family of types that travel alike.
type form uint8

const (
	formNone    form = iota // cannot travel
	formInt2                // the integers
	formInt4                //
	formInt8                //
	formBool                // 0 and 1 at edges
	formReal                // float4
	formDouble              // float8
	formNumeric             // decimals, as text with their scale
	formText                // text and what is kept as it is written: varchar, json, enums
	formChar                // character(n): blanks at the end do not count
	formBytes               // bytea
	formUUID                //
	formDate                //
	formTime                //
	formStamp               // timestamp without time zone
	formMoment              // timestamp with time zone, as UTC
	formMoney               // as numeric
	formSpan                // interval
	formCast                // whatever PostgreSQL makes of a text: jsonb, inet, arrays
)

// forms of the types that are known, by pg_type.typname.
var forms = map[string]form{
	"int2": formInt2, "int4": formInt4, "int8": formInt8, "bool": formBool, "float4": formReal, "float8": formDouble,
	"numeric": formNumeric, "text": formText, "varchar": formText, "bpchar": formChar, "name": formText, "citext": formText,
	"json": formText, "bytea": formBytes, "uuid": formUUID, "date": formDate, "time": formTime, "timestamp": formStamp,
	"timestamptz": formMoment, "money": formMoney, "interval": formSpan, "jsonb": formCast,
	"inet": formCast, "cidr": formCast, "macaddr": formCast, "macaddr8": formCast, "bit": formCast, "varbit": formCast,
	"tsvector": formCast, "tsquery": formCast, "ltree": formCast, "hstore": formCast, "timetz": formCast,
	"int4range": formCast, "int8range": formCast, "numrange": formCast,
}

// elements are the types whose arrays are written alike in every session.
var elements = []form{formInt2, formInt4, formInt8, formBool, formNumeric, formText, formChar, formUUID}

// formOf finds how a type travels. kind is pg_type.typtype, elem the form of an
// array's elements; a domain is what it stands for.
func formOf(name, kind string, elem form) form {
	if f, ok := forms[name]; ok {
		return f
	}
	switch {
	case kind == "e":
		return formText
	case elem != formNone && slices.Contains(elements, elem):
		return formCast
	}
	return formNone
}

// declares is the type that edges declare for a form, unless the hub's tables were
// made from an SQLite schema that called it otherwise.
func (f form) declares() string {
	switch f {
	case formInt2, formInt4, formInt8:
		return "INTEGER"
	case formBool:
		return "BOOLEAN"
	case formReal, formDouble:
		return "REAL"
	case formBytes:
		return "BLOB"
	}
	return "TEXT"
}

// A class is one of the four types in which values travel between this package
// and PostgreSQL, whatever the column's own type.
type class int8

const (
	classText class = iota
	classInt
	classFloat
	classBlob
)

var classType = [...]string{classText: "text", classInt: "int8", classFloat: "float8", classBlob: "bytea"}

func (f form) class() class {
	switch f {
	case formInt2, formInt4, formInt8, formBool:
		return classInt
	case formReal, formDouble:
		return classFloat
	case formBytes:
		return classBlob
	}
	return classText
}
