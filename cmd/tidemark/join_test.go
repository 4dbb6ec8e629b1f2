package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tidemark-sync/tidemark"
	"github.com/tidemark-sync/tidemark/internal/clock"
	"github.com/tidemark-sync/tidemark/tidemarktest"
)

// stopClock ends a context as soon as somebody asks for the time after a file is there.
type stopClock struct {
	clock.System
	path string
	stop context.CancelFunc
}

func (c stopClock) Now() time.Time {
	if _, err := os.Stat(c.path); err == nil {
		c.stop()
	}
	return c.System.Now()
}

// Once the file is enrolled, an interrupted join says how to go on: its token is used.
func TestJoinInterruptedWhileItFills(t *testing.T) {
	hub := tidemarktest.NewHub(t, `CREATE TABLE item (id TEXT PRIMARY KEY NOT NULL)`, "tables:\n  item: {scope: all}\n")
	file := filepath.Join(t.TempDir(), "one.db")
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var out, text bytes.Buffer
	d := &door{in: strings.NewReader(""), out: &out, err: &text, rand: rand.Reader,
		clock: stopClock{path: filepath.Join(file+"-tidemark", "agent.json"), stop: stop}}
	c := joinVerb(d)
	c.SetArgs([]string{hub.Token(t, "one", "all"), file})
	c.SilenceErrors, c.SilenceUsage = true, true
	if code := d.finish(c.ExecuteContext(ctx)); code != exitInterrupted {
		t.Fatalf("code %d: %s", code, &text)
	}
	for _, want := range []string{"one.db is enrolled, but not filled yet", "hint: tidemark sync --once " + file} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("%q is missing in %s", want, &text)
		}
	}
	db, err := tidemark.Open(t.Context(), tidemark.Config{Path: file})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(db.Sync(t.Context()), db.Close()); err != nil {
		t.Errorf("it does not go on: %v", err)
	}

	// Before that, the same token goes on.
	ctx, stop = context.WithCancel(t.Context())
	stop()
	file = filepath.Join(t.TempDir(), "two.db")
	c = joinVerb(d)
	c.SetArgs([]string{hub.Token(t, "two", "all"), file})
	c.SilenceErrors, c.SilenceUsage = true, true
	text.Reset()
	if code := d.finish(c.ExecuteContext(ctx)); code != exitInterrupted || strings.Contains(text.String(), "enrolled") {
		t.Errorf("code %d: %s", code, &text)
	}
	if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file stands there: %v", err)
	}
}
