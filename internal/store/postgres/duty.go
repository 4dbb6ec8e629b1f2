package postgresstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// A duty is what one of the processes does for all. It is on loan: whoever has it must
// renew the loan, and loses the duty otherwise. Each loan has a number of its own, the
// fence. What is written on duty is written under that number, or not at all, so that
// a process that hung and comes back late does no harm.
const layoutDuty = `
CREATE TABLE tidemark.duty (
  name   text COLLATE "C" PRIMARY KEY,
  holder text NOT NULL,          -- for people
  fence  bigint NOT NULL,        -- counts the loans
  until  timestamptz NOT NULL    -- by the server's clock
);
`

// ErrOffDuty says that another process has the duty by now.
var ErrOffDuty = errors.New("another process took this over")

// A Duty is a loan of a duty. The zero value is none.
type Duty struct {
	Name  string
	fence int64
}

// TakeDuty takes a duty that is free, or whose loan ran out, for a while. ok is false
// when another process has it.
func (s *Store) TakeDuty(ctx context.Context, name, holder string, d time.Duration) (duty Duty, ok bool, err error) {
	err = s.onLoan(ctx, func(c *pgx.Conn) error {
		// Under the writer's lock: nothing is being written on duty meanwhile.
		return inTx(ctx, c, "BEGIN; LOCK TABLE tidemark.writer IN EXCLUSIVE MODE", func() error {
			return query(ctx, c, `INSERT INTO tidemark.duty AS d (name, holder, fence, until)
				VALUES ($1::text, $2::text, 1, clock_timestamp() + $3::int8 * interval '1 ms')
				ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, fence = d.fence + 1, until = excluded.until
				WHERE d.until < clock_timestamp() RETURNING fence`, func(r *row) error {
				duty, ok = Duty{name, r.int(0)}, true
				return nil
			}, name, holder, d.Milliseconds())
		})
	})
	if err != nil {
		return Duty{}, false, fmt.Errorf("take over %s: %w", name, err)
	}
	return duty, ok, nil
}

// DutyFree reports whether TakeDuty is worth the try. It takes no lock.
func (s *Store) DutyFree(ctx context.Context, name string) (free bool, err error) {
	free = true
	err = s.onLoan(ctx, func(c *pgx.Conn) error {
		return query(ctx, c, `SELECT until < clock_timestamp() FROM tidemark.duty WHERE name = $1::text`, func(r *row) error {
			free = r.bool(0)
			return nil
		}, name)
	})
	return free, err
}

// KeepDuty renews a loan, and gives it back when d is 0. ok is false when another
// process has the duty by now.
func (s *Store) KeepDuty(ctx context.Context, duty Duty, d time.Duration) (ok bool, err error) {
	err = s.onLoan(ctx, func(c *pgx.Conn) error {
		n, err := exec(ctx, c, `UPDATE tidemark.duty SET until = clock_timestamp() + $3::int8 * interval '1 ms' WHERE name = $1::text AND fence = $2::int8`,
			duty.Name, duty.fence, d.Milliseconds())
		ok = n > 0
		return err
	})
	if err != nil {
		return false, fmt.Errorf("renew %s: %w", duty.Name, err)
	}
	return ok, nil
}

type dutyKey struct{}

// OnDuty makes every Update under the context write on duty: it ends with ErrOffDuty,
// and nothing is written, when another process has the duty by then.
func OnDuty(ctx context.Context, duty Duty) context.Context {
	return context.WithValue(ctx, dutyKey{}, duty)
}

// fenced checks the duty that an Update is under, if any. The caller holds the writer's
// lock, which whoever takes a duty over needs.
func (t *tx) fenced() error { return stillOn(t.ctx, t.c, "") }

// stillOn checks the duty that a context is under, if any. With " FOR SHARE" whoever takes
// it over waits for the transaction.
func stillOn(ctx context.Context, c *pgx.Conn, lock string) error {
	duty, ok := ctx.Value(dutyKey{}).(Duty)
	if !ok {
		return nil
	}
	held := false
	err := query(ctx, c, `SELECT fence = $2::int8 FROM tidemark.duty WHERE name = $1::text`+lock, func(r *row) error {
		held = r.bool(0)
		return nil
	}, duty.Name, duty.fence)
	if err != nil {
		return fmt.Errorf("look who is on duty: %w", err)
	}
	if !held {
		return fmt.Errorf("%s: %w", duty.Name, ErrOffDuty)
	}
	return nil
}

// onLoan runs fn on a connection of the pool, and once more when that was dead. What it
// does may be done twice then.
func (s *Store) onLoan(ctx context.Context, fn func(*pgx.Conn) error) error {
	for lost := false; ; lost = true {
		dead := false
		err := s.again(ctx, func() error {
			c, err := s.pool.borrow(ctx)
			if err != nil {
				return err
			}
			defer s.pool.giveBack(c)
			err = fn(c)
			dead = c.IsClosed() && ctx.Err() == nil
			return err
		})
		if err == nil || lost || !dead {
			return err
		}
		s.pool.forget() // where one is dead, all may be
	}
}
