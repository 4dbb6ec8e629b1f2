package sim

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/tidemark-sync/tidemark/internal/clock"
	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/rule"
	store "github.com/tidemark-sync/tidemark/internal/store/sqlite"
)

// A base is the hub's database.
type base interface {
	// create makes the tables: nothing of Tidemark's is there yet.
	create(ddl []string) error
	// open lets a process serve the database.
	open(p *process, rules *rule.Rules) (hub.Store, error)
	// ddl is the statements that make the tables at edges; made is those of create,
	// as they would be now.
	ddl(ctx context.Context, st hub.Store, made []string) ([]string, error)
	// connect opens another program's connection.
	connect(wall clock.Clock) (program, error)
	// adopt puts rules in force that go with tables that were changed.
	adopt(w *world, rules *rule.Rules) error
	// copy keeps the database as it stands between two commits; putBack puts the last
	// copy in its place, while nobody is connected.
	copy() error
	putBack() error
	// cut ends every connection to the database; crash ends its server, and starts it
	// again.
	cut() error
	crash() error
	// at tells the database's machine the time.
	at(now time.Time) error
	// end forgets the database, when a history is over.
	end() error
}

// A fileBase is a SQLite file.
type fileBase struct {
	path string
}

func (b *fileBase) create(ddl []string) error { return store.Create(b.path, ddl) }

func (b *fileBase) open(p *process, rules *rule.Rules) (hub.Store, error) {
	return store.Open(store.Config{Path: b.path, Rules: rules, Clock: p.clock, Rand: p.rand, NoSync: true})
}

func (b *fileBase) ddl(_ context.Context, _ hub.Store, made []string) ([]string, error) {
	return made, nil
}

func (b *fileBase) connect(wall clock.Clock) (program, error) { return openFile(b.path, wall) }

func (b *fileBase) adopt(w *world, rules *rule.Rules) error { return w.hub.hub.Reload(w.ctx, rules) }

func (b *fileBase) copyPath() string { return b.path + ".copy" }

func (b *fileBase) copy() error {
	return errors.Join(removeDatabase(b.copyPath()), copyDatabase(b.path, b.copyPath()))
}

func (b *fileBase) putBack() error {
	if err := errors.Join(removeDatabase(b.path), os.Rename(b.copyPath(), b.path)); err != nil {
		return err
	}
	if err := os.Rename(b.copyPath()+"-wal", b.path+"-wal"); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

func (b *fileBase) cut() error { return nil }

func (b *fileBase) crash() error { return nil }

func (b *fileBase) at(time.Time) error { return nil }

func (b *fileBase) end() error { return nil }
