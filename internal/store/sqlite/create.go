package sqlitestore

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"zombiezen.com/go/sqlite"

	sq "github.com/tidemark-sync/tidemark/internal/sqlite"
)

// Create makes a new database file with a schema. It refuses a path that exists.
func Create(path string, ddl []string) error {
	return create(path, func(tmp string) error {
		c, err := sq.Open(tmp, sq.Options{WAL: true, Full: true})
		if err != nil {
			return err
		}
		err = sq.Immediate(c, func() error {
			for _, q := range ddl {
				if err := sq.Script(c, q+";"); err != nil {
					return fmt.Errorf("%s: %w", short(q), err)
				}
			}
			return nil
		})
		return errors.Join(err, c.Close())
	})
}

// Import makes a new database file as a copy of an application's file, which may
// be in use meanwhile. progress is told bytes; it may be nil. A file that is
// damaged, or that Tidemark already serves, is refused.
func Import(src, dst string, progress func(done, total int64)) error {
	return create(dst, func(tmp string) error {
		from, err := sq.Open(src, sq.Options{ReadOnly: true})
		if err != nil {
			return err
		}
		defer func() { _ = from.Close() }() // nothing of its own to lose
		to, err := sq.Open(tmp, sq.Options{})
		if err != nil {
			return err
		}
		err = copyPages(from, to, progress)
		if err == nil {
			err = vet(to, src)
		}
		return errors.Join(err, to.Close())
	})
}

// copyPages copies a live database. A writer in between makes the engine start over.
func copyPages(from, to *sq.Conn, progress func(done, total int64)) error {
	size, _, err := sq.One(from, "PRAGMA page_size")
	if err != nil {
		return err
	}
	b, err := sqlite.NewBackup(to, "main", from, "main")
	if err != nil {
		return err
	}
	defer func() { _ = b.Close() }() // nothing of its own to lose
	for more, tries := true, 0; more; {
		more, err = b.Step(1024)
		if err != nil {
			if tries++; !more || tries > 100 {
				return err
			}
			wait := time.NewTimer(50 * time.Millisecond) // locked: the copy goes on where it was
			<-wait.C
			continue
		}
		tries = 0
		if progress != nil {
			total := int64(b.PageCount())
			progress((total-int64(b.Remaining()))*size.Int(), total*size.Int())
		}
	}
	return nil
}

// vet checks a copy before it gets its name.
func vet(c *sq.Conn, src string) error {
	word, _, err := sq.One(c, "PRAGMA quick_check(1)")
	if err != nil {
		return err
	}
	if word.Str() != "ok" {
		return fmt.Errorf("%s is damaged: %s", src, word.Str())
	}
	ours, found, err := sq.One(c, `SELECT name FROM sqlite_schema WHERE name LIKE '\_tidemark\_%' ESCAPE '\' LIMIT 1`)
	if err != nil {
		return err
	}
	if found {
		return fmt.Errorf("%s already belongs to Tidemark (it holds %s): detach it first", src, ours.Str())
	}
	return nil
}

// create builds a file beside path and gives it its name when it is whole.
func create(path string, build func(tmp string) error) error {
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		if err == nil {
			err = fs.ErrExist
		}
		return fmt.Errorf("create %s: %w", path, err)
	}
	tmp := path + ".partial"
	forget := func() {
		for _, name := range sq.Files(tmp) {
			_ = os.Remove(name)
		}
	}
	forget()
	err := build(tmp)
	if err == nil {
		err = os.Chmod(tmp, 0o600)
	}
	if err == nil {
		err = os.Link(tmp, path) // unlike a rename, never over a file that came meanwhile
	}
	forget()
	if err != nil {
		return fmt.Errorf("create %s: %w", path, err)
	}
	return nil
}

func short(q string) string {
	if len(q) > 60 {
		return q[:60] + "…"
	}
	return q
}
