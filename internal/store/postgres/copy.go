package postgresstore

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/tidemark-sync/tidemark/change"
)

// Many rows go by COPY, which costs the server about half of what a statement over arrays
// does: no plan runs, and the rows of a page are written together. It takes a trip of its
// own, so that few rows stay with the batch.

// copyFrom is from how many rows on COPY is cheaper.
const copyFrom = 100

// copied reports whether the rows can go by COPY, and should. It knows no rules; and bytes
// would travel as twice as many digits.
func (u *bundle) copied() bool {
	return len(u.ops) >= copyFrom && len(u.ops[0].puts) == len(u.t.cols) && !u.t.rel.ruled && u.kind == change.Insert &&
		!slices.ContainsFunc(u.t.cols, func(c column) bool { return c.class == classBlob })
}

// copy inserts the rows.
func (u *bundle) copy(t *tx) error {
	size := 0
	for _, o := range u.ops {
		for i := range o.e.Values {
			size += o.e.Values[i].Size() + 4
		}
	}
	buf := make([]byte, 0, size)
	for _, o := range u.ops {
		for i, p := range o.puts {
			if i > 0 {
				buf = append(buf, '\t')
			}
			buf = u.t.cols[i].appendCopy(buf, p.arg)
		}
		buf = append(buf, '\n')
	}
	cols := make([]string, len(u.t.cols))
	for i := range u.t.cols {
		cols[i] = u.t.cols[i].quoted
	}
	tag, err := t.c.PgConn().CopyFrom(t.ctx, bytes.NewReader(buf), "COPY "+u.t.name+" ("+strings.Join(cols, ", ")+") FROM STDIN")
	if err != nil {
		return fmt.Errorf("write to %s: %w", u.t.def.Name, err)
	}
	return u.all(tag)
}

// appendCopy appends an argument of put as COPY reads it: in the words of the column's
// type, which for all but a boolean are those that convert casts from.
func (c *column) appendCopy(buf []byte, arg any) []byte {
	switch v := arg.(type) {
	case int64:
		if c.form == formBool {
			return strconv.AppendBool(buf, v != 0)
		}
		return strconv.AppendInt(buf, v, 10)
	case float64:
		return strconv.AppendFloat(buf, v, 'g', -1, 64)
	case string:
		return append(buf, escaped.Replace(v)...)
	}
	return append(buf, `\N`...)
}

// escaped is a text for COPY.
var escaped = strings.NewReplacer("\\", `\\`, "\t", `\t`, "\n", `\n`, "\r", `\r`)
