package sim

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tidemark-sync/tidemark/change"
)

// choreEvery is how often a hub that serves looks after what it waits for.
const choreEvery = time.Minute

// chores are what the hub does by itself as time goes by.
func (w *world) chores() error {
	if now := w.time.Now(); now.Sub(w.hub.tended) >= choreEvery {
		w.hub.tended = now
		_, err := w.tend()
		return err
	}
	return nil
}

// tend lets the hub do its chores, and reports whether that changed anything.
func (w *world) tend() (busy bool, err error) {
	if err := errors.Join(w.catchUp(), w.turn()); err != nil {
		return false, err
	}
	was, err := w.standing()
	if err != nil {
		return false, err
	}
	if err := w.alone(func(ctx context.Context) error { return w.hub.hub.Sift(ctx) }); err != nil {
		return false, fmt.Errorf("chores: %w", err)
	}
	sifted, err := w.standing()
	if err != nil {
		return false, err
	}
	if err := w.alone(func(ctx context.Context) error { return w.hub.hub.Await(ctx) }); err != nil {
		return false, fmt.Errorf("chores: %w", err)
	}
	now, err := w.standing()
	if err != nil {
		return false, err
	}
	if !slices.Equal(was, sifted) {
		w.logf("hub sifts what was salvaged")
		w.sometimes("salvage sifted")
	}
	if !slices.Equal(sifted, now) {
		w.logf("hub tries again what waited")
		w.sometimes("lost work awaited")
	}
	return !slices.Equal(was, now), nil
}

// standing is what of the hub its chores may change.
func (w *world) standing() ([]string, error) {
	end, err := w.end()
	if err != nil {
		return nil, err
	}
	parked, err := w.hub.hub.Queue(w.ctx, change.DeviceID{})
	out := []string{end.String()}
	for _, p := range parked {
		out = append(out, fmt.Sprint(p.ID, p.Reason, len(p.Tx)))
	}
	return out, err
}
