package sqlitestore

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/klauspost/compress/zstd"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/rule"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
)

// ddlKind is what a statement of a setup makes, as "TABLE" or "INDEX".
func ddlKind(sql string) string {
	for _, t := range tokens(sql) {
		switch w := strings.ToUpper(t.text); w {
		case "CREATE", "UNIQUE":
		default:
			return w
		}
	}
	return ""
}

// fit refuses tables that a copy of their rows alone does not make: what an
// application's triggers keep beside them must be made where they run.
func fit(ddl []string) error {
	for _, q := range ddl {
		switch kind := ddlKind(q); kind {
		case "TABLE", "INDEX", "VIEW":
		default:
			return fmt.Errorf("%w: they come with a %s", hub.ErrNoSnapshot, strings.ToLower(kind))
		}
	}
	return nil
}

// photograph makes a photo: a new file that never held anything but the rows of
// the scopes (I6), filled in key order before its indices are made.
func (s *Store) photograph(im *photo, ask hub.SnapshotAsk) (err error) {
	tmp := im.path + ".db"
	defer func() {
		for _, name := range sqlite.Files(tmp) {
			_ = os.Remove(name)
		}
	}()
	if err := s.stand(tmp, ask.DDL, "TABLE"); err != nil {
		return fmt.Errorf("create tables: %w", err)
	}
	if err := os.Chmod(tmp, 0o600); err != nil {
		return err
	}
	if err := s.copyRows(im, tmp, ask.Scopes); err != nil {
		return fmt.Errorf("copy rows: %w", err)
	}
	if err := s.stand(tmp, ask.DDL, "INDEX"); err != nil {
		return fmt.Errorf("create indices: %w", err)
	}
	return s.pack(im, tmp)
}

// stand runs the statements of one kind in the new file. The last kind also
// checks the file and leaves it in WAL mode, as edges want it.
func (s *Store) stand(path string, ddl []string, kind string) (err error) {
	c, err := sqlite.Open(path, sqlite.Options{NoSync: true, CacheKB: cacheKB})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	c.SetInterrupt(s.done)
	for _, p := range []string{"PRAGMA journal_mode=OFF", "PRAGMA temp_store=MEMORY"} {
		if err := sqlite.Exec(c, p); err != nil {
			return err
		}
	}
	for _, q := range ddl {
		if ddlKind(q) != kind {
			continue
		}
		if err := sqlite.Exec(c, q); err != nil {
			return fmt.Errorf("%s: %w", short(q), err)
		}
	}
	if kind == "TABLE" {
		return nil
	}
	word, _, err := sqlite.One(c, "PRAGMA quick_check(1)")
	if err == nil && word.Str() != "ok" {
		err = fmt.Errorf("the copy is damaged: %s", word.Str())
	}
	if err != nil {
		return err
	}
	return sqlite.Exec(c, "PRAGMA journal_mode=WAL")
}

// copyRows copies the rows of the scopes from one snapshot of the hub, and notes
// the cursor of that. It reads over a connection of its own: the pool's are for
// what is quick.
func (s *Store) copyRows(im *photo, path string, scopes []rule.ScopeID) (err error) {
	// Another program may have changed the schema: bring the plan up to date first.
	if err := s.View(context.Background(), func(hub.View) error { return nil }); err != nil {
		return err
	}
	c, err := s.openReader()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	c.SetInterrupt(s.done)
	if err := sqlite.Exec(c, "PRAGMA query_only=OFF"); err != nil {
		return err
	}
	if err := sqlite.Exec(c, "ATTACH ? AS snapshot", change.Text(path)); err != nil {
		return err
	}
	for _, p := range []string{"PRAGMA snapshot.journal_mode=OFF", "PRAGMA snapshot.synchronous=OFF", "PRAGMA snapshot.cache_size=-16384"} {
		if err := sqlite.Exec(c, p); err != nil {
			return err
		}
	}
	return sqlite.Snapshot(c, func() error {
		p := s.plan.Load()
		version, _, err := sqlite.One(c, "PRAGMA main.schema_version")
		if err != nil {
			return err
		}
		if version.Int() != p.version {
			return errors.New("the tables changed meanwhile")
		}
		v := &view{s: s, c: c, p: p}
		if im.At, err = v.Cursor(); err != nil {
			return err
		}
		if im.pos, err = v.tail(); err != nil {
			return err
		}
		for _, t := range p.tables {
			if err := v.copyTable(t, scopes); err != nil {
				return fmt.Errorf("table %s: %w", t.def.Name, err)
			}
		}
		return nil
	})
}

// copyTable copies a table's rows in key order, so that its own index grows at
// its end only. Names without a schema mean the hub's tables: main comes first.
func (v *view) copyTable(t *table, scopes []rule.ScopeID) error {
	where, args := t.within(scopes)
	if args == nil {
		return nil
	}
	if t.scope.All {
		args = nil
	}
	return sqlite.Exec(v.c, "INSERT INTO snapshot."+t.name+" ("+sqlite.QuoteAll("", t.names)+") SELECT "+t.columns+
		" FROM main."+t.name+" AS t WHERE "+where+" ORDER BY "+sqlite.QuoteAll("t.", t.keyNames), args...)
}

// pack compresses the file to its place and names it by what came out.
func (s *Store) pack(im *photo, from string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	out, err := os.OpenFile(im.path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	sum := sha256.New()
	z, err := zstd.NewWriter(io.MultiWriter(out, sum), zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderCRC(true), zstd.WithEncoderConcurrency(1))
	if err != nil {
		return err
	}
	im.Size, err = io.Copy(z, &stoppable{in, s.done})
	err = errors.Join(err, z.Close())
	if err != nil {
		return fmt.Errorf("compress: %w", err)
	}
	sum.Sum(im.ID[:0])
	info, err := out.Stat()
	if err != nil {
		return err
	}
	im.Packed = info.Size()
	return nil
}

// A stoppable reader ends with an error once done is closed.
type stoppable struct {
	r    io.Reader
	done <-chan struct{}
}

func (r *stoppable) Read(b []byte) (int, error) {
	select {
	case <-r.done:
		return 0, errClosed
	default:
		return r.r.Read(b)
	}
}
