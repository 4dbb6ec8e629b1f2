package run

import (
	"context"
	"errors"
	"fmt"

	"github.com/tidemark-sync/tidemark/internal/edge"
	"github.com/tidemark-sync/tidemark/internal/wire"
	"github.com/tidemark-sync/tidemark/internal/wire/transport"
)

// fill makes a file that does not exist yet from the snapshot that the hub
// prepared. It reports false when rows must be fetched instead, for whatever
// reason; an error means that the hub cannot be reached, or ctx ended, and what
// was received is kept for the next try.
func (cfg JoinConfig) fill(ctx context.Context, id *Identity) (filled bool, err error) {
	d, err := edge.NewDownload(edge.DownloadConfig{
		Config: edge.Config{Path: cfg.File, Clock: cfg.Clock, Rand: cfg.Rand, Logger: cfg.Logger, NoSync: cfg.NoSync},
		Device: id.Device, Agent: cfg.Agent, Progress: cfg.Progress,
	})
	if errors.Is(err, edge.ErrNotFresh) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	o, err := cfg.options(id)
	if err != nil {
		return false, err
	}
	b := &backoff{rand: cfg.Rand, first: backoffFirst, most: backoffFirst}
	for !d.Done() {
		had := d.Have()
		err := receive(ctx, d, o)
		offline := err != nil && judge(err).state == StateOffline
		switch {
		case ctx.Err() != nil:
			return false, ctx.Err()
		case err == nil:
		case offline && d.Have() > had: // a poor line: each try gets a little further
			pause(ctx, b.next(judge(err).after), nil)
		case offline:
			return false, fmt.Errorf("fill %s from %s: %w", cfg.File, id.URL, err)
		default:
			return false, cfg.without(d, err)
		}
	}
	if err := d.Install(); err != nil {
		return false, cfg.without(d, err)
	}
	return true, nil
}

// without gives a snapshot up.
func (cfg JoinConfig) without(d *edge.Download, why error) error {
	cfg.log().Info("filling by rows, not by snapshot", "file", cfg.File, "reason", why.Error())
	return d.Drop()
}

// receive runs one session until the whole snapshot is here.
func receive(ctx context.Context, d *edge.Download, o transport.Options) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	err := transport.Dial(ctx, o, receiver{d, stop})
	switch {
	case d.Done():
		return nil
	case err == nil:
		return errEnded
	}
	return err
}

// A receiver ends its session when the download is done.
type receiver struct {
	*edge.Download
	stop context.CancelFunc
}

func (r receiver) Receive(ctx context.Context, m wire.Message, emit func(wire.Message) error) error {
	err := r.Download.Receive(ctx, m, emit)
	if err == nil && r.Done() {
		r.stop() // ends in order: the hub is told, nothing is cut off
	}
	return err
}
