package postgresstore

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"strconv"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/tidemark-sync/tidemark/change"
)

// A pool keeps connections for reuse.
type pool struct {
	config *pgx.ConnConfig
	free   chan struct{} // a token for each connection that may be lent
	done   chan struct{} // closed by close

	mu   sync.Mutex
	idle []*pgx.Conn // the last used one last
}

func newPool(config *pgx.ConnConfig, size int) *pool {
	p := &pool{config: config, free: make(chan struct{}, size), done: make(chan struct{})}
	for range size {
		p.free <- struct{}{}
	}
	return p
}

var errClosed = errors.New("the store is closed")

// borrow takes a connection. It must be given back.
func (p *pool) borrow(ctx context.Context) (*pgx.Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	select {
	case <-p.done:
		return nil, errClosed
	default:
	}
	select {
	case <-p.free:
	case <-p.done:
		return nil, errClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	p.mu.Lock()
	for n := len(p.idle); n > 0; n = len(p.idle) {
		c := p.idle[n-1]
		p.idle = p.idle[:n-1]
		if !c.IsClosed() {
			p.mu.Unlock()
			return c, nil
		}
	}
	p.mu.Unlock()
	c, err := pgx.ConnectConfig(ctx, p.config)
	if err != nil {
		p.free <- struct{}{}
		return nil, fmt.Errorf("connect to PostgreSQL: %w", away(err))
	}
	return c, nil
}

// giveBack ends a loan. A connection that is in a transaction still, or broken, is
// thrown away.
func (p *pool) giveBack(c *pgx.Conn) {
	if !c.IsClosed() && c.PgConn().TxStatus() != 'I' {
		_ = c.Close(context.WithoutCancel(context.Background())) // nothing of its own to lose
	}
	p.mu.Lock()
	if !c.IsClosed() {
		p.idle = append(p.idle, c)
	}
	p.mu.Unlock()
	p.free <- struct{}{}
}

// errLost says that a connection was dead before the transaction began on it: a server
// or a pgbouncer was started again since it was used last.
var errLost = errors.New("the connection was lost")

// forget closes the connections that nobody uses: where one is dead, all may be.
func (p *pool) forget() {
	p.mu.Lock()
	list := p.idle
	p.idle = nil
	p.mu.Unlock()
	for _, c := range list {
		_ = c.Close(context.Background()) // nothing of its own to lose
	}
}

// close waits for loans.
func (p *pool) close() error {
	close(p.done)
	for range cap(p.free) {
		<-p.free
	}
	var errs []error
	for _, c := range p.idle {
		errs = append(errs, c.Close(context.Background()))
	}
	return errors.Join(errs...)
}

// A gate is a mutex that a context can give up waiting for.
type gate chan struct{}

func (g gate) lock(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case g <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (g gate) unlock() { <-g }

// A row is one row of an answer. It is valid until the next one.
type row struct {
	fields []pgconn.FieldDescription
	raw    [][]byte
}

// value decodes a column of one of the types that this package asks for.
func (r *row) value(i int) change.Value {
	b := r.raw[i]
	if b == nil {
		return change.Null
	}
	f := &r.fields[i]
	if f.Format == pgtype.TextFormatCode {
		return textValue(f.DataTypeOID, b)
	}
	switch f.DataTypeOID {
	case pgtype.Int8OID:
		return change.Int(int64(binary.BigEndian.Uint64(b)))
	case pgtype.Int4OID:
		return change.Int(int64(int32(binary.BigEndian.Uint32(b))))
	case pgtype.Int2OID:
		return change.Int(int64(int16(binary.BigEndian.Uint16(b))))
	case pgtype.BoolOID:
		return change.Bool(b[0] != 0)
	case pgtype.Float8OID:
		return change.Float(math.Float64frombits(binary.BigEndian.Uint64(b)))
	case pgtype.ByteaOID:
		return change.Blob(b)
	}
	return change.Text(string(b))
}

func textValue(oid uint32, b []byte) change.Value {
	switch oid {
	case pgtype.Int8OID, pgtype.Int4OID, pgtype.Int2OID:
		n, err := strconv.ParseInt(string(b), 10, 64)
		if err == nil {
			return change.Int(n)
		}
	case pgtype.BoolOID:
		return change.Bool(len(b) > 0 && b[0] == 't')
	case pgtype.Float8OID:
		f, err := strconv.ParseFloat(string(b), 64)
		if err == nil || errors.Is(err, strconv.ErrRange) {
			return change.Float(f)
		}
	case pgtype.ByteaOID:
		if len(b) >= 2 {
			out := make([]byte, hex.DecodedLen(len(b)-2))
			if _, err := hex.Decode(out, b[2:]); err == nil {
				return change.BlobString(string(out))
			}
		}
	}
	return change.Text(string(b))
}

func (r *row) int(i int) int64   { return r.value(i).Int() }
func (r *row) text(i int) string { return string(r.raw[i]) }
func (r *row) bool(i int) bool   { return r.value(i).Int() != 0 }
func (r *row) null(i int) bool   { return r.raw[i] == nil }
func (r *row) blob(i int) []byte { return []byte(r.value(i).Str()) }

// query calls each for every row of the answer; nil when none is wanted.
func query(ctx context.Context, c *pgx.Conn, sql string, each func(*row) error, args ...any) error {
	rows, err := c.Query(ctx, sql, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	var r row
	for rows.Next() {
		if each == nil {
			continue
		}
		r.fields, r.raw = rows.FieldDescriptions(), rows.RawValues()
		if err := each(&r); err != nil {
			return err
		}
	}
	return rows.Err()
}

// exec runs a statement and returns how many rows it touched.
func exec(ctx context.Context, c *pgx.Conn, sql string, args ...any) (int64, error) {
	tag, err := c.Exec(ctx, sql, args...)
	return tag.RowsAffected(), err
}

// script runs statements without parameters, in one go.
func script(ctx context.Context, c *pgx.Conn, sql string) error {
	_, err := c.PgConn().Exec(ctx, sql).ReadAll()
	return err
}

// An args collects the parameters of a statement.
type args struct{ list []any }

// add returns the placeholder of one more parameter.
func (a *args) add(v any) string {
	a.list = append(a.list, v)
	return "$" + strconv.Itoa(len(a.list))
}
