package sim

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"time"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/rule"
)

// maxClones bounds the copies of one history.
const maxClones = 2

// clone copies a site's file with all that lies beside it to another machine, as
// one disk image is put on two tablets (trap D4): both go on under one name.
func (w *world) clone(s *site) error {
	if ready, err := s.ready(); err != nil || !ready || w.clones >= maxClones {
		return err
	}
	n := w.opt.Edges + w.clones
	w.clones++
	c := &site{n: n, path: filepath.Join(w.opt.Dir, fmt.Sprintf("edge%d.db", n)), clock: &nodeClock{world: w.time},
		device: s.device, key: s.key, complete: true, holds: maps.Clone(s.holds)}
	c.clock.skew = time.Duration(w.rng.IntN(120)-60) * time.Second
	c.rand = &nodeRand{src: newRand(w.opt.Seed, fmt.Sprintf("edge%d", n)), clock: c.clock}
	if err := errors.Join(copyDatabase(s.path, c.path), copyTree(s.path+"-tidemark", c.path+"-tidemark")); err != nil {
		return fmt.Errorf("copy e%d: %w", s.n, err)
	}
	w.logf("e%d is copied to e%d", s.n, n)
	w.sometimes("file copied")
	if s.link != nil {
		w.sometimes("file copied while connected")
	}
	w.edges = append(w.edges, c)
	if err := w.bootSite(c); err != nil {
		return err
	}
	w.oracle.copied[s.app.name], w.oracle.copied[c.app.name] = true, true
	return nil
}

// copyDatabase copies a database nobody is writing to, with what is in its WAL.
func copyDatabase(from, to string) error {
	if err := copyFile(from, to); err != nil {
		return err
	}
	err := copyFile(from+"-wal", to+"-wal")
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func copyFile(from, to string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// copyTree copies a directory that may not be there.
func copyTree(from, to string) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) && path == from {
			return nil
		}
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		if d.IsDir() {
			return os.MkdirAll(filepath.Join(to, rel), 0o700)
		}
		return copyFile(path, filepath.Join(to, rel))
	})
}

// removeDatabase removes a database's files.
func removeDatabase(path string) error {
	for _, suffix := range []string{"", "-wal", "-shm", "-journal"} {
		if err := os.Remove(path + suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// name is the device a site's file belongs to now: a copy becomes a device of its own.
func (s *site) name() change.DeviceID {
	if dev, _ := s.engine.Identity(); !dev.IsZero() {
		return dev
	}
	return s.device
}

// grantsOf is what a site may do, as the hub has it.
func (w *world) grantsOf(s *site) ([]rule.Grant, error) {
	dev, err := w.hub.hub.Device(w.ctx, s.name())
	if err != nil {
		return nil, fmt.Errorf("grants of e%d: %w", s.n, err)
	}
	return dev.Grants, nil
}
