package api

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"

	"connectrpc.com/connect"

	"github.com/tidemark-sync/tidemark/change"
)

// A Remote is a hub's console across a network.
type Remote struct {
	URL   string // https://hub.example.com:8440
	Token string // of tidemark people token add
	// CA is certificates to trust, PEM; nil: those of the machine.
	CA []byte
	// Pin is the SHA-256 of the public key to trust, whatever the certificate says; zero:
	// none.
	Pin change.Hash
}

// ErrPin says that whoever answered is not the hub whose key was pinned.
var ErrPin = errors.New("the hub has another key than the one that was pinned")

// Dial makes clients for a hub. It does not connect yet.
func Dial(r Remote) (*Clients, error) {
	u, err := url.Parse(r.URL)
	if err != nil || u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("want the console's address, like https://hub.example.com:8440, not %q", r.URL)
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if r.CA != nil {
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(r.CA) {
			return nil, errors.New("there is no certificate in what is to be trusted")
		}
	}
	if r.Pin != (change.Hash{}) {
		c.InsecureSkipVerify = true //nolint:gosec // the pin says whom to trust
		c.VerifyConnection = func(s tls.ConnectionState) error {
			if change.Hash(sha256.Sum256(s.PeerCertificates[0].RawSubjectPublicKeyInfo)) != r.Pin {
				return ErrPin
			}
			return nil
		}
	}
	t := &http.Transport{TLSClientConfig: c, ForceAttemptHTTP2: true, Proxy: http.ProxyFromEnvironment, TLSHandshakeTimeout: headerTime, IdleConnTimeout: time.Minute,
		DialContext: (&net.Dialer{Timeout: headerTime}).DialContext, ResponseHeaderTimeout: writeTime}
	// A token must not travel to where the hub did not say that it goes.
	h := &http.Client{Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return newClients(h, u.Scheme+"://"+u.Host, connect.WithInterceptors(bearer(r.Token))), nil
}

// bearer shows a token with each request.
type bearer string

// WrapUnary implements connect.Interceptor.
func (b bearer) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, req connect.AnyRequest) (connect.AnyResponse, error) {
		b.show(req.Header())
		return next(ctx, req)
	}
}

func (b bearer) show(h http.Header) {
	if b != "" {
		h.Set("Authorization", "Bearer "+string(b))
	}
}

// WrapStreamingClient implements connect.Interceptor.
func (b bearer) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return func(ctx context.Context, spec connect.Spec) connect.StreamingClientConn {
		conn := next(ctx, spec)
		b.show(conn.RequestHeader())
		return conn
	}
}

// WrapStreamingHandler implements connect.Interceptor.
func (b bearer) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return next
}
