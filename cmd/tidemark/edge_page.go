package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/tidemark-sync/tidemark/internal/page"
	"github.com/tidemark-sync/tidemark/internal/run"
)

// pageOff in place of an address says that no page is served, whatever the
// configuration says.
const pageOff = "off"

// A sheet is the page of an agent, or nil when it has none.
type sheet struct{ *page.Page }

// page makes the page over an agent's files; nil when at names no address.
func (d *door) page(ctx context.Context, cfg run.AgentConfig, at string) (*sheet, error) {
	if at == "" || at == pageOff {
		return nil, nil //nolint:nilnil // no page is what was asked for
	}
	c := page.Config{Listen: at, Version: "Tidemark " + buildVersion(), Clock: d.clock, Logger: cfg.Logger, Ready: func(address string) {
		d.event(map[string]any{"event": "page", "url": address}, "page: %s", address)
	}}
	seen := map[string]bool{}
	for _, f := range cfg.Files {
		full, err := filepath.Abs(f) // whoever copies a command from the page is in another directory
		if err != nil {
			return nil, fmt.Errorf("serve the page: %w", err)
		}
		if e := cfg.Edge; !seen[full] { // a file that is named twice is one, for the agent too
			e.File, seen[full] = full, true
			c.Files = append(c.Files, e)
		}
	}
	p, err := page.New(ctx, c)
	if errors.Is(err, page.ErrAddress) {
		return nil, fail(exitUsage, err, "name an address that no other machine can reach: --page %s; from elsewhere: ssh -L 8441:%s THIS-MACHINE", page.Default, page.Default)
	}
	if err != nil {
		return nil, err
	}
	return &sheet{p}, nil
}

// start serves the page. That it cannot be is said, and is no reason to leave the files
// unsynced.
func (s *sheet) start(ctx context.Context, d *door) {
	if s == nil {
		return
	}
	err := s.Start(ctx)
	switch {
	case err == nil:
		return
	case errors.Is(err, page.ErrTaken):
		d.say("tidemark: %v\n  hint: the files are kept in sync without the page, and it is tried again every %s; stop the other program, or name another address with --page HOST:PORT", err, span(page.DefaultRetry))
	default:
		d.say("tidemark: %v\n  hint: the files are kept in sync without the page; name another address with --page HOST:PORT", err)
	}
}

func (s *sheet) stop() {
	if s != nil {
		_ = s.Stop() // it never fails
	}
}
