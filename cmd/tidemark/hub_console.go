package main

import (
	"github.com/tidemark-sync/tidemark/console"
	"github.com/tidemark-sync/tidemark/internal/serve"
)

// newConsole is the console that this binary has.
func newConsole() *serve.ConsoleConfig {
	c := &serve.ConsoleConfig{Version: buildVersion()}
	if page, ok := console.Files(); ok {
		c.Page = page
	}
	return c
}

// tellConsole says where people reach the hub, and how the first one comes in.
func tellConsole(d *door, h *serve.Hub) {
	at, setup := h.Console()
	if at == "" {
		return
	}
	pin := ""
	if e, err := h.Dir().ReadConsole(); err == nil {
		pin = e.Pin.String()
	}
	d.event(map[string]any{"event": "console", "url": at, "pin": pin}, "console: %s\nits pin, for tidemark VERB --hub: %s", at, pin)
	if setup != "" {
		d.event(map[string]any{"event": "setup", "url": setup}, "nobody can log in yet; this link makes the first admin, once, within a day:\n%s", setup)
	}
}
