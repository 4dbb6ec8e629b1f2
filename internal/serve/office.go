package serve

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"

	"github.com/tidemark-sync/tidemark/internal/clock"
	"github.com/tidemark-sync/tidemark/internal/config"
	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/parcel"
	sqlitestore "github.com/tidemark-sync/tidemark/internal/store/sqlite"
	"github.com/tidemark-sync/tidemark/internal/wire/transport"
)

// OfficeConfig is what it takes to open a hub's data directory.
type OfficeConfig struct {
	Dir    HubDir
	Clock  clock.Clock // required
	Rand   io.Reader   // required; a cryptographic source in production
	Logger *slog.Logger
	NoSync bool // tests only: no fsync
}

// An Office is a hub's data directory opened for administration: the store and
// the hub's core, without a listener. It may be open in any number of processes
// beside the one that serves; SQLite keeps them apart.
type Office struct {
	Dir    HubDir
	Config *config.Config
	Core   *hub.Hub
	Store  *sqlitestore.Store

	rand io.Reader
}

// OpenOffice opens the hub of a directory under the configuration in force.
func OpenOffice(ctx context.Context, cfg OfficeConfig) (*Office, error) {
	if err := cfg.Dir.exists(); err != nil {
		return nil, err
	}
	conf, err := loadConfig(cfg.Dir.Config())
	if err != nil {
		return nil, err
	}
	return openOffice(ctx, cfg, conf)
}

func openOffice(ctx context.Context, cfg OfficeConfig, conf *config.Config) (_ *Office, err error) {
	rules := &conf.Tables
	store, err := sqlitestore.Open(sqlitestore.Config{
		Path: cfg.Dir.DB(), Rules: rules, Clock: cfg.Clock, Rand: cfg.Rand, Logger: cfg.Logger, NoSync: cfg.NoSync,
	})
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, store.Close())
		}
	}()
	seal, err := parcel.LoadOrCreateKey(cfg.Dir.parcelKey())
	if err != nil {
		return nil, err
	}
	key, err := loadSealKey(cfg.Dir.sealKey(), cfg.Rand)
	if err != nil {
		return nil, err
	}
	core, err := hub.New(ctx, hub.Config{
		Store: store, Rules: rules, DDL: store.DDL, Clock: cfg.Clock, Rand: cfg.Rand, Logger: cfg.Logger, Parcel: seal,
		Copies: hub.CopyPolicy(conf.Hub.Copies), SealKey: key, Recover: conf.Hub.Rollback == "recover", NoSalvage: conf.Hub.Salvage == "false",
		Name: conf.Hub.Name, Limits: hub.Limits{
			Frame: int(conf.Hub.Limits.Frame), Tx: int(conf.Hub.Limits.Transaction),
			Row: int(conf.Hub.Limits.Row), Ops: conf.Hub.Limits.Rows,
		},
	})
	if err != nil {
		return nil, fmt.Errorf("open hub %s: %w", string(cfg.Dir), err)
	}
	return &Office{Dir: cfg.Dir, Config: conf, Core: core, Store: store, rand: cfg.Rand}, nil
}

// Close closes the store.
func (o *Office) Close() error { return o.Store.Close() }

// loadConfig reads a configuration with its defaults filled in.
func loadConfig(path string) (*config.Config, error) {
	c, err := config.Load(path)
	if err != nil {
		return nil, err
	}
	full := c.WithDefaults()
	return &full, nil
}

// Endpoint is how devices reach this hub: at url when one is given, else as the
// configuration says, else where it listens or listened last.
func (o *Office) Endpoint(url string) (Endpoint, error) {
	id, err := transport.LoadOrCreateIdentity(o.Dir.tls(), o.rand)
	if err != nil {
		return Endpoint{}, err
	}
	at, err := o.Dir.ReadEndpoint()
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return Endpoint{}, err
	}
	at.Pin = id.Pin()
	switch {
	case url != "":
		at.URL = url
	case at.URL == "" && o.Config.Hub.URL != "":
		at.URL = o.Config.Hub.URL
	case at.URL == "":
		return Endpoint{}, fmt.Errorf("%s: %w", string(o.Dir), ErrNoURL)
	}
	return at, nil
}

// ErrNoURL says that nobody told yet how devices reach a hub.
var ErrNoURL = errors.New("nobody said yet how devices reach this hub")
