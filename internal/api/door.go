package api

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"connectrpc.com/connect"
)

// DoorConfig is what a Door needs.
type DoorConfig struct {
	Service *Service  // required
	Keeper  *Keeper   // required: the certificate
	Page    fs.FS     // the console's files, index.html among them; nil: it was not built
	Rand    io.Reader // required; a cryptographic source in production
	// Strict tells browsers to come by TLS only from then on. Not for a certificate that
	// they do not trust: nobody could pass their warning any more.
	Strict bool
	Logger *slog.Logger // nil: silent
}

// A Door is the listener for people.
type Door struct {
	cfg    DoorConfig
	log    *slog.Logger
	page   *page
	origin *http.CrossOriginProtection
	errors *connect.ErrorWriter

	randMu sync.Mutex
}

// NewDoor makes a door. Serve runs it.
func NewDoor(cfg DoorConfig) (*Door, error) {
	if cfg.Service == nil || cfg.Keeper == nil || cfg.Rand == nil {
		return nil, errors.New("console: a service, a certificate and a source of randomness are required")
	}
	d := &Door{cfg: cfg, log: cfg.Logger, page: newPage(cfg.Page), origin: http.NewCrossOriginProtection(), errors: connect.NewErrorWriter()}
	if d.log == nil {
		d.log = slog.New(slog.DiscardHandler)
	}
	return d, nil
}

// The bounds of connections. Watch has its own.
const (
	headerTime = 10 * time.Second
	readTime   = 30 * time.Second
	writeTime  = callTime + 30*time.Second
	idleTime   = 2 * time.Minute
	lastTime   = 5 * time.Second // for requests under way when the hub stops
)

// Serve accepts connections until ctx ends, then lets requests finish and returns. It
// closes ln.
func (d *Door) Serve(ctx context.Context, ln net.Listener) error {
	h := &http.Server{
		Handler: d, ReadHeaderTimeout: headerTime, ReadTimeout: readTime, WriteTimeout: writeTime, IdleTimeout: idleTime, MaxHeaderBytes: 16 << 10,
		TLSConfig:   &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: d.cfg.Keeper.get, NextProtos: []string{"h2", "http/1.1"}},
		HTTP2:       &http.HTTP2Config{MaxConcurrentStreams: 64, MaxReceiveBufferPerConnection: 1 << 20, MaxReceiveBufferPerStream: 256 << 10},
		BaseContext: func(net.Listener) context.Context { return context.WithoutCancel(ctx) },
		ErrorLog:    slog.NewLogLogger(d.log.Handler(), slog.LevelDebug), // a browser that mistrusts the certificate is no news
	}
	failed := make(chan error, 1)
	go func() { failed <- h.ServeTLS(ln, "", "") }()
	select {
	case err := <-failed:
		return fmt.Errorf("serve %s: %w", ln.Addr(), err)
	case <-ctx.Done():
	}
	d.cfg.Service.Stop()
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastTime)
	defer cancel()
	if err := h.Shutdown(last); err != nil {
		_ = h.Close() // what does not end in order ends anyway
	}
	<-failed //nolint:errcheck // it only says that the server was shut down
	return nil
}

// apiPrefix is where the methods are.
const apiPrefix = "/tidemark.admin.v1."

// ServeHTTP implements http.Handler.
func (d *Door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	nonce, err := d.nonce()
	if err != nil {
		d.log.Error("draw a nonce", "error", err.Error())
		http.Error(w, "the hub has no randomness", http.StatusInternalServerError)
		return
	}
	d.head(w.Header(), nonce)
	switch {
	case strings.HasPrefix(r.URL.Path, apiPrefix):
		d.api(w, r)
	case r.URL.Path == "/healthz" && (r.Method == http.MethodGet || r.Method == http.MethodHead):
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = io.WriteString(w, "ok\n") // a caller that went away misses nothing
	case r.Method == http.MethodGet || r.Method == http.MethodHead:
		d.page.serve(w, r, nonce)
	default:
		http.NotFound(w, r)
	}
}

// head says what browsers may do with the answer: next to nothing.
func (d *Door) head(h http.Header, nonce string) {
	h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self' 'nonce-"+nonce+"'; img-src 'self' data:; font-src 'self'; "+
		"connect-src 'self'; manifest-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Permissions-Policy", "camera=(), microphone=(), geolocation=(), payment=(), usb=()")
	if d.cfg.Strict {
		h.Set("Strict-Transport-Security", "max-age=31536000")
	}
}

func (d *Door) nonce() (string, error) {
	d.randMu.Lock()
	defer d.randMu.Unlock()
	var b [16]byte
	if _, err := io.ReadFull(d.cfg.Rand, b[:]); err != nil {
		return "", err
	}
	return base64.RawStdEncoding.EncodeToString(b[:]), nil
}

// api refuses what another site's page sent, and hands on the rest.
func (d *Door) api(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	if err := d.origin.Check(r); err != nil {
		e := fault(connect.CodePermissionDenied, "cross-origin", "the request comes from another site", "use the console at the hub's own address")
		if d.errors.IsSupported(r) {
			_ = d.errors.Write(w, r, e) // a caller that went away misses nothing
			return
		}
		http.Error(w, e.Message(), http.StatusForbidden)
		return
	}
	ctx := context.WithValue(r.Context(), controllerKey{}, http.NewResponseController(w))
	d.cfg.Service.mux.ServeHTTP(w, r.WithContext(ctx))
}
