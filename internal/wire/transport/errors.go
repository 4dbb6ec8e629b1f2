package transport

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"strconv"
	"time"

	"connectrpc.com/connect"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/wire"
)

// The classes of what ends a session. A refusal by the other side in its own
// words is a *wire.Fault; ErrRefused and RetryAfter look into those too.
var (
	// ErrUnreachable means that the other side was not there, or is no longer:
	// try again later.
	ErrUnreachable = errors.New("hub unreachable")
	// ErrPin means that whoever answered does not hold the hub's key. Nothing was
	// sent to it.
	ErrPin = errors.New("wrong certificate")
	// ErrRefused means that the hub does not let this device in.
	ErrRefused = errors.New("refused by the hub")
	// ErrSilent means that nothing was heard for MissedBeats heartbeats. It is a
	// kind of ErrUnreachable.
	ErrSilent = fmt.Errorf("%w: nothing heard", ErrUnreachable)
	// ErrOversized means that a frame is larger than the limit.
	ErrOversized = errors.New("frame too large")
)

// A PinError tells which key was found instead of the pinned one.
type PinError struct{ Want, Got change.Hash }

func (e *PinError) Error() string {
	return fmt.Sprintf("wrong certificate: the server's key is %s, the pin is %s", e.Got, e.Want)
}

// Is makes a PinError an ErrPin.
func (e *PinError) Is(target error) bool { return target == ErrPin }

// refusal is a fault that keeps a device out, as an error of both classes.
type refusal struct{ fault *wire.Fault }

func (r *refusal) Error() string        { return r.fault.Error() }
func (r *refusal) Unwrap() error        { return r.fault }
func (r *refusal) Is(target error) bool { return target == ErrRefused }

// RetryAfter is how long the hub asked to be left alone, if it did.
func RetryAfter(err error) (time.Duration, bool) {
	var f *wire.Fault
	if errors.As(err, &f) && f.RetryAfter > 0 {
		return f.RetryAfter, true
	}
	return 0, false
}

// refusalCodes are the faults that keep a device out.
func refusalCode(code string) bool {
	switch code {
	case "revoked", "unknown-device", "token-unknown", "token-used", "token-expired", "key-taken":
		return true
	}
	return false
}

// classify gives an error of the client side its class.
func classify(err error) error {
	if err == nil {
		return nil
	}
	var pin *PinError
	if errors.As(err, &pin) {
		return pin
	}
	var f *wire.Fault
	if errors.As(err, &f) {
		if refusalCode(f.Code) {
			return &refusal{f}
		}
		return err
	}
	if errors.Is(err, ErrUnreachable) || errors.Is(err, ErrOversized) || errors.Is(err, wire.ErrFrame) {
		return err
	}
	var c *connect.Error
	if errors.As(err, &c) {
		return classifyConnect(c)
	}
	var local *fs.PathError // its Errno looks like a net.Error, and has nothing to do with the hub
	if errors.As(err, &local) {
		return err
	}
	var n net.Error
	var t tls.AlertError
	if errors.As(err, &n) || errors.As(err, &t) {
		return fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	return err
}

// classifyConnect reads what HTTP said. A 404 is how a hub answers a key that it
// does not know.
func classifyConnect(c *connect.Error) error {
	switch c.Code() {
	case connect.CodeUnimplemented:
		return &refusal{&wire.Fault{Code: "unknown-device", Message: "the hub does not know this device's key",
			Hint: "join again with a new token (tidemark device add at the hub); unsent work is kept", Fatal: true}}
	case connect.CodeCanceled:
		if errors.Is(c, context.Canceled) {
			return context.Canceled
		}
	}
	return fmt.Errorf("%w: %w", ErrUnreachable, c)
}

// patient turns an answer that asks for patience (429 or 503 with Retry-After),
// from a hub or a proxy before it, into a fault that says so.
type patient struct{ http.RoundTripper }

func (p patient) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := p.RoundTripper.RoundTrip(r)
	if err != nil || res.StatusCode != http.StatusServiceUnavailable && res.StatusCode != http.StatusTooManyRequests {
		return res, err
	}
	after := asked(res.Header)
	if after <= 0 {
		return res, nil
	}
	_ = res.Body.Close() // what it says is for people with browsers
	return nil, &wire.Fault{Code: "busy", Message: "the hub is busy", Hint: "it is tried again by itself", RetryAfter: after}
}

// asked reads a Retry-After header: seconds, or a date, which is compared with the
// server's own and not with this machine's clock. Zero when there is none.
func asked(h http.Header) time.Duration {
	text := h.Get("Retry-After")
	if n, err := strconv.Atoi(text); err == nil {
		return time.Duration(min(n, int(mostAsked/time.Second))) * time.Second
	}
	at, err := http.ParseTime(text)
	if err != nil {
		return 0
	}
	now, err := http.ParseTime(h.Get("Date"))
	if err != nil {
		return 0
	}
	return min(at.Sub(now), mostAsked)
}

// mostAsked bounds what a Retry-After header may ask for: some proxies say a day, and
// a device must not stay away as long for their sake.
const mostAsked = time.Hour
