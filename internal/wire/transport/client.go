package transport

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"connectrpc.com/connect"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/wire"
	"github.com/tidemark-sync/tidemark/internal/wire/pb"
	"github.com/tidemark-sync/tidemark/internal/wire/pb/pbconnect"
)

// DefaultDialTimeout bounds connecting and the TLS handshake.
const DefaultDialTimeout = 15 * time.Second

// Options say how to reach a hub, and as whom.
type Options struct {
	URL    string      // https://host:port
	Pin    change.Hash // of the hub's key
	Key    *Key        // the device's; required
	Logger *slog.Logger

	// Nudges arrive when the application may have written something. Nil: never.
	Nudges <-chan struct{}

	DialTimeout  time.Duration // 0 means DefaultDialTimeout
	Heartbeat    time.Duration // 0 means DefaultHeartbeat
	WriteTimeout time.Duration // 0 means DefaultWriteTimeout
	MaxFrame     int           // 0 means DefaultMaxFrame
}

// A Client reaches one hub over one connection, which stays warm between
// sessions. It may be used concurrently.
type Client struct {
	opts Options

	mu   sync.Mutex
	line *line // guarded by mu; nil until used, and after it failed
}

// A line is a connection and the calls over it.
type line struct {
	http  *http.Transport
	sync  pbconnect.SyncClient
	enrol pbconnect.EnrolClient
}

// NewClient makes a client. It connects when it is used.
func NewClient(o Options) (*Client, error) {
	if o.Key == nil {
		return nil, errors.New("new client: a device key is required")
	}
	if err := checkURL(o.URL); err != nil {
		return nil, fmt.Errorf("new client: %w", err)
	}
	if o.DialTimeout <= 0 {
		o.DialTimeout = DefaultDialTimeout
	}
	if o.MaxFrame <= 0 {
		o.MaxFrame = DefaultMaxFrame
	}
	return &Client{opts: o}, nil
}

// connection returns the warm one, or a new one.
func (c *Client) connection() *line {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.line == nil {
		c.line = newLine(c.opts)
	}
	return c.line
}

// drop lets go of a connection that failed: one that is half open would fail the
// next session, too, and take as long to notice.
func (c *Client) drop(l *line) {
	c.mu.Lock()
	if c.line == l {
		c.line = nil
	}
	c.mu.Unlock()
	l.http.CloseIdleConnections()
}

func newLine(o Options) *line {
	t := &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: o.DialTimeout}).DialContext,
		TLSClientConfig:       clientTLS(o),
		TLSHandshakeTimeout:   o.DialTimeout,
		ForceAttemptHTTP2:     true,
		MaxIdleConns:          1,
		IdleConnTimeout:       3 * time.Minute,
		DisableCompression:    true,
		ResponseHeaderTimeout: 0, // a session's headers come with the first answer
	}
	plain := connect.WithAcceptCompression("gzip", nil, nil)
	h := &http.Client{Transport: patient{t}, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return &line{http: t,
		sync:  pbconnect.NewSyncClient(h, o.URL, plain, connect.WithReadMaxBytes(o.MaxFrame)),
		enrol: pbconnect.NewEnrolClient(h, o.URL, plain, connect.WithReadMaxBytes(maxJoin)),
	}
}

// clientTLS trusts one key and nothing else.
func clientTLS(o Options) *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS13,
		Certificates:       []tls.Certificate{o.Key.cert},
		InsecureSkipVerify: true, // names and authorities prove nothing here: VerifyConnection checks the pin
		VerifyConnection: func(c tls.ConnectionState) error {
			if got := fingerprint(c.PeerCertificates[0]); got != o.Pin {
				return &PinError{Want: o.Pin, Got: got}
			}
			return nil
		},
	}
}

// Close lets go of the connection. Sessions that run end by their context.
func (c *Client) Close() { c.drop(c.connection()) }

// Run works through one session: peer is an edge's. It returns nil when ctx or
// the hub ended the session in order, and an error of the classes above
// otherwise.
func (c *Client) Run(ctx context.Context, peer wire.Peer) error {
	// Cancelling the call is abrupt; Serve ends it in order when ctx ends.
	call, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	l := c.connection()
	stream := l.sync.Session(call)
	// Headers travel at once: a hub that does not let us in says so before the
	// peer has anything to send.
	if err := stream.Send(nil); err != nil {
		_ = stream.CloseRequest() // the answer tells why
	}
	err := Serve(ctx, clientStream{stream}, peer, ServeOptions{
		Heartbeat: c.opts.Heartbeat, WriteTimeout: c.opts.WriteTimeout, MaxFrame: c.opts.MaxFrame, Nudges: c.opts.Nudges,
		Finish: func() { _ = stream.CloseRequest() }, // fails only when the stream is gone
		Abort:  cancel,
	})
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return nil
	}
	if err = classify(err); errors.Is(err, ErrUnreachable) {
		cancel()
		c.drop(l)
	}
	return err
}

type clientStream struct {
	*connect.BidiStreamForClient[pb.Frame, pb.Frame]
}

// Dial runs one session over a connection of its own.
func Dial(ctx context.Context, o Options, peer wire.Peer) error {
	c, err := NewClient(o)
	if err != nil {
		return err
	}
	defer c.Close()
	return c.Run(ctx, peer)
}

// Joined is what a device learns when it joins.
type Joined struct {
	Device change.DeviceID
	Hub    string // the hub's name, for people
}

// Join hands in a one-time secret, and thereby registers the device's key.
// Joining again with the same secret and key gives the same answer.
func (c *Client) Join(ctx context.Context, secret, agent string) (Joined, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*c.opts.DialTimeout)
	defer cancel()
	res, err := c.connection().enrol.Join(ctx, connect.NewRequest(&pb.JoinRequest{Secret: secret, Agent: agent}))
	if connect.CodeOf(err) == connect.CodeUnimplemented {
		return Joined{}, fmt.Errorf("join: %w", &refusal{&wire.Fault{Code: "token-unknown", Fatal: true,
			Message: "the hub does not know this join token",
			Hint:    "make a new one at the hub: tidemark device add"}})
	}
	if err != nil {
		return Joined{}, fmt.Errorf("join: %w", classify(err))
	}
	if f := res.Msg.GetFault(); f != nil {
		return Joined{}, fmt.Errorf("join: %w", classify(wire.FaultIn(f)))
	}
	var id change.DeviceID
	if copy(id[:], res.Msg.GetDevice()) != len(id) || len(res.Msg.GetDevice()) != len(id) {
		return Joined{}, fmt.Errorf("join: %w: device id of %d bytes", wire.ErrFrame, len(res.Msg.GetDevice()))
	}
	return Joined{Device: id, Hub: res.Msg.GetHub()}, nil
}
