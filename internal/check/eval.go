package check

import (
	"fmt"
	"strings"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"github.com/tidemark-sync/tidemark/change"
)

// A Violation is a row that breaks a check.
type Violation struct {
	Table  string
	Check  string
	Reason string // the check's own message, or its expression
	Values string // the columns the check read: `price = -3, qty = 2`
}

func (v Violation) String() string {
	s := fmt.Sprintf("table %s: check %q: %s", v.Table, v.Check, v.Reason)
	if v.Values != "" {
		s += " (" + v.Values + ")"
	}
	return s
}

// Empty reports whether there is nothing to evaluate.
func (s *Set) Empty() bool { return s == nil || len(s.checks) == 0 }

// Eval returns the checks that a row breaks, in declared order. row and old are
// the table's stored columns; old is nil on insert.
func (s *Set) Eval(row, old []change.Value) []Violation {
	if s.Empty() {
		return nil
	}
	var out []Violation
	for i := range s.checks {
		c := &s.checks[i]
		reason, broken := c.eval(row, old)
		if !broken {
			continue
		}
		out = append(out, Violation{Table: s.table, Check: c.Name, Reason: reason, Values: c.values(row)})
	}
	return out
}

func (c *compiled) eval(row, old []change.Value) (reason string, broken bool) {
	vars := map[string]any{"row": fields(c.row, row), "old": types.NullValue}
	if old != nil {
		vars["old"] = fields(c.old, old)
	}
	got, _, err := c.program.Eval(vars)
	switch {
	case err == nil && got == types.True:
		return "", false
	case err == nil && got == types.False:
		return c.reason(), true
	case c.readsNull(row, old):
		return "", false
	case err == nil:
		return fmt.Sprintf("%s: the result is %s, not bool", c.reason(), got.Type().TypeName()), true
	}
	return fmt.Sprintf("%s: %v", c.reason(), err), true
}

func (c *compiled) reason() string {
	if c.Message != "" {
		return c.Message
	}
	return c.Expr
}

func (c *compiled) readsNull(row, old []change.Value) bool {
	for _, r := range c.row {
		if row[r.at].IsNull() {
			return true
		}
	}
	for _, r := range c.old {
		if old == nil || old[r.at].IsNull() {
			return true
		}
	}
	return false
}

// values shows what the check saw, each column once, cut to a bearable length.
func (c *compiled) values(row []change.Value) string {
	const most = 200
	var b strings.Builder
	seen := map[int]bool{}
	for _, r := range c.row {
		if seen[r.at] {
			continue
		}
		seen[r.at] = true
		if b.Len() > 0 {
			b.WriteString(", ")
		}
		v := row[r.at].String()
		if b.Len()+len(v) > most {
			v = row[r.at].Kind().String() + " …"
		}
		fmt.Fprintf(&b, "%s = %s", r.name, v)
	}
	return b.String()
}

func fields(refs []column, row []change.Value) map[string]ref.Val {
	out := make(map[string]ref.Val, len(refs))
	for _, r := range refs {
		out[r.name] = value(row[r.at])
	}
	return out
}

func value(v change.Value) ref.Val {
	switch v.Kind() {
	case change.KindInt:
		return types.Int(v.Int())
	case change.KindFloat:
		return types.Double(v.Float())
	case change.KindText:
		return types.String(v.Str())
	case change.KindBlob:
		return types.Bytes(v.Str())
	}
	return types.NullValue
}
