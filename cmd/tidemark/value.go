package main

import (
	"encoding/hex"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/tidemark-sync/tidemark/change"
)

// plain is a value in JSON: null, a number, a string, or {"blob": hex}. Integers
// that a JSON reader could round travel as {"integer": "…"}.
func plain(v change.Value) any {
	switch v.Kind() {
	case change.KindInt:
		if n := v.Int(); n > 1<<53 || n < -(1<<53) {
			return map[string]string{"integer": strconv.FormatInt(n, 10)}
		}
		return v.Int()
	case change.KindFloat:
		if f := v.Float(); math.IsInf(f, 0) || math.IsNaN(f) {
			return map[string]string{"real": strconv.FormatFloat(f, 'g', -1, 64)}
		}
		return v.Float()
	case change.KindText:
		if !utf8.ValidString(v.Str()) {
			return map[string]string{"text_hex": hex.EncodeToString([]byte(v.Str()))}
		}
		return v.Str()
	case change.KindBlob:
		return map[string]string{"blob": hex.EncodeToString([]byte(v.Str()))}
	}
	return nil
}

func plainAll(list []change.Value) []any {
	out := make([]any, len(list))
	for i, v := range list {
		out[i] = plain(v)
	}
	return out
}

// brief is a value for a terminal: an SQL literal on one line, cut when long.
func brief(v change.Value) string {
	const most = 60
	s := strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '·'
		}
		return r
	}, v.String())
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + "…"
	}
	return s
}
