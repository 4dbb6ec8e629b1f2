package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tidemark-sync/tidemark/internal/clock"
	"github.com/tidemark-sync/tidemark/internal/edge"
	"github.com/tidemark-sync/tidemark/internal/wire"
)

// w1Snapshot is w1 for paths that never existed: the hub sends a file that it
// prepared, and the edge pulls what came after. The first edge of all waits until
// the file is made, which is stated apart. The ruler's side is that of w1.
func (b *bench) w1Snapshot(stages []*stage, all map[string][]sample, d *dataset) error {
	i := slices.IndexFunc(stages, func(st *stage) bool { return st.system == b.ours })
	if i < 0 {
		return nil
	}
	st := stages[i]
	st.bare = true
	defer func() { st.bare = false }()
	var inserts []time.Duration
	var first sample
	ours, err := b.turns(max(b.rounds, 2)+1, []*stage{st}, func(round int, st *stage) (s sample, err error) {
		if round > 0 {
			t, err := b.bulkInsert(d)
			if err != nil {
				return s, err
			}
			inserts = append(inserts, t)
		}
		if err := errors.Join(b.join(st, 1), st.trim(2), st.rest()); err != nil {
			return s, err
		}
		if s, err = b.measure(st, "fill", "W1 by snapshot"); err != nil {
			return s, err
		}
		if round == 0 {
			first = s
		}
		return s, b.same(st, "W1 by snapshot", 1)
	})
	if err != nil {
		return err
	}
	cached := ours[b.ours.name][1:]
	rows := b.size(seedSize)
	b.report(line{Name: fmt.Sprintf("W1 bootstrap %d rows, by snapshot", rows), Limit: 1.9, LimitBytes: 140 * float64(rows)},
		map[string][]sample{ruler.name: all[ruler.name], b.ours.name: cached}, took)
	b.beside(line{Name: "bootstrap by snapshot file, cached", Limit: 0.25, Note: "ceiling is the bulk insert of those rows in key order"},
		inserts, durations(cached))
	b.add(line{Name: fmt.Sprintf("the same, preparing the snapshot of %d rows first", rows), Measured: first.took.Seconds(), Up: first.up, Down: first.down})
	return nil
}

// A guestDownload is a download that ends its session when it is done.
type guestDownload struct{ *edge.Download }

// Receive implements wire.Peer.
func (g guestDownload) Receive(ctx context.Context, m wire.Message, emit func(wire.Message) error) error {
	err := g.Download.Receive(ctx, m, emit)
	if err == nil && g.Done() {
		err = errDone
	}
	return err
}

// fill makes the file by snapshot, durable, then runs until everything is settled.
func (s *site) fill() error {
	cfg := edge.Config{Path: s.path, Clock: clock.System{}, Rand: rand.Reader}
	d, err := edge.NewDownload(edge.DownloadConfig{Config: cfg, Device: s.device, Agent: "bench"})
	if err != nil {
		return err
	}
	if err := s.client.Run(context.Background(), guestDownload{d}); !errors.Is(err, errDone) {
		return errors.Join(errors.New("no snapshot came"), err, d.Close())
	}
	if err := d.Install(); err != nil {
		return err
	}
	if s.engine, err = edge.Open(cfg); err != nil {
		return err
	}
	return s.sync()
}
