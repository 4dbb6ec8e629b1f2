package postgresstore

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// An Update that collides with another program's transaction runs again: after 4 ms
// or less, then up to twice as long each time.
const (
	maxTries   = 12
	firstPause = 4 * time.Millisecond
	maxPause   = 500 * time.Millisecond
)

// errCollided says that a constraint was broken while others wrote, too: on a newer
// snapshot it may hold.
var errCollided = errors.New("another program wrote at the same time")

// again runs fn until it does not collide with anybody (trap P11).
func (s *Store) again(ctx context.Context, fn func() error) error {
	pause := firstPause
	for try := 1; ; try++ {
		err := fn()
		if err == nil || try == maxTries || !collided(err) {
			return err
		}
		if err := s.pause(ctx, pause); err != nil {
			return err
		}
		pause = min(2*pause, maxPause)
	}
}

// pause waits for a random part of d, at least half of it.
func (s *Store) pause(ctx context.Context, d time.Duration) error {
	var b [1]byte
	if _, err := io.ReadFull(s.cfg.Rand, b[:]); err != nil {
		return err
	}
	timer := time.NewTimer(d/2 + d/2*time.Duration(b[0])/256)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// collided reports whether an error comes from another transaction's doings: nothing
// was committed, and it may well work when it is tried again.
func collided(err error) bool {
	if errors.Is(err, errCollided) {
		return true
	}
	var pe *pgconn.PgError
	if !errors.As(err, &pe) {
		return false
	}
	switch pe.Code {
	case "40001", "40P01", "55P03": // serialization failure, deadlock, lock not available
		return true
	case "0A000": // a cached plan met a column whose type was changed
		return pe.Message == "cached plan must not change result type"
	}
	return false
}

// slow reports that a statement took longer than it was given.
func slow(err error) bool {
	var pe *pgconn.PgError
	return errors.As(err, &pe) && pe.Code == "57014"
}

// taken reports that somebody else made a table, or its row type, at the same time, or that the default
// partition holds what would belong in a new one.
func taken(err error) bool {
	var pe *pgconn.PgError
	return errors.As(err, &pe) && (pe.Code == "42P07" || pe.Code == "42710" || pe.Code == "23514" || pe.Code == "23505")
}
