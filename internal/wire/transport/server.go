package transport

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"time"

	"connectrpc.com/connect"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/wire"
	"github.com/tidemark-sync/tidemark/internal/wire/pb"
	"github.com/tidemark-sync/tidemark/internal/wire/pb/pbconnect"
)

// A Core is the hub behind the server. Its methods may be called concurrently.
// Refusals are *wire.Fault, perhaps wrapped; other errors are the hub's own
// trouble, and callers are told to come back.
type Core interface {
	// Authenticate says which device a key's fingerprint belongs to. A Fault with
	// the code "unknown-device" makes the server answer as if nothing was there.
	Authenticate(ctx context.Context, fingerprint change.Hash) (change.DeviceID, error)
	// Join takes a one-time secret for a public key (SubjectPublicKeyInfo, DER).
	// A Fault with the code "token-unknown" makes the server answer as if nothing
	// was there.
	Join(ctx context.Context, secret string, spki []byte) (change.DeviceID, error)
	// Session starts a session: the peer, and what blocks until the peer should be
	// woken (nil: never). ctx is the session's.
	Session(ctx context.Context, device change.DeviceID) (peer wire.Peer, wait func(context.Context) error, err error)
}

// ServerConfig is what a Server needs.
type ServerConfig struct {
	Identity *Identity // required
	Core     Core      // required
	Name     string    // the hub's, for people
	Logger   *slog.Logger

	Heartbeat    time.Duration // 0 means DefaultHeartbeat
	WriteTimeout time.Duration // 0 means DefaultWriteTimeout
	MaxFrame     int           // 0 means DefaultMaxFrame
}

// A Server is the hub's end of the transport.
type Server struct {
	cfg  ServerConfig
	log  *slog.Logger
	sync http.Handler
	join http.Handler
}

// maxJoin bounds a join request, in bytes: its sender is not known yet.
const maxJoin = 4 << 10

// NewServer makes a server. Serve runs it.
func NewServer(cfg ServerConfig) (*Server, error) {
	if cfg.Identity == nil || cfg.Core == nil {
		return nil, errors.New("new server: identity and core are required")
	}
	if cfg.MaxFrame <= 0 {
		cfg.MaxFrame = DefaultMaxFrame
	}
	s := &Server{cfg: cfg, log: cfg.Logger}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	// Batches are compressed already, and a compressed frame could be a bomb.
	plain := connect.WithCompression("gzip", nil, nil)
	_, s.sync = pbconnect.NewSyncHandler(door{s}, plain, connect.WithReadMaxBytes(cfg.MaxFrame))
	_, s.join = pbconnect.NewEnrolHandler(door{s}, plain, connect.WithReadMaxBytes(maxJoin))
	return s, nil
}

// helloTime bounds a connection's TLS handshake, and each request's headers. When a fleet
// comes back at once its handshakes take turns, and go on for longer than a caller waits
// for ours: one that is cut off before is work for both sides, thrown away, and done again.
const helloTime = 2 * DefaultDialTimeout

// Serve accepts connections until ctx ends, then ends the sessions between two
// steps and returns. It closes ln.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	// Sessions end with ctx; requests that are shorter may finish.
	h := &http.Server{
		Handler: s, TLSConfig: s.tls(), ReadHeaderTimeout: helloTime, IdleTimeout: 3 * time.Minute,
		MaxHeaderBytes: 16 << 10, HTTP2: receiveLimits(), BaseContext: func(net.Listener) context.Context { return ctx },
		ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	failed := make(chan error, 1)
	go func() { failed <- h.ServeTLS(ln, "", "") }()
	select {
	case err := <-failed:
		return fmt.Errorf("serve %s: %w", ln.Addr(), err)
	case <-ctx.Done():
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*finishGrace)
	defer cancel()
	if err := h.Shutdown(last); err != nil {
		_ = h.Close() // what does not end in order ends anyway
	}
	<-failed //nolint:errcheck // it only says that the server was shut down
	return nil
}

// receiveLimits bound what of a device is in memory before the hub asks for it: with
// ten thousand devices, the default of 1 MiB each would be more than a machine has.
func receiveLimits() *http.HTTP2Config {
	const unread = 256 << 10
	return &http.HTTP2Config{MaxReceiveBufferPerConnection: unread, MaxReceiveBufferPerStream: unread, MaxConcurrentStreams: 16}
}

func (s *Server) tls() *tls.Config {
	return &tls.Config{
		MinVersion:   tls.VersionTLS13,
		Certificates: []tls.Certificate{s.cfg.Identity.cert},
		// A certificate is asked for, and its key proven, but nobody signed it:
		// ServeHTTP looks the key up. Without one, /healthz still answers.
		ClientAuth:             tls.RequestClientCert,
		NextProtos:             []string{"h2", "http/1.1"},
		SessionTicketsDisabled: true, // revoking a device must not leave it a way in
	}
}

type deviceKey struct{}

type controllerKey struct{}

// ServeHTTP lets known devices in, and answers everyone else as if only /healthz
// were here.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/healthz" && (r.Method == http.MethodGet || r.Method == http.MethodHead) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = io.WriteString(w, "ok\n") // a caller that went away misses nothing
		return
	}
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 || r.Method != http.MethodPost {
		http.NotFound(w, r)
		return
	}
	switch r.URL.Path {
	case pbconnect.EnrolJoinProcedure:
		ctx := context.WithValue(r.Context(), deviceKey{}, r.TLS.PeerCertificates[0].RawSubjectPublicKeyInfo)
		s.join.ServeHTTP(&hider{ResponseWriter: w}, r.WithContext(ctx))
	case pbconnect.SyncSessionProcedure:
		s.session(w, r)
	default:
		http.NotFound(w, r)
	}
}

// session authenticates before a byte of the body is read.
func (s *Server) session(w http.ResponseWriter, r *http.Request) {
	device, err := s.cfg.Core.Authenticate(r.Context(), fingerprint(r.TLS.PeerCertificates[0]))
	var f *wire.Fault
	switch {
	case errors.As(err, &f) && f.Code == "unknown-device":
		http.NotFound(w, r)
		return
	case f != nil && f.Code == "busy":
		later(w, f.RetryAfter)
		return
	case err != nil && f == nil:
		s.log.Error("authenticate", "error", err.Error())
		later(w, troubleRetry)
		return
	}
	ctx := context.WithValue(r.Context(), deviceKey{}, caller{device, f})
	ctx = context.WithValue(ctx, controllerKey{}, http.NewResponseController(w))
	s.sync.ServeHTTP(w, r.WithContext(ctx))
}

// troubleRetry is how long the hub asks to be left alone after trouble of its own.
const troubleRetry = 5 * time.Second

// later answers a device that is known, or may be, and cannot be served now: it costs
// less than a session, and a proxy understands it, too.
func later(w http.ResponseWriter, after time.Duration) {
	w.Header().Set("Retry-After", strconv.FormatInt(int64((max(after, time.Second)+time.Second-1)/time.Second), 10))
	w.WriteHeader(http.StatusServiceUnavailable)
}

// A caller is a device, or why it is not let in.
type caller struct {
	device change.DeviceID
	fault  *wire.Fault
}

// door is the Connect side of the server.
type door struct{ *Server }

func (d door) Session(ctx context.Context, stream *connect.BidiStream[pb.Frame, pb.Frame]) error {
	who, _ := ctx.Value(deviceKey{}).(caller)
	control, _ := ctx.Value(controllerKey{}).(*http.ResponseController)
	if control == nil {
		return connect.NewError(connect.CodeInternal, errors.New("not reached through the server"))
	}
	var peer wire.Peer = refusing{who.fault}
	var wait func(context.Context) error
	if who.fault == nil {
		var err error
		if peer, wait, err = d.cfg.Core.Session(ctx, who.device); err != nil {
			d.log.Error("start session", "device", who.device.String(), "error", err.Error())
			return connect.NewError(connect.CodeUnavailable, errors.New("the hub cannot start a session now"))
		}
	}
	past := time.Unix(1, 0)
	err := Serve(ctx, stream, peer, ServeOptions{
		Heartbeat: d.cfg.Heartbeat, WriteTimeout: d.cfg.WriteTimeout, MaxFrame: d.cfg.MaxFrame, Wait: wait,
		Finish: func() { _ = control.SetReadDeadline(past) }, // fails only when the stream is gone
		Abort:  func() { _ = errors.Join(control.SetReadDeadline(past), control.SetWriteDeadline(past)) },
	})
	return d.ended(ctx, who, err)
}

// ended says what the other side may know of an end. It got the Faults already.
func (d door) ended(ctx context.Context, who caller, err error) error {
	var f *wire.Fault
	switch {
	case err == nil || errors.As(err, &f):
		return nil
	case orderly(err):
		d.log.Warn("session ended", "device", who.device.String(), "error", err.Error())
		return nil
	case ctx.Err() != nil:
		return connect.NewError(connect.CodeUnavailable, errors.New("the hub is stopping"))
	case errors.Is(err, ErrUnreachable):
		d.log.Info("session lost", "device", who.device.String(), "error", err.Error())
		return connect.NewError(connect.CodeUnavailable, errors.New("session lost"))
	}
	d.log.Warn("session ended", "device", who.device.String(), "error", err.Error())
	return connect.NewError(connect.CodeUnavailable, errors.New("the hub ended the session"))
}

// refusing is the peer of a device that is known, but not let in.
type refusing struct{ fault *wire.Fault }

func (p refusing) Start(context.Context, func(wire.Message) error) error { return p.fault }

func (p refusing) Receive(context.Context, wire.Message, func(wire.Message) error) error {
	return p.fault
}

func (d door) Join(ctx context.Context, req *connect.Request[pb.JoinRequest]) (*connect.Response[pb.JoinResponse], error) {
	spki, _ := ctx.Value(deviceKey{}).([]byte)
	if spki == nil {
		return nil, connect.NewError(connect.CodeInternal, errors.New("not reached through the server"))
	}
	device, err := d.cfg.Core.Join(ctx, req.Msg.GetSecret(), spki)
	var f *wire.Fault
	switch {
	case errors.As(err, &f) && f.Code == "token-unknown":
		return nil, connect.NewError(connect.CodeNotFound, errors.New("not found")) // the hider makes it a 404 like any other
	case f != nil:
		return connect.NewResponse(&pb.JoinResponse{Fault: wire.FaultOut(f)}), nil
	case err != nil:
		d.log.Error("join", "error", err.Error())
		return nil, connect.NewError(connect.CodeUnavailable, errors.New("the hub cannot enrol a device now"))
	}
	return connect.NewResponse(&pb.JoinResponse{Device: device[:], Hub: d.cfg.Name}), nil
}

// A hider replaces a join's answer by the same 404 that any other path gives, so
// that guessing secrets does not even show that there is a place to try them.
type hider struct {
	http.ResponseWriter
	on      bool
	replied bool
}

func (h *hider) WriteHeader(status int) {
	if status >= 400 && status != http.StatusServiceUnavailable {
		h.on = true
	}
	if !h.on {
		h.ResponseWriter.WriteHeader(status)
		return
	}
	if h.replied {
		return
	}
	h.replied = true
	clear(h.Header())
	h.Header().Set("Content-Type", "text/plain; charset=utf-8")
	h.Header().Set("X-Content-Type-Options", "nosniff")
	h.ResponseWriter.WriteHeader(http.StatusNotFound)
	_, _ = io.WriteString(h.ResponseWriter, "404 page not found\n") // as http.NotFound
}

func (h *hider) Write(b []byte) (int, error) {
	if h.on {
		h.WriteHeader(http.StatusNotFound)
		return len(b), nil
	}
	return h.ResponseWriter.Write(b)
}
