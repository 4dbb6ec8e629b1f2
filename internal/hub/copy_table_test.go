package hub

import (
	"errors"
	"fmt"
	"testing"

	"github.com/tidemark-sync/tidemark/change"
)

func vals(list ...any) (out []change.Value) {
	for _, v := range list {
		switch v := v.(type) {
		case int:
			out = append(out, change.Int(int64(v)))
		case string:
			out = append(out, change.Text(v))
		default:
			out = append(out, change.Null)
		}
	}
	return out
}

// What a copy's operation still does after the original's, that began alike.
func TestOnTop(t *testing.T) {
	key := change.Key(vals("k"))
	ins := func(k string, a, b any) *change.Op {
		return &change.Op{Table: "t", Kind: change.Insert, Key: key, Columns: []string{"id", "a", "b"}, New: vals(k, a, b)}
	}
	del := func(a, b any) *change.Op {
		return &change.Op{Table: "t", Kind: change.Delete, Key: key, Columns: []string{"id", "a", "b"}, Base: vals("k", a, b)}
	}
	upd := func(col string, base, val any) *change.Op {
		return &change.Op{Table: "t", Kind: change.Update, Key: key, Columns: []string{col}, Base: vals(base), New: vals(val)}
	}
	for _, tc := range []struct {
		name     string
		op, prev *change.Op
		want     string
	}{
		{"nothing known", upd("a", 1, 2), nil, "update [a] [1]→[2]"},
		{"update, then more", upd("a", 1, 3), upd("a", 1, 2), "update [a] [2]→[3]"},
		{"update, then another column", upd("b", 1, 3), upd("a", 1, 2), "update [b a] [1 2]→[3 1]"},
		{"update, the same", upd("a", 1, 2), upd("a", 1, 2), ""},
		{"insert, then update", ins("k", 1, 9), ins("k", 1, 2), "update [b] [2]→[9]"},
		{"insert, the same", ins("k", 1, 2), ins("k", 1, 2), ""},
		{"update, then delete", del(1, 5), upd("a", 1, 2), "delete [id a b] ['k' 2 5]→[]"},
		{"delete, the same", del(1, 5), del(1, 5), ""},
		{"delete, then insert", upd("a", 1, 7), del(1, 5), "insert [id a b] []→['k' 7 5]"},
		{"delete, then an insert", ins("k", 1, 2), del(1, 5), "insert [id a b] []→['k' 1 2]"},
	} {
		got := ""
		if op, ok := onTop(tc.op, tc.prev); ok {
			got = fmt.Sprintf("%v %v %v→%v", op.Kind, op.Columns, op.Base, op.New)
		}
		if got != tc.want {
			t.Errorf("%s: %q, want %q", tc.name, got, tc.want)
		}
	}
}

func TestLiteral(t *testing.T) {
	for s, want := range map[string]change.Value{"": change.Null, "NULL": change.Null, " 7 ": change.Int(7), "-1.5": change.Float(-1.5),
		"'it''s'": change.Text("it's"), "''": change.Text("")} {
		if got, ok := literal(s); !ok || got != want {
			t.Errorf("literal(%q) = %v, %v; want %v", s, got, ok, want)
		}
	}
	for _, s := range []string{"current_timestamp", "(1+1)", "x'00'"} {
		if got, ok := literal(s); ok {
			t.Errorf("literal(%q) = %v", s, got)
		}
	}
}

func TestConstraintRefusal(t *testing.T) {
	for kind, code := range map[string]string{"unique": "unique", "type": "type", "not null": "constraint", "check": "constraint"} {
		err := constraintRefusal(&ConstraintError{Kind: kind, Table: "t", Detail: "t.x"})
		var no *refusal
		if !errors.As(err, &no) || no.code != code {
			t.Errorf("%s: %v", kind, err)
		}
	}
}
