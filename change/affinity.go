package change

import (
	"math"
	"strconv"
	"strings"
)

// An Affinity is what SQLite makes of a column's declared type
// (https://www.sqlite.org/datatype3.html, §3.1).
type Affinity string

// The affinities.
const (
	AffinityInteger Affinity = "INTEGER"
	AffinityText    Affinity = "TEXT"
	AffinityBlob    Affinity = "BLOB" // also columns without a type: whatever comes is kept as it is
	AffinityReal    Affinity = "REAL"
	AffinityNumeric Affinity = "NUMERIC"
)

// AffinityOf applies SQLite's rules, in their order, to the declared type of a
// column of an ordinary table. See Table.Affinity for STRICT ones.
func AffinityOf(declared string) Affinity {
	t := strings.ToUpper(declared)
	has := func(parts ...string) bool {
		for _, p := range parts {
			if strings.Contains(t, p) {
				return true
			}
		}
		return false
	}
	switch {
	case has("INT"):
		return AffinityInteger
	case has("CHAR", "CLOB", "TEXT"):
		return AffinityText
	case t == "" || has("BLOB"):
		return AffinityBlob
	case has("REAL", "FLOA", "DOUB"):
		return AffinityReal
	}
	return AffinityNumeric
}

// Affinity is the affinity of column i. ANY keeps values as they come in STRICT
// tables, and only there.
func (t *Table) Affinity(i int) Affinity {
	if t.Strict && strings.EqualFold(t.Columns[i].Type, "ANY") {
		return AffinityBlob
	}
	return AffinityOf(t.Columns[i].Type)
}

// Store is what a column of this affinity holds after v was written to it. A text
// that is no number stays a text.
func (a Affinity) Store(v Value) Value {
	switch a {
	case AffinityText:
		switch v.Kind() {
		case KindInt:
			return Text(strconv.FormatInt(v.Int(), 10))
		case KindFloat:
			return Text(realText(v.Float()))
		}
	case AffinityInteger, AffinityNumeric:
		switch v.Kind() {
		case KindText:
			return number(v)
		case KindFloat:
			return whole(v)
		}
	case AffinityReal:
		if v.Kind() == KindText {
			v = number(v)
		}
		if v.Kind() == KindInt {
			return Float(float64(v.Int()))
		}
	}
	return v
}

// whole is an integer for a float that is one, as SQLite stores it.
func whole(v Value) Value {
	f := v.Float()
	if f != math.Trunc(f) || f <= math.MinInt64 || f >= math.MaxInt64 {
		return v
	}
	return Int(int64(f))
}

// number is what a text says, when all of it is a decimal number.
func number(v Value) Value {
	s := strings.Trim(v.Str(), " \t\n\v\f\r")
	digits, point := 0, false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c >= '0' && c <= '9':
			digits++
		case c == '.' && !point:
			point = true
		case (c == '+' || c == '-') && i == 0:
		case (c == 'e' || c == 'E') && digits > 0:
			if _, err := strconv.Atoi(s[i+1:]); err != nil {
				return v
			}
			point, i = true, len(s)
		default:
			return v
		}
	}
	if digits == 0 {
		return v
	}
	if !point {
		if n, err := strconv.ParseInt(s, 10, 64); err == nil {
			return Int(n)
		}
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil { // beyond what a float holds
		return v
	}
	return whole(Float(f))
}

// realText writes a float as SQLite does: 15 digits, always with a point.
func realText(f float64) string {
	switch {
	case math.IsInf(f, 1):
		return "Inf"
	case math.IsInf(f, -1):
		return "-Inf"
	}
	mant, exp, _ := strings.Cut(strconv.FormatFloat(f, 'e', 14, 64), "e")
	e, _ := strconv.Atoi(exp) // FormatFloat writes one
	if e >= -4 && e <= 15 {
		return pointed(strconv.FormatFloat(f, 'f', max(14-e, 0), 64))
	}
	sign := "+"
	if e < 0 {
		sign, e = "-", -e
	}
	pad := ""
	if e < 10 {
		pad = "0"
	}
	return pointed(mant) + "e" + sign + pad + strconv.Itoa(e)
}

// pointed cuts the zeros at the end, but for one after the point.
func pointed(s string) string {
	if !strings.Contains(s, ".") {
		return s + ".0"
	}
	s = strings.TrimRight(s, "0")
	if strings.HasSuffix(s, ".") {
		s += "0"
	}
	return s
}
