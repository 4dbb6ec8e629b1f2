package serve

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/clock"
	"github.com/tidemark-sync/tidemark/internal/config"
	"github.com/tidemark-sync/tidemark/internal/disk"
	"github.com/tidemark-sync/tidemark/internal/hub"
	postgresstore "github.com/tidemark-sync/tidemark/internal/store/postgres"
	"github.com/tidemark-sync/tidemark/internal/wire/transport"
)

// HubConfig is what a Hub needs.
type HubConfig struct {
	Dir        HubDir // "" means DefaultData
	ConfigFile string // a configuration to put in force; "" keeps the one in Dir
	Import     string // a SQLite file whose tables and rows a new hub starts with
	Schema     string // a SQLite file, or an SQL script, whose tables alone it starts with
	Listen     string // "" means the configuration's
	// Revive begins a new life of a hub whose database was put back from a copy:
	// change.Restored or change.Undone; "" does not.
	Revive change.BranchMode
	// Database is the address of a PostgreSQL database to serve; "" means the
	// configuration's, else the one that an earlier start was given, else SQLite.
	Database string
	URL      string // how devices reach the hub; "" means the configuration's, else the address
	Clock    clock.Clock
	Rand     io.Reader
	Logger   *slog.Logger
	Progress func(done, total int64) // of an import; may be nil
	NoSync   bool                    // tests only: no fsync
	Console  *ConsoleConfig          // nil: none is served
}

// How often a serving hub looks after itself.
const (
	lookEvery    = 500 * time.Millisecond // rights that other processes changed
	refreshEvery = 30 * time.Second       // tables changed by other programs
	flushEvery   = 10 * time.Second       // what is known of devices, for other processes
	retainEvery  = 10 * time.Minute       // the log's floor
	siftEvery    = time.Minute            // lost rows that somebody handed in again
)

// A Hub serves one data directory.
type Hub struct {
	cfg HubConfig
	log *slog.Logger

	mu       sync.Mutex
	stop     context.CancelFunc // guarded by mu; nil unless started
	wait     sync.WaitGroup
	office   *Office
	server   *transport.Server
	listener net.Listener
	lock     *disk.Lock
	at       Endpoint
	bell     *bell
	failed   chan error // the first service that ended by itself
	revived  *change.Branch
	lives    []change.Epoch // that ever were here; used by one goroutine at a time
	noted    change.Cursor  // what lineage.json says; used by one goroutine at a time
	base     base
	notes    []string // what is different in tables that Start made

	duty atomic.Pointer[postgresstore.Duty] // of the chores; nil: another process has it, or none needs it

	reception *reception // nil before Start
	front     *front     // for people; nil where no console is served
}

// NewHub checks the configuration.
func NewHub(cfg HubConfig) (*Hub, error) {
	if cfg.Dir == "" {
		cfg.Dir = DefaultData
	}
	if cfg.Import != "" && cfg.Schema != "" {
		return nil, errors.New("hub: an import brings its tables: give one of import and schema")
	}
	if cfg.Clock == nil || cfg.Rand == nil {
		return nil, errors.New("hub: a clock and a source of randomness are required")
	}
	h := &Hub{cfg: cfg, log: cfg.Logger, bell: newBell(), failed: make(chan error, 4)}
	if h.log == nil {
		h.log = slog.New(slog.DiscardHandler)
	}
	return h, nil
}

// Dir is the data directory.
func (h *Hub) Dir() HubDir { return h.cfg.Dir }

// Endpoint is where the hub can be reached; zero before Start.
func (h *Hub) Endpoint() Endpoint { return h.at }

// Revived is the life that Start began, when HubConfig.Revive asked for one.
func (h *Hub) Revived() *change.Branch { return h.revived }

// Core is the hub itself; nil before Start.
func (h *Hub) Core() *hub.Hub { return h.office.Core }

// Start creates the hub when the directory is new, listens, and serves. It
// returns when the hub is ready for devices.
func (h *Hub) Start(ctx context.Context) (err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.stop != nil {
		return errors.New("hub: already started")
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, h.release())
		}
	}()
	if h.cfg.Revive != "" { // nothing can be put back where nothing was: a mistyped path
		b, _, err := h.cfg.Dir.find(h.cfg.Database)
		if b != nil {
			err = b.exists(ctx)
		}
		if err != nil {
			return err
		}
	}
	if err := h.cfg.Dir.create(); err != nil {
		return err
	}
	if h.lock, err = disk.Take(h.cfg.Dir.lock()); err != nil {
		return err
	}
	conf, err := h.prepare(ctx)
	if err != nil {
		return err
	}
	h.office, err = openOffice(ctx, h.base, h.opening(conf))
	if err != nil {
		return err
	}
	if err := h.settlePast(ctx); err != nil {
		return err
	}
	if err := h.listen(conf); err != nil {
		return err
	}
	if err := h.openFront(ctx, conf); err != nil {
		return err
	}
	// The last that can fail: who reads where the hub is finds one that serves.
	if err := disk.WriteJSON(h.cfg.Dir.endpoint(), h.at); err != nil {
		return err
	}
	ctx, h.stop = context.WithCancel(ctx)
	h.serve(ctx, conf)
	return nil
}

func (h *Hub) listen(conf *config.Config) error {
	id, err := transport.LoadOrCreateIdentity(h.cfg.Dir.tls(), h.cfg.Rand)
	if err != nil {
		return err
	}
	addr := h.cfg.Listen
	if addr == "" {
		addr = conf.Hub.Listen
	}
	h.listener, err = net.Listen("tcp", addr)
	if err != nil {
		return fmt.Errorf("listen on %s: %w", addr, err)
	}
	h.at = Endpoint{URL: h.cfg.URL, Pin: id.Pin(), PID: os.Getpid()}
	if h.at.URL == "" {
		h.at.URL = conf.Hub.URL
	}
	if h.at.URL == "" {
		h.at.URL = "https://" + reachable(h.listener.Addr())
	}
	h.reception = newReception(h, conf.Hub.Limits)
	h.server, err = transport.NewServer(transport.ServerConfig{Identity: id, Core: h.reception, Name: conf.Hub.Name, Logger: h.log,
		Heartbeat: conf.Hub.Heartbeat, MaxFrame: int(conf.Hub.Limits.Frame) + frameRoom})
	return err
}

// frameRoom is what a frame may weigh beside its body.
const frameRoom = 64 << 10

// reachable is an address as a device on this machine would dial it.
func reachable(a net.Addr) string {
	t, ok := a.(*net.TCPAddr)
	if !ok || !t.IP.IsUnspecified() {
		return a.String()
	}
	name, err := os.Hostname()
	if err != nil || name == "" {
		name = "127.0.0.1"
	}
	return net.JoinHostPort(name, fmt.Sprint(t.Port))
}

// serve starts the goroutines of a hub: the listener, one that waits on the
// store for all sessions, and the caretaker.
func (h *Hub) serve(ctx context.Context, conf *config.Config) {
	h.wait.Go(func() {
		if err := h.server.Serve(ctx, h.listener); err != nil && ctx.Err() == nil {
			h.failed <- fmt.Errorf("serve: %w", err)
		}
	})
	h.serveFront(ctx)
	h.wait.Go(func() { h.toll(ctx) })
	h.wait.Go(func() { h.base.look(ctx, h.bell.strike) })
	if h.office.server != nil {
		h.wait.Go(func() { h.carry(ctx) })
		h.wait.Go(func() { h.serveTogether(ctx) })
		h.office.vine.say(change.DeviceID{}) // perhaps under rules that are new to the others
	}
	for _, c := range h.chores(conf) {
		h.wait.Go(func() { h.care(ctx, c) })
	}
}

// toll strikes the bell whenever the store changed, for those whom it concerns.
func (h *Hub) toll(ctx context.Context) {
	lost := false
	var since change.Cursor
	for ctx.Err() == nil {
		st, err := h.stirred(ctx, &since)
		h.office.Core.Tolled(since)
		h.bell.stir(&st)
		if err == nil {
			err = h.office.Store.Wait(ctx, since)
		}
		if lost && err == nil {
			h.log.Info("the database answers again")
		}
		if err != nil && ctx.Err() == nil && !lost {
			h.log.Error("wait for changes", "error", err.Error())
		}
		if lost = err != nil; lost {
			select {
			case <-ctx.Done():
			case <-time.After(time.Second):
			}
		}
	}
}

// A chore is what a serving hub does now and then.
type chore struct {
	what  string
	every time.Duration
	do    func(context.Context) error
}

// chores look after the hub: tables that other programs changed, what is known of
// devices, and old history.
func (h *Hub) chores(conf *config.Config) []chore {
	return []chore{
		{"look at the tables", refreshEvery, func(ctx context.Context) error { return h.office.Core.CatchUp(ctx) }},
		{"note how busy it is", flushEvery, func(context.Context) error { return disk.WriteJSON(h.cfg.Dir.load(), h.Load()) }},
		{"note devices", flushEvery, func(ctx context.Context) error { return h.office.Core.Flush(ctx) }},
		{"note the database's state", flushEvery, h.takeNote},
		{"sift what was salvaged", siftEvery, h.alone(func(ctx context.Context) error { return h.office.Core.Sift(ctx) })},
		{"try again what waits for lost work", siftEvery, h.alone(func(ctx context.Context) error { return h.office.Core.Await(ctx) })},
		{"prune history", retainEvery, h.alone(func(ctx context.Context) error {
			_, err := h.office.Core.Retain(ctx, conf.Hub.Retention.Log)
			return err
		})},
	}
}

// care does one chore until ctx ends.
func (h *Hub) care(ctx context.Context, c chore) {
	tick := time.NewTicker(c.every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := c.do(ctx); err != nil && ctx.Err() == nil {
			h.log.Error("look after the hub", "what", c.what, "error", err.Error())
		}
	}
}

// Wait blocks until ctx ends or the hub cannot go on by itself.
func (h *Hub) Wait(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case err := <-h.failed:
		return err
	}
}

// Stop ends the sessions between two messages and closes the store. It is safe
// to call twice.
func (h *Hub) Stop() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.stop == nil {
		return nil
	}
	h.stop()
	h.wait.Wait()
	var err error
	if h.office != nil {
		ctx, end := context.WithTimeout(context.Background(), 5*time.Second)
		err = errors.Join(h.office.Core.Flush(ctx), h.takeNote(ctx), h.retire(ctx))
		end()
	}
	return errors.Join(err, h.release())
}

func (h *Hub) release() error {
	var err error
	if h.listener != nil {
		_ = h.listener.Close() // the server closes it, too
		h.listener = nil
	}
	h.front.close()
	if h.office != nil {
		err = h.office.Close()
		h.office = nil
	}
	h.lock.Release()
	return err
}
