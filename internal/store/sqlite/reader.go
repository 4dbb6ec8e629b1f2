package sqlitestore

import (
	"context"
	"fmt"

	"github.com/tidemark-sync/tidemark/internal/sqlite"
)

// borrow takes the reader that was given back last: its page cache is the warmest,
// and those that are never needed at once are never opened.
func (s *Store) borrow(ctx context.Context) (*sqlite.Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	select {
	case <-s.done:
		return nil, errClosed
	default:
	}
	select {
	case <-s.free:
	case <-s.done:
		return nil, errClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	s.reading.Lock()
	if n := len(s.idle); n > 0 {
		c := s.idle[n-1]
		s.idle = s.idle[:n-1]
		s.reading.Unlock()
		return c, nil
	}
	s.reading.Unlock()
	c, err := s.openReader()
	if err != nil {
		s.free <- struct{}{}
	}
	return c, err
}

// giveBack ends a loan.
func (s *Store) giveBack(c *sqlite.Conn) {
	s.reading.Lock()
	s.idle = append(s.idle, c)
	s.reading.Unlock()
	s.free <- struct{}{}
}

func (s *Store) openReader() (*sqlite.Conn, error) {
	c, err := sqlite.Open(s.cfg.Path, sqlite.Options{MustExist: true, CacheKB: cacheKB})
	if err != nil {
		return nil, fmt.Errorf("open reader: %w", err)
	}
	for _, p := range []string{"PRAGMA query_only=ON", "PRAGMA temp_store=MEMORY"} {
		if err := sqlite.Exec(c, p); err != nil {
			_ = c.Close()
			return nil, fmt.Errorf("open reader: %s: %w", p, err)
		}
	}
	return c, nil
}
