package serve

import (
	"context"
	"fmt"
	"time"

	"github.com/tidemark-sync/tidemark/internal/config"
	"github.com/tidemark-sync/tidemark/internal/disk"
	sqlitestore "github.com/tidemark-sync/tidemark/internal/store/sqlite"
)

// A fileBase is a hub's SQLite file.
type fileBase struct{ dir HubDir }

func (b fileBase) String() string { return b.dir.DB() }

func (b fileBase) shared() bool { return false }

func (b fileBase) exists(context.Context) error { return b.dir.exists() }

// tables: a file that is there is a hub.
func (b fileBase) tables(context.Context) error {
	return fmt.Errorf("%s: %w", string(b.dir), ErrNoTables)
}

func (b fileBase) fits(_ context.Context, conf *config.Config) error {
	return CheckConfig(conf, b.dir.DB())
}

func (b fileBase) make(ctx context.Context, m making) error {
	if m.rows == "" {
		return createTables(b.dir.DB(), m.tables)
	}
	if err := sqlitestore.Import(m.rows, b.dir.DB(), m.progress); err != nil {
		return fmt.Errorf("import %s: %w", m.rows, err)
	}
	return ctx.Err()
}

func (b fileBase) open(_ context.Context, o opening) (Store, error) {
	return sqlitestore.Open(sqlitestore.Config{
		Path: b.dir.DB(), Rules: &o.conf.Tables, Clock: o.Clock, Rand: o.Rand, Logger: o.Logger, NoSync: o.NoSync,
	})
}

func (b fileBase) peek(_ context.Context, kind, id string) ([]byte, error) {
	return sqlitestore.Peek(b.dir.DB(), kind, id)
}

// look strikes for whatever another process wrote: a device that was revoked, or
// given other scopes.
func (b fileBase) look(ctx context.Context, strike func()) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	v := disk.Versions{Path: b.dir.DB()}
	defer v.Close()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if v.Changed() {
			strike()
		}
	}
}

func (b fileBase) examine(ctx context.Context, c *exam) {
	c.File(b.dir.DB())
	c.Disk(b.dir.DB())
	c.Engines(ctx)
}
