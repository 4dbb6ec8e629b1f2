package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"time"
)

// What the verbs answer with --json, as far as the story needs it.
type (
	hubState struct {
		State string `json:"state"`
		URL   string `json:"url"`
	}
	fileState struct {
		File         string  `json:"file"`
		OutboxDepth  int64   `json:"outbox_depth"`
		OldestUnsafe float64 `json:"oldest_unsafe_seconds"`
		Unsettled    int64   `json:"unsettled"`
		Quarantined  int64   `json:"quarantined"`
		Agent        struct {
			State string    `json:"state"`
			Next  time.Time `json:"next_try"`
		} `json:"agent"`
	}
	receipt struct {
		ID     string `json:"id"`
		Table  string `json:"table"`
		Key    []any  `json:"key"`
		Column string `json:"column"`
		Rule   string `json:"rule"`
		Result any    `json:"result"`
		Hub    any    `json:"hub"`
		Edge   any    `json:"edge"`
		Winner string `json:"winner"`
		Loser  string `json:"loser"`
	}
	comparison struct {
		InSync  bool  `json:"in_sync"`
		Differs int64 `json:"differing_rows"`
		Tables  []struct {
			Table string `json:"table"`
			Rows  int64  `json:"rows"`
		} `json:"tables"`
	}
)

// ask runs a verb and reads its JSON into v.
func (t *story) ask(ctx context.Context, v any, verb ...string) error {
	out, err := t.cast.run(ctx, "", append(verb, "--json")...)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(out, v); err != nil {
		return fmt.Errorf("read what tidemark %v says: %w", verb, err)
	}
	return nil
}

// status asks how north.db and south.db stand.
func (t *story) status(ctx context.Context) (n, s fileState, err error) {
	var all struct {
		Files []fileState `json:"files"`
	}
	if err := t.ask(ctx, &all, "status", t.north.file, t.south.file); err != nil {
		return n, s, err
	}
	if len(all.Files) != 2 {
		return n, s, fmt.Errorf("tidemark status tells of %d files instead of two", len(all.Files))
	}
	return all.Files[0], all.Files[1], nil
}

const (
	pollEvery = 20 * time.Millisecond
	patience  = 60 * time.Second // for anything that ought to happen
)

// until waits for something to become true.
func (t *story) until(ctx context.Context, what string, is func() (bool, error)) error {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	end := time.NewTimer(patience)
	defer end.Stop()
	for {
		if err := t.cast.alive(); err != nil {
			return err
		}
		ok, err := is()
		if err != nil {
			return fmt.Errorf("wait until %s: %w", what, err)
		}
		if ok {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-end.C:
			return fmt.Errorf("waited %v, and it is still not so that %s", patience, what)
		case <-tick.C:
		}
	}
}

// beat gives the reader a moment, none when the story is told quickly.
func (t *story) beat(ctx context.Context, d time.Duration) error {
	if t.cfg.Quick {
		return ctx.Err()
	}
	return t.pause(ctx, d)
}

func (t *story) pause(ctx context.Context, d time.Duration) error {
	end := time.NewTimer(d)
	defer end.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-end.C:
		return nil
	}
}
