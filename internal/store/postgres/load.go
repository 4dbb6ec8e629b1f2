package postgresstore

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/tidemark-sync/tidemark/change"
)

// A Feed hands over the rows of a table: the values of the named columns, in order.
// Slices stay the feed's own.
type Feed func(table string, columns []string, emit func([]change.Value) error) error

// Load fills empty tables, all or none. Foreign keys are checked at the end where the
// tables were made by Create. A value that a column cannot hold is a
// *hub.ConstraintError that names the table, the column and the value; Load then stops.
// It returns how many rows there are.
func Load(ctx context.Context, dsn string, tables []string, feed Feed) (rows int64, err error) {
	c, err := reach(ctx, dsn)
	if err != nil {
		return 0, fmt.Errorf("connect to PostgreSQL: %w", err)
	}
	defer func() { err = errors.Join(err, c.Close(context.WithoutCancel(ctx))) }()
	err = inTx(ctx, c, "BEGIN; SET CONSTRAINTS ALL DEFERRED", func() (err error) {
		rows, err = fill(ctx, c, tables, feed)
		return err
	})
	if err != nil {
		return 0, err
	}
	return rows, nil
}

// How much goes to the server at once.
const (
	loadRows  = 2000
	loadBytes = 4 << 20
)

// A loading collects rows by column: one array for each, whatever their types.
type loading struct {
	ctx   context.Context //nolint:containedctx // of the one call that this is
	c     *pgx.Conn
	sql   string
	cols  []*column
	texts [][]*string
	ints  [][]*int64
	reals [][]*float64
	blobs [][][]byte
	n     int
	size  int
	total int64
}

func load(ctx context.Context, c *pgx.Conn, r *relation, feed Feed) (int64, error) {
	l := &loading{ctx: ctx, c: c}
	var names, quoted, from, to []string
	for _, i := range r.def.Stored() {
		col := &r.Columns[i]
		l.cols = append(l.cols, col)
		names, quoted = append(names, col.name), append(quoted, col.quoted)
		from = append(from, fmt.Sprintf("$%d::%s[]", len(l.cols), classType[col.class]))
		to = append(to, col.convert(fmt.Sprintf("u.c%d", len(l.cols))))
	}
	aliases := make([]string, len(l.cols))
	for i := range aliases {
		aliases[i] = fmt.Sprintf("c%d", i+1)
	}
	l.sql = "INSERT INTO " + r.ident() + " (" + strings.Join(quoted, ", ") + ") OVERRIDING SYSTEM VALUE SELECT " + strings.Join(to, ", ") +
		" FROM unnest(" + strings.Join(from, ", ") + ") AS u(" + strings.Join(aliases, ", ") + ")"
	l.reset()
	if err := feed(r.Name, names, l.add); err != nil {
		return 0, err
	}
	return l.total, l.flush()
}

func (l *loading) reset() {
	n := len(l.cols)
	l.texts, l.ints, l.reals, l.blobs = make([][]*string, n), make([][]*int64, n), make([][]*float64, n), make([][][]byte, n)
	l.n, l.size = 0, 0
}

func (l *loading) add(values []change.Value) error {
	if len(values) != len(l.cols) {
		return fmt.Errorf("a row has %d values, not %d", len(values), len(l.cols))
	}
	for i, v := range values {
		p, err := l.cols[i].put(v)
		if err != nil {
			return err
		}
		l.size += v.Size()
		switch l.cols[i].class {
		case classInt:
			l.ints[i] = append(l.ints[i], orNull[int64](p.arg))
		case classFloat:
			l.reals[i] = append(l.reals[i], orNull[float64](p.arg))
		case classBlob:
			b, _ := p.arg.([]byte)
			l.blobs[i] = append(l.blobs[i], b)
		case classText:
			l.texts[i] = append(l.texts[i], orNull[string](p.arg))
		}
	}
	l.n++
	l.total++
	if l.n < loadRows && l.size < loadBytes {
		return nil
	}
	return l.flush()
}

// orNull is nil for NULL.
func orNull[T any](v any) *T {
	if x, ok := v.(T); ok {
		return &x
	}
	return nil
}

func (l *loading) flush() error {
	if l.n == 0 {
		return nil
	}
	args := make([]any, len(l.cols))
	for i, c := range l.cols {
		switch c.class {
		case classInt:
			args[i] = l.ints[i]
		case classFloat:
			args[i] = l.reals[i]
		case classBlob:
			args[i] = l.blobs[i]
		case classText:
			args[i] = l.texts[i]
		}
	}
	if _, err := exec(l.ctx, l.c, l.sql, args...); err != nil {
		return err
	}
	l.reset()
	return nil
}
