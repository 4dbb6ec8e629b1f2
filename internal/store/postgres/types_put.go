package postgresstore

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/tidemark-sync/tidemark/change"
)

func (c *column) putInt(v change.Value) (put, error) {
	n := v
	if v.Kind() != change.KindInt {
		if n = change.AffinityInteger.Store(v); n.Kind() != change.KindInt {
			return put{}, c.refuse(v, "")
		}
	}
	low, high := int64(math.MinInt64), int64(math.MaxInt64)
	switch c.form {
	case formInt2:
		low, high = math.MinInt16, math.MaxInt16
	case formInt4:
		low, high = math.MinInt32, math.MaxInt32
	}
	if n.Int() < low || n.Int() > high {
		return put{}, c.refuse(v, fmt.Sprintf("it holds %d to %d", low, high))
	}
	return put{arg: n.Int(), now: c.value(n), sure: true}, nil
}

// putBool takes what applications write where SQLite has no such type.
func (c *column) putBool(v change.Value) (put, error) {
	switch v.Kind() {
	case change.KindInt:
		if n := v.Int(); n == 0 || n == 1 {
			return put{arg: n, now: v, sure: true}, nil
		}
	case change.KindText:
		switch strings.ToLower(strings.TrimSpace(v.Str())) {
		case "true", "t", "yes", "y", "on", "1":
			return put{arg: int64(1), now: change.Int(1), sure: true}, nil
		case "false", "f", "no", "n", "off", "0":
			return put{arg: int64(0), now: change.Int(0), sure: true}, nil
		}
	}
	return put{}, c.refuse(v, "")
}

func (c *column) putFloat(v change.Value) (put, error) {
	f := change.AffinityReal.Store(v)
	if f.Kind() != change.KindFloat {
		return put{}, c.refuse(v, "")
	}
	x := f.Float() + 0 // no negative zero
	if math.IsNaN(x) {
		return put{}, c.refuse(v, "SQLite would make NULL of it")
	}
	if c.form == formReal {
		y := float32(x)
		if math.IsInf(float64(y), 0) && !math.IsInf(x, 0) || y == 0 && x != 0 {
			return put{}, c.refuse(v, "it is out of range")
		}
		x = float64(y)
	}
	return put{arg: x, now: c.value(change.Float(x)), sure: true}, nil
}

// putText puts a value into a column that takes texts.
func (c *column) putText(v change.Value) (put, error) {
	s, ok := c.written(v)
	if !ok {
		return put{}, c.refuse(v, "")
	}
	if why := unspeakable(s); why != "" {
		return put{}, c.refuse(v, why)
	}
	sure := true
	switch c.form {
	case formText:
	case formChar:
		t := strings.TrimRight(s, " ")
		return put{arg: s, now: c.value(change.Text(t)), sure: true}, nil
	case formNumeric, formMoney:
		if !decimal.MatchString(s) {
			return put{}, c.refuse(v, "")
		}
		sure = c.plain(s)
	case formUUID:
		low, err := canonUUID(s)
		if err != nil {
			return put{}, c.refuse(v, err.Error())
		}
		s = low
	case formDate, formTime, formStamp, formMoment:
		t, err := c.canonTime(s)
		if err != nil {
			return put{}, c.refuse(v, err.Error())
		}
		p := put{arg: t, now: c.value(change.Text(t)), sure: true}
		if c.form == formMoment && !strings.HasSuffix(t, "infinity") {
			p.arg = zoned(t)
		}
		return p, nil
	default:
		sure = false
	}
	return put{arg: s, now: c.value(change.Text(s)), sure: sure}, nil
}

// written is a value as the text that the column stores.
func (c *column) written(v change.Value) (string, bool) {
	switch v.Kind() {
	case change.KindText:
		return v.Str(), true
	case change.KindInt, change.KindFloat:
	default:
		return "", false
	}
	switch {
	case c.affinity == change.AffinityText:
		return change.AffinityText.Store(v).Str(), true
	case c.affinity == change.AffinityBlob:
		return "", false // 5 and '5' could not be told apart
	case v.Kind() == change.KindInt:
		return strconv.FormatInt(v.Int(), 10), true
	case math.IsInf(v.Float(), 0):
		if c.form != formNumeric {
			return "", false
		}
		return strings.TrimPrefix(strconv.FormatFloat(v.Float(), 'g', -1, 64), "+") + "inity", true
	case c.form == formNumeric || c.form == formMoney:
		return strconv.FormatFloat(v.Float(), 'f', -1, 64), true
	}
	return strconv.FormatFloat(v.Float(), 'g', -1, 64), true
}

// unspeakable says why PostgreSQL takes no such text, or "".
func unspeakable(s string) string {
	switch {
	case strings.IndexByte(s, 0) >= 0:
		return "PostgreSQL stores no NUL in a text"
	case !utf8.ValidString(s):
		return "it is not valid UTF-8"
	}
	return ""
}

var decimal = regexp.MustCompile(`^(?:[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,4})?|NaN|[+-]?Infinity)$`)

// plain reports whether a decimal is spelled as PostgreSQL will spell it.
func (c *column) plain(s string) bool {
	d := strings.TrimPrefix(s, "-")
	if c.form == formMoney || strings.ContainsAny(d, "+eEN") {
		return s == "NaN" && c.form == formNumeric
	}
	if d == "Infinity" {
		return c.scale == anyScale
	}
	if c.scale < 0 && c.scale != anyScale {
		return false
	}
	whole, part, point := strings.Cut(d, ".")
	switch {
	case whole == "" || point && part == "" || len(whole) > 1 && whole[0] == '0':
		return false
	case len(d) != len(s) && strings.Trim(d, "0.") == "": // minus zero
		return false
	case c.affinity != change.AffinityText: // only the number counts
		return c.scale == anyScale || len(part) <= c.scale
	}
	return c.scale == anyScale || len(part) == c.scale
}

// special is a numeric that is no number.
func special(s string) (change.Value, bool) {
	switch s {
	case "Infinity":
		return change.Float(math.Inf(1)), true
	case "-Infinity":
		return change.Float(math.Inf(-1)), true
	case "NaN":
		return change.Null, true
	}
	return change.Null, false
}

// canonUUID is a UUID as PostgreSQL writes it. It takes the spellings that
// PostgreSQL takes.
func canonUUID(s string) (string, error) {
	t := strings.ToLower(strings.TrimSuffix(strings.TrimPrefix(s, "{"), "}"))
	t = strings.ReplaceAll(t, "-", "")
	if b, err := hex.DecodeString(t); err != nil || len(b) != 16 {
		return "", errors.New("it is no UUID")
	}
	return t[:8] + "-" + t[8:12] + "-" + t[12:16] + "-" + t[16:20] + "-" + t[20:], nil
}

// parse makes what edges hold of a text that the expression text yielded.
func (c *column) parse(s string) (change.Value, error) {
	switch c.class {
	case classInt:
		if n, err := strconv.ParseInt(s, 10, 64); err == nil {
			return c.value(change.Int(n)), nil
		}
	case classFloat:
		if b, err := hex.DecodeString(s); err == nil && len(b) == 8 {
			return c.value(change.Float(math.Float64frombits(binary.BigEndian.Uint64(b)))), nil
		}
	case classBlob:
		if b, err := hex.DecodeString(s); err == nil {
			return change.Blob(b), nil
		}
	case classText:
		return c.value(change.Text(s)), nil
	}
	return change.Null, fmt.Errorf("column %s of %s: %q is not what the change log writes for %s", c.name, c.table, s, c.typ)
}

// spell is parse backwards, for a value that names a row. It refuses what same does.
func (c *column) spell(v change.Value) (string, error) {
	p, err := c.same(v)
	if err != nil {
		return "", err
	}
	switch x := p.arg.(type) {
	case int64:
		return strconv.FormatInt(x, 10), nil
	case []byte:
		return hex.EncodeToString(x), nil
	case string:
		if c.form == formMoment { // the argument says the zone besides
			return p.now.Str(), nil
		}
		return x, nil
	}
	return "", c.refuse(v, "it names no row")
}
