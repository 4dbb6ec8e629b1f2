package serve

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/tidemark-sync/tidemark/internal/config"
	"github.com/tidemark-sync/tidemark/internal/disk"
)

// prepare puts the configuration in force and creates the database when there
// is none.
func (h *Hub) prepare(ctx context.Context) (*config.Config, error) {
	conf, raw, err := h.config()
	if err != nil {
		return nil, err
	}
	if h.base, err = h.cfg.Dir.base(conf, h.cfg.Database); err != nil {
		return nil, err
	}
	from := h.cfg.Import + h.cfg.Schema
	fresh := false
	switch err = h.base.exists(ctx); {
	case err == nil && from != "":
		return nil, fmt.Errorf("import %s into %s: %w", from, h.base, ErrHubExists)
	case errors.Is(err, ErrNoHub):
		fresh = true
		if from == "" {
			if err := h.base.tables(ctx); err != nil {
				return nil, err
			}
		}
	case err != nil:
		return nil, err
	}
	// First the configuration: what makes the directory a hub is the database.
	if raw != nil {
		if err := h.fits(ctx, conf, fresh && from != ""); err != nil {
			return nil, err
		}
		if err := disk.WriteFile(h.cfg.Dir.Config(), raw); err != nil {
			return nil, err
		}
	}
	if h.cfg.Database != "" {
		if err := h.cfg.Dir.keepDatabase(h.cfg.Database); err != nil {
			return nil, err
		}
	}
	if fresh {
		if err := h.create(ctx, conf); err != nil {
			return nil, err
		}
	}
	return conf, nil
}

// fits compares a configuration that is to be put in force with the tables that
// there are, or are to be made.
func (h *Hub) fits(ctx context.Context, conf *config.Config, toMake bool) error {
	if !toMake {
		if err := h.base.fits(ctx, conf); err != nil {
			return fmt.Errorf("configuration %s for the tables of %s: %w", h.cfg.ConfigFile, h.base, err)
		}
		return nil
	}
	from := h.cfg.Import + h.cfg.Schema
	script, err := readScript(from)
	if err != nil || script != nil && h.cfg.Import == "" {
		return err // what a script makes is known when it ran
	}
	if err := CheckConfig(conf, from); err != nil {
		return fmt.Errorf("configuration %s for the tables of %s: %w", h.cfg.ConfigFile, from, err)
	}
	return nil
}

// create makes the tables of a new hub, where it is not given any.
func (h *Hub) create(ctx context.Context, conf *config.Config) error {
	if err := h.cfg.Dir.forgetNote(); err != nil {
		return err
	}
	if h.cfg.Import+h.cfg.Schema == "" {
		return h.base.fits(ctx, conf)
	}
	return h.base.make(ctx, making{rows: h.cfg.Import, tables: h.cfg.Schema, conf: conf, progress: h.cfg.Progress,
		note: func(s string) { h.notes = append(h.notes, s) }})
}

// opening is how the hub opens its database.
func (h *Hub) opening(conf *config.Config) opening {
	return opening{OfficeConfig: OfficeConfig{Dir: h.cfg.Dir, Clock: h.cfg.Clock, Rand: h.cfg.Rand, Logger: h.log, NoSync: h.cfg.NoSync},
		conf: conf, enforce: h.cfg.ConfigFile != "", word: h.cfg.Revive}
}

// Database says where the rows are, without anything secret.
func (h *Hub) Database() string { return h.base.String() }

// Notes are what is different in tables that Start made from those that it was given.
func (h *Hub) Notes() []string { return h.notes }

// The refusals of prepare.
var (
	ErrHubExists = errors.New("the directory holds a hub already")
	ErrNoTables  = errors.New("the directory holds no hub yet")
	ErrNoConfig  = errors.New("no configuration")
)

// config reads the configuration; raw is its text when it is to be put in force.
func (h *Hub) config() (conf *config.Config, raw []byte, err error) {
	path := h.cfg.ConfigFile
	if path == "" {
		path = h.cfg.Dir.Config()
	}
	raw, err = os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, fmt.Errorf("%s: %w", path, ErrNoConfig)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("read configuration: %w", err)
	}
	if conf, err = loadConfig(path); err != nil {
		return nil, nil, err
	}
	if h.cfg.ConfigFile == "" {
		raw = nil
	}
	return conf, raw, nil
}
