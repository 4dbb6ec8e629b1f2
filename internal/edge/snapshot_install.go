package edge

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
	"github.com/tidemark-sync/tidemark/internal/wire"
)

// fresh refuses a path where something is, and one where a database was: its log
// would be replayed into the new one.
func fresh(path string) error {
	for _, name := range sqlite.Files(path) {
		if _, err := os.Lstat(name); !errors.Is(err, fs.ErrNotExist) {
			if err == nil {
				err = fs.ErrExist
			}
			return fmt.Errorf("%w: %s: %w", ErrNotFresh, name, err)
		}
	}
	return nil
}

// Install makes the received snapshot an enrolled file and gives it its name. Up
// to that moment nothing is at the path; from then on the file is complete, and
// an ordinary pull goes on from it.
func (d *Download) Install() error {
	if !d.Done() {
		return errors.New("install snapshot: it is not here yet")
	}
	tmp, err := d.box.unpack()
	if errors.Is(err, ErrDamagedSnapshot) {
		return errors.Join(err, d.Drop())
	}
	if err != nil {
		return err
	}
	if err := d.hook("unpacked"); err != nil {
		return err
	}
	if err := d.enrol(tmp); err != nil {
		return fmt.Errorf("install snapshot: %w", err)
	}
	if err := d.hook("enrolled"); err != nil {
		return err
	}
	if err := d.settle(tmp); err != nil {
		return fmt.Errorf("install snapshot: %w", err)
	}
	if err := d.hook("named"); err != nil {
		return err
	}
	return d.Drop()
}

func (d *Download) hook(name string) error {
	if d.cfg.step == nil {
		return nil
	}
	return d.cfg.step(name)
}

// enrol does to the unpacked file what a first bootstrap does to an empty one.
// Nothing is synced yet: a crash throws all of it away.
func (d *Download) enrol(path string) (err error) {
	cfg := d.cfg.Config
	cfg.Path, cfg.NoSync = path, true
	e, err := Open(cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	if e.Installed() {
		return fmt.Errorf("%w: it belongs to a device", ErrDamagedSnapshot)
	}
	if _, err := e.Install(d.welcome.Setup, d.cfg.Device, InstallOptions{}); err != nil {
		return err
	}
	return e.begin(d.box.At, d.welcome)
}

// begin records where a file starts that holds everything up to a cursor.
func (e *Engine) begin(at string, w *wire.Welcome) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	cursor, err := change.ParseCursor(at)
	if err != nil {
		return err
	}
	return sqlite.Immediate(e.conn, func() error {
		if err := e.stand(cursor, 0, e.cfg.Clock.Now()); err != nil {
			return err
		}
		if err := e.setScopes(w.Grants, w.Scopes); err != nil {
			return err
		}
		return e.setMeta(metaComplete, change.Int(1))
	})
}

// settle brings the finished file to disk and gives it its name: a link, unlike a
// rename, never goes over a file that came meanwhile.
func (d *Download) settle(tmp string) error {
	if info, err := os.Lstat(tmp + "-wal"); err == nil && info.Size() > 0 {
		return errors.New("its log was left behind")
	}
	if !d.cfg.NoSync {
		if err := syncPath(tmp); err != nil {
			return err
		}
	}
	if err := fresh(d.cfg.Path); err != nil {
		return err
	}
	if err := d.hook("naming"); err != nil {
		return err
	}
	if err := os.Link(tmp, d.cfg.Path); err != nil {
		return fmt.Errorf("%w: %w", ErrNotFresh, err)
	}
	if d.cfg.NoSync {
		return nil
	}
	return syncPath(filepath.Dir(d.cfg.Path))
}

func syncPath(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
