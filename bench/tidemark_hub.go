package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"path/filepath"
	"sync"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/wire"
	"github.com/tidemark-sync/tidemark/internal/wire/transport"
)

// A hubRole serves a real hub: TLS on a loopback port, a database with fsync.
type hubRole struct {
	*center
	port *counter
	pin  change.Hash
	stop context.CancelFunc
	done sync.WaitGroup

	mu   sync.Mutex
	news chan struct{} // closed, and replaced, whenever the store changed
}

func (h *hubRole) do(a ask) (reply, error) {
	switch a.Do {
	case "open":
		return reply{}, h.open(a)
	case "invite":
		return h.invite(a.Edges)
	case "write":
		return reply{}, h.commit(steps(a.Steps, a.Rows, a.Writer, 1)) // as any other program may
	case "hash":
		sum, n, err := h.hash()
		return reply{Hash: sum, Rows: n}, err
	case "bytes":
		return reply{Up: h.port.up.Load(), Down: h.port.down.Load()}, nil
	}
	return reply{}, fmt.Errorf("unknown command %q", a.Do)
}

func (h *hubRole) open(a ask) (err error) {
	if h.center, err = openCenter(a.Dir, a.DSN, a.Rows); err != nil {
		return err
	}
	id, err := transport.LoadOrCreateIdentity(filepath.Join(a.Dir, "tls"), rand.Reader)
	if err != nil {
		return err
	}
	h.pin, h.news = id.Pin(), make(chan struct{})
	server, err := transport.NewServer(transport.ServerConfig{Identity: id, Core: reception{h}})
	if err != nil {
		return err
	}
	if h.port, err = listen(); err != nil {
		return err
	}
	ctx, stop := context.WithCancel(context.Background())
	h.stop = stop
	h.done.Go(func() { _ = server.Serve(ctx, h.port) })
	h.done.Go(func() { h.toll(ctx) })
	return nil
}

// invite returns join tokens for n devices.
func (h *hubRole) invite(n int) (reply, error) {
	var r reply
	for i := range n {
		inv, err := h.hub.AddDevice(context.Background(), fmt.Sprintf("device %d", i), nil, 0)
		if err != nil {
			return r, err
		}
		t := transport.Token{URL: "https://" + h.port.Addr().String(), Pin: h.pin, Secret: inv.Secret, Name: "bench"}
		r.Tokens = append(r.Tokens, t.String())
	}
	return r, nil
}

// toll wakes all sessions whenever the store changed, as the real service does.
func (h *hubRole) toll(ctx context.Context) {
	for ctx.Err() == nil {
		var since change.Cursor
		err := h.store.View(ctx, func(v hub.View) (err error) {
			since, err = v.Cursor()
			return err
		})
		h.mu.Lock()
		close(h.news)
		h.news = make(chan struct{})
		h.mu.Unlock()
		if err == nil {
			err = h.store.Wait(ctx, since)
		}
		if err != nil {
			return
		}
	}
}

func (h *hubRole) close() error {
	if h.stop == nil {
		return nil
	}
	h.stop()
	h.done.Wait()
	return h.center.close()
}

// A reception is the hub as the transport sees it.
type reception struct{ h *hubRole }

func (r reception) Authenticate(ctx context.Context, fingerprint change.Hash) (change.DeviceID, error) {
	return r.h.hub.Authenticate(ctx, fingerprint)
}

func (r reception) Join(ctx context.Context, secret string, spki []byte) (change.DeviceID, error) {
	id, _, err := r.h.hub.Join(ctx, secret, spki)
	return id, err
}

func (r reception) Session(_ context.Context, device change.DeviceID) (wire.Peer, func(context.Context) error, error) {
	r.h.mu.Lock()
	news := r.h.news
	r.h.mu.Unlock()
	return r.h.hub.NewSession(device), func(ctx context.Context) error {
		select {
		case <-news:
		case <-ctx.Done():
			return ctx.Err()
		}
		r.h.mu.Lock()
		news = r.h.news
		r.h.mu.Unlock()
		return nil
	}, nil
}
