package page

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/tidemark-sync/tidemark/internal/clock"
	"github.com/tidemark-sync/tidemark/internal/run"
)

// Config is what a Page needs.
type Config struct {
	Listen  string         // HOST:PORT of loopback; port 0 means any free one
	Files   []run.Edge     // what is shown, in this order; at least one
	Version string         // of the build, for people
	Clock   clock.Clock    // required
	Zone    *time.Location // of the times that people read; nil means the machine's
	Logger  *slog.Logger   // nil: silent
	// Retry is how often a port that another program has is tried again; 0 means
	// DefaultRetry.
	Retry time.Duration
	// Ready is told where the page is, once it is served; may be nil. It must not block.
	Ready func(address string)
}

// DefaultRetry is how often a port that another program has is tried again.
const DefaultRetry = 30 * time.Second

// A Page serves the page from Start to Stop. Nothing is read from the files but when
// somebody asks.
type Page struct {
	cfg     Config
	address address
	log     *slog.Logger
	files   []*glance

	mu    sync.Mutex
	stop  context.CancelFunc // guarded by mu; nil unless started
	bound netip.AddrPort     // guarded by mu; where it listens
	wait  sync.WaitGroup
}

// New checks the configuration. The error wraps ErrAddress when the page may not be
// served there. Names are looked up.
func New(ctx context.Context, cfg Config) (*Page, error) {
	if len(cfg.Files) == 0 || cfg.Clock == nil {
		return nil, errors.New("page: a file and a clock are required")
	}
	a, err := parseAddress(ctx, cfg.Listen)
	if err != nil {
		return nil, err
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Zone == nil {
		cfg.Zone = time.Local
	}
	if cfg.Retry <= 0 {
		cfg.Retry = DefaultRetry
	}
	p := &Page{cfg: cfg, address: a, log: cfg.Logger, bound: a.at}
	for _, e := range cfg.Files {
		p.files = append(p.files, &glance{edge: e})
	}
	return p, nil
}

// Start serves the page and returns at once. A port that another program has is no
// reason not to keep files in sync: the error wraps ErrTaken, and the port is tried
// again until Stop.
func (p *Page) Start(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stop != nil {
		return errors.New("page: already started")
	}
	ln, err := p.address.listen()
	if err != nil && !errors.Is(err, ErrTaken) {
		return err
	}
	ctx, p.stop = context.WithCancel(ctx)
	if ln != nil {
		p.bound = portOf(ln)
	}
	p.wait.Go(func() { p.keep(ctx, ln) })
	return err
}

// Stop ends the page, with what is being answered. It is safe to call twice.
func (p *Page) Stop() error {
	p.mu.Lock()
	stop := p.stop
	p.mu.Unlock()
	if stop != nil {
		stop()
		p.wait.Wait()
	}
	return nil
}

// Address is where the page is, for a browser.
func (p *Page) Address() string { return "http://" + p.at().String() + "/" }

func (p *Page) at() netip.AddrPort {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.bound
}

func portOf(ln net.Listener) netip.AddrPort { return ln.Addr().(*net.TCPAddr).AddrPort() }

// keep serves on ln, or when that is nil on the port once it is free.
func (p *Page) keep(ctx context.Context, ln net.Listener) {
	for ctx.Err() == nil {
		if ln == nil {
			t := time.NewTimer(p.cfg.Retry)
			select {
			case <-ctx.Done():
			case <-t.C:
			}
			t.Stop()
			if ln, _ = p.address.listen(); ln == nil { // Start has said why
				continue
			}
		}
		err := p.serve(ctx, ln)
		if ctx.Err() == nil {
			p.log.Error("the page stopped", "address", p.Address(), "error", fmt.Sprint(err))
		}
		ln = nil
	}
	if ln != nil {
		_ = ln.Close() // nobody was served yet
	}
}

// The bounds of connections: whoever is on the machine may open some, and must not
// take from the agent what it needs.
const (
	headerTime  = 5 * time.Second
	readTime    = 10 * time.Second
	writeTime   = time.Minute // counting the rows of a large file takes a while
	idleTime    = time.Minute
	lastTime    = 2 * time.Second // for requests under way at Stop
	headerBytes = 16 << 10
	connections = 64
)

// serve answers on ln until ctx ends, and closes it.
func (p *Page) serve(ctx context.Context, ln net.Listener) error {
	h := &http.Server{
		Handler: p.routes(), ReadHeaderTimeout: headerTime, ReadTimeout: readTime, WriteTimeout: writeTime, IdleTimeout: idleTime, MaxHeaderBytes: headerBytes,
		BaseContext: func(net.Listener) context.Context { return context.WithoutCancel(ctx) },
		ErrorLog:    slog.NewLogLogger(p.log.Handler(), slog.LevelDebug),
	}
	p.mu.Lock()
	p.bound = portOf(ln) // another one than before, where any was asked for
	p.mu.Unlock()
	if p.cfg.Ready != nil {
		p.cfg.Ready(p.Address())
	}
	failed := make(chan error, 1)
	go func() { failed <- h.Serve(limit(ln, connections)) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastTime)
	defer cancel()
	if err := h.Shutdown(last); err != nil {
		_ = h.Close() // what does not end in order ends anyway
	}
	return <-failed
}
