package main

import (
	"encoding/json"
	"math"
	"strings"
	"testing"

	"github.com/tidemark-sync/tidemark/change"
)

func TestValuesForProgramsAndPeople(t *testing.T) {
	for _, c := range []struct {
		v           change.Value
		json, brief string
	}{
		{change.Null, `null`, "NULL"},
		{change.Int(7), `7`, "7"},
		{change.Int(1 << 60), `{"integer":"1152921504606846976"}`, "1152921504606846976"},
		{change.Float(0.5), `0.5`, "0.5"},
		{change.Float(math.Inf(1)), `{"real":"+Inf"}`, "+Inf"},
		{change.Text("a'b\n"), `"a'b\n"`, "'a''b·'"},
		{change.Text("\xff"), `{"text_hex":"ff"}`, "'\uFFFD'"},
		{change.Blob([]byte{0, 255}), `{"blob":"00ff"}`, "x'00ff'"},
	} {
		b, err := json.Marshal(plain(c.v))
		if err != nil || string(b) != c.json || brief(c.v) != c.brief {
			t.Errorf("%s: %s, %q, %v", c.v, b, brief(c.v), err)
		}
	}
	if s := brief(change.Text(strings.Repeat("ä", 100))); len([]rune(s)) != 61 || !strings.HasSuffix(s, "…") {
		t.Errorf("long: %q", s)
	}
}

func TestLiteralsOfEdits(t *testing.T) {
	for text, want := range map[string]change.Value{
		"null": change.Null, "12": change.Int(12), "-1": change.Int(-1), "1.5": change.Float(1.5), "1e3": change.Float(1000),
		"'12'": change.Text("12"), "'a''b'": change.Text("a'b"), "x'00ff'": change.Blob([]byte{0, 255}),
		"plain words": change.Text("plain words"), "": change.Text(""), "inf": change.Text("inf"), "x'": change.Text("x'"),
	} {
		if got, err := literal(text); err != nil || got != want {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	if _, err := literal("x'0'"); err == nil {
		t.Error("half a byte")
	}
}
