package change

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
)

// exactInt is the largest integer that every JSON reader keeps exact.
const exactInt = 1 << 53

// MarshalJSON renders a value for people and scripts, without loss: NULL as
// null, integers as numbers without a point (as {"int":"…"} beyond 2^53),
// doubles as numbers with one, text as a string, and what JSON cannot say as
// {"text":hex}, {"blob":hex} or {"real":"+Inf"}.
func (v Value) MarshalJSON() ([]byte, error) {
	switch v.kind {
	case KindInt:
		n := v.Int()
		if n > exactInt || n < -exactInt {
			return fmt.Appendf(nil, `{"int":"%d"}`, n), nil
		}
		return strconv.AppendInt(nil, n, 10), nil
	case KindFloat:
		f := v.Float()
		if math.IsInf(f, 0) || math.IsNaN(f) {
			return fmt.Appendf(nil, `{"real":"%v"}`, f), nil
		}
		b := strconv.AppendFloat(nil, f, 'g', -1, 64)
		if !bytes.ContainsAny(b, ".e") {
			b = append(b, '.', '0')
		}
		return b, nil
	case KindText:
		if utf8.ValidString(v.str) {
			return json.Marshal(v.str)
		}
		return fmt.Appendf(nil, `{"text":"%x"}`, v.str), nil
	case KindBlob:
		return fmt.Appendf(nil, `{"blob":"%x"}`, v.str), nil
	}
	return []byte("null"), nil
}

// UnmarshalJSON reads the form MarshalJSON writes.
func (v *Value) UnmarshalJSON(b []byte) error {
	b = bytes.TrimSpace(b)
	switch {
	case string(b) == "null":
		*v = Null
		return nil
	case len(b) > 0 && b[0] == '"':
		var s string
		err := json.Unmarshal(b, &s)
		*v = Text(s)
		return err
	case len(b) > 0 && b[0] == '{':
		return v.unmarshalTagged(b)
	}
	if bytes.ContainsAny(b, ".eE") {
		f, err := strconv.ParseFloat(string(b), 64)
		*v = Float(f)
		return err
	}
	n, err := strconv.ParseInt(string(b), 10, 64)
	*v = Int(n)
	return err
}

func (v *Value) unmarshalTagged(b []byte) error {
	var m map[string]string
	if err := json.Unmarshal(b, &m); err != nil {
		return fmt.Errorf("value %s: %w", b, err)
	}
	if len(m) != 1 {
		return fmt.Errorf("value %s: want one of int, real, text, blob", b)
	}
	for tag, s := range m {
		switch tag {
		case "int":
			n, err := strconv.ParseInt(s, 10, 64)
			*v = Int(n)
			return err
		case "real":
			f, err := strconv.ParseFloat(s, 64)
			*v = Float(f)
			return err
		case "text", "blob":
			raw, err := hex.DecodeString(s)
			*v = Value{kind: KindText, str: string(raw)}
			if tag == "blob" {
				v.kind = KindBlob
			}
			return err
		}
	}
	return fmt.Errorf("value %s: want one of int, real, text, blob", strings.TrimSpace(string(b)))
}
