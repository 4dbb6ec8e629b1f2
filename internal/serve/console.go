package serve

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/api"
	"github.com/tidemark-sync/tidemark/internal/config"
	"github.com/tidemark-sync/tidemark/internal/disk"
	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/people"
	"github.com/tidemark-sync/tidemark/internal/rule"
	"github.com/tidemark-sync/tidemark/internal/wire/transport"
)

// ConsoleConfig is how a hub serves people.
type ConsoleConfig struct {
	Listen  string // "" means the configuration's; ConsoleOff serves nobody
	Page    fs.FS  // the console's files; nil: the API alone
	Version string // of the build, for people
}

// ConsoleOff in place of an address says that no console is served.
const ConsoleOff = "off"

// ConsoleListen is where the console listens when nobody says otherwise. When somebody
// else has the port, any free one does.
const ConsoleListen = "127.0.0.1:8440"

func (d HubDir) consoleTLS() string { return filepath.Join(string(d), "console-tls") }
func (d HubDir) console() string    { return filepath.Join(string(d), "console.json") }

// ConsoleCertificate is the hub's own certificate for people, PEM: what the command line
// must trust to reach a console that has no other one.
func (d HubDir) ConsoleCertificate() string { return filepath.Join(d.consoleTLS(), "cert.pem") }

// ReadConsole reads where the console of a directory is, or was last.
func (d HubDir) ReadConsole() (Endpoint, error) {
	var e Endpoint
	err := disk.ReadJSON(d.console(), &e)
	return e, err
}

// A front is what a serving hub has for people.
type front struct {
	service  *api.Service
	door     *api.Door
	listener net.Listener
	at       Endpoint
	setup    string // the link by which the first admin comes in; "" when somebody did
}

// openFront listens for people.
func (h *Hub) openFront(ctx context.Context, conf *config.Config) (err error) {
	c := &conf.Hub.Console
	if h.cfg.Console == nil || h.cfg.Console.Listen == ConsoleOff || h.cfg.Console.Listen == "" && c.Off == "true" {
		return nil
	}
	f := &front{}
	if f.listener, err = listenConsole(h.cfg.Console.Listen, c.Listen); err != nil {
		return err
	}
	h.front = f // from here on release closes it
	f.at = Endpoint{URL: c.URL, PID: os.Getpid()}
	if f.at.URL == "" {
		f.at.URL = "https://" + reachable(f.listener.Addr())
	}
	names := []string{hostOf(f.at.URL), machine()}
	keeper, err := api.NewKeeper(api.KeeperConfig{Dir: h.cfg.Dir.consoleTLS(), Names: names, Certificate: c.Certificate, Key: c.Key, Clock: h.cfg.Clock, Logger: h.log})
	if err != nil {
		return err
	}
	if f.at.Pin, err = keeper.Pin(); err != nil {
		return err
	}
	load := func() api.Load { l := h.Load(); return l.told() }
	at := func() (Endpoint, error) { return h.at, nil }
	if f.service, err = h.office.service(h.log, at, f.at.URL, h.cfg.Console.Version, load); err != nil {
		return err
	}
	f.door, err = api.NewDoor(api.DoorConfig{Service: f.service, Keeper: keeper, Page: h.cfg.Console.Page, Rand: h.cfg.Rand, Strict: !keeper.Own(), Logger: h.log})
	if err != nil {
		return err
	}
	h.bell.told = f.stirred
	if err := disk.WriteJSON(h.cfg.Dir.console(), f.at); err != nil {
		return err
	}
	return f.invite(ctx, h.office.People)
}

// invite makes the first admin's link, while there is nobody.
func (f *front) invite(ctx context.Context, book *people.Book) error {
	if yes, err := book.Occupied(ctx); err != nil || yes {
		return err
	}
	l, err := book.SetUpLink(ctx)
	if err == nil {
		f.setup = f.service.Link(l.Secret)
	}
	return err
}

// stirred tells who watches that something changed; the zero device: anything.
func (f *front) stirred(device change.DeviceID) {
	if device.IsZero() {
		f.service.Stirred()
	} else {
		f.service.StirredDevice(device.String())
	}
}

// listenConsole takes the address that somebody named, or a free one.
func listenConsole(named, configured string) (net.Listener, error) {
	addr := named
	if addr == "" {
		addr = configured
	}
	explicit := addr != ""
	if !explicit {
		addr = ConsoleListen
	}
	ln, err := net.Listen("tcp", addr)
	if errors.Is(err, syscall.EADDRINUSE) && !explicit {
		ln, err = net.Listen("tcp", "127.0.0.1:0")
	}
	if err != nil {
		return nil, fmt.Errorf("listen for the console on %s: %w", addr, err)
	}
	return ln, nil
}

func hostOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return u.Hostname()
}

func machine() string {
	name, err := os.Hostname()
	if err != nil {
		return ""
	}
	return name
}

// sampleEvery is how often the fleet's headline number is noted.
const sampleEvery = time.Minute

// tidyEvery is how soon the memory that logins took is given back.
const tidyEvery = 5 * time.Second

// tidy gives back what passwords took, in one piece: left to itself the process keeps
// twice that for as long as it has little else to do.
func tidy(book *people.Book) {
	if book.Spent() {
		debug.FreeOSMemory()
	}
}

// serveFront serves people until ctx ends.
func (h *Hub) serveFront(ctx context.Context) {
	f := h.front
	if f == nil {
		return
	}
	h.wait.Go(func() {
		if err := f.door.Serve(ctx, f.listener); err != nil && ctx.Err() == nil {
			h.failed <- err
		}
	})
	h.wait.Go(func() { h.care(ctx, chore{"note how the fleet is", sampleEvery, f.service.Sample}) })
	h.wait.Go(func() {
		h.care(ctx, chore{"give memory back", tidyEvery, func(context.Context) error { tidy(h.office.People); return nil }})
	})
	h.wait.Go(func() {
		h.care(ctx, chore{"tell who watches", flushEvery, func(context.Context) error { f.service.Stirred(); return nil }})
	})
}

func (f *front) close() {
	if f != nil {
		_ = f.listener.Close() // the server closes it, too
	}
}

// Console is where people reach the hub, and the link by which the first admin comes in,
// once; "" where there is none. Both are "" when no console is served.
func (h *Hub) Console() (address, setup string) {
	if h.front == nil {
		return "", ""
	}
	return h.front.at.URL + "/", h.front.setup
}

// API is the admin API over a data directory, for who works there. It is the same as the
// one that a serving hub has across the network. url is how devices reach the hub; "" as
// Endpoint.
func (o *Office) API(url string) (*api.Service, error) {
	// Only a join token needs it: looking must not make keys beside a hub that starts.
	at := func() (Endpoint, error) { return o.Endpoint(url) }
	load := func() api.Load { return o.Dir.ReadLoad().told() }
	return o.service(o.log, at, o.consoleURL(), "", load)
}

func (o *Office) service(log *slog.Logger, at func() (Endpoint, error), url, version string, load func() api.Load) (*api.Service, error) {
	return api.New(api.Config{Hub: o.Core, People: o.People, Serving: &clerk{o, at, load}, Clock: o.clock, Logger: log, Name: o.Config.Hub.Name, Version: version, URL: url})
}

// consoleURL is how people reach the console, as far as anybody said.
func (o *Office) consoleURL() string {
	if o.Config.Hub.Console.URL != "" {
		return o.Config.Hub.Console.URL
	}
	at, err := o.Dir.ReadConsole()
	if err != nil { // it was never served
		return "https://" + ConsoleListen
	}
	return at.URL
}

// clerk is what api wants to know of the process around the hub.
type clerk struct {
	office *Office
	at     func() (Endpoint, error)
	load   func() api.Load
}

func (d *clerk) Token(secret, name string) (string, error) {
	at, err := d.at()
	if err == nil && at.URL == "" {
		err = ErrNoURL
	}
	if err != nil {
		return "", fmt.Errorf("make a join token: %w", err)
	}
	return transport.Token{URL: at.URL, Pin: at.Pin, Secret: secret, Name: name}.String(), nil
}

func (d *clerk) TokenTTL() time.Duration { return d.office.Config.Hub.TokenTTL }

func (d *clerk) Load() api.Load { return d.load() }

func (d *clerk) Count(ctx context.Context, scopes []rule.ScopeID) (rows map[string]int64, err error) {
	err = d.office.Store.View(ctx, func(v hub.View) error {
		rows, err = v.Count(scopes)
		return err
	})
	return rows, err
}
