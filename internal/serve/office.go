package serve

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"time"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/clock"
	"github.com/tidemark-sync/tidemark/internal/config"
	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/parcel"
	"github.com/tidemark-sync/tidemark/internal/people"
	postgresstore "github.com/tidemark-sync/tidemark/internal/store/postgres"
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
	Store  Store
	People *people.Book

	base   base
	rand   io.Reader
	clock  clock.Clock
	log    *slog.Logger
	chunks chunks

	// What goes on between the processes that serve one database; nil where one serves a file.
	server *postgresstore.Store
	vine   *vine
}

// OpenOffice opens the hub of a directory under the configuration in force.
func OpenOffice(ctx context.Context, cfg OfficeConfig) (*Office, error) {
	b, conf, err := cfg.Dir.find("")
	if err != nil && b == nil {
		return nil, err
	}
	if err := b.exists(ctx); err != nil {
		return nil, err
	}
	if err != nil {
		return nil, err
	}
	return openOffice(ctx, b, opening{OfficeConfig: cfg, conf: conf})
}

func openOffice(ctx context.Context, b base, cfg opening) (_ *Office, err error) {
	conf := cfg.conf
	rules := &conf.Tables
	vine := newVine()
	cfg.heard = vine.hear
	store, err := b.open(ctx, cfg)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, store.Close())
		}
	}()
	o := &Office{Dir: cfg.Dir, Config: conf, Store: store, base: b, rand: cfg.Rand, clock: cfg.Clock, log: cfg.Logger}
	var seal *parcel.Key
	var key []byte
	var tell func(change.DeviceID)
	if s, ok := store.(*postgresstore.Store); ok {
		o.server, o.vine, tell = s, vine, vine.say
		seal, key, err = cfg.Dir.sharedKeys(ctx, store, cfg.Rand)
	} else {
		_, seal, key, err = cfg.Dir.loadKeys(cfg.Rand)
	}
	if err != nil {
		return nil, err
	}
	if o.People, err = people.New(people.Config{Store: store, Clock: cfg.Clock, Rand: cfg.Rand, Key: key, Hub: conf.Hub.Name}); err != nil {
		return nil, err
	}
	if o.chunks, err = openChunks(cfg.OfficeConfig, conf, key); err != nil {
		return nil, err
	}
	n, _ := cfg.Dir.readNote() // settlePast says what is wrong with it
	o.Core, err = hub.New(ctx, hub.Config{
		Store: store, Rules: rules, DDL: store.DDL, Clock: cfg.Clock, Rand: cfg.Rand, Logger: cfg.Logger, Parcel: seal,
		Copies: hub.CopyPolicy(conf.Hub.Copies), SealKey: key, Recover: conf.Hub.Rollback == "recover", NoSalvage: conf.Hub.Salvage == "false",
		Chunks: o.chunks, Deltas: o.chunks.deltas, Beside: transport.Beside, Noted: n.Cursor, NotedAt: n.At, Word: cfg.word, Tell: tell, Name: conf.Hub.Name, Limits: hub.Limits{
			Frame: int(conf.Hub.Limits.Frame), Tx: int(conf.Hub.Limits.Transaction),
			Row: int(conf.Hub.Limits.Row), Ops: conf.Hub.Limits.Rows,
		},
	})
	if err != nil {
		return nil, fmt.Errorf("open hub %s: %w", string(cfg.Dir), err)
	}
	return o, nil
}

// closeTime is how long other processes are told about what was done last.
const closeTime = 5 * time.Second

// Close closes the store.
func (o *Office) Close() error {
	var err error
	if o.vine != nil {
		ctx, end := context.WithTimeout(context.Background(), closeTime)
		_, err = o.vine.pass(ctx, o.server)
		end()
	}
	return errors.Join(err, o.chunks.close(), o.Store.Close())
}

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
