package run

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/tidemark-sync/tidemark/internal/edge"
)

// What an application that has the agent in its own process sees and does.
func TestAnApplicationLooksInside(t *testing.T) {
	w := newWorld(t)
	w.up()
	e := w.join("one.db", "branch/1")
	if a, err := AgentOf(e.File); err != nil || a.Running || a.State != StateStopped {
		t.Fatalf("%+v, %v", a, err)
	}
	ctx, stop := context.WithCancel(context.Background())
	woken := make(chan struct{}, 1000)
	done := make(chan struct{})
	go func() {
		defer close(done)
		Watch(ctx, e.File, 0, func() {
			select {
			case woken <- struct{}{}:
			default:
			}
		})
	}()
	sh(t, e.File, "UPDATE item SET note='seen' WHERE id='a'")
	waitFor(t, woken, "a write")
	stop()
	<-done
	err := e.Inside(func(eng *edge.Engine) error {
		list, err := Unsettled(eng)
		if err != nil || len(list) != 1 {
			t.Errorf("%+v, %v", list, err)
		}
		b, err := eng.Brief()
		if err != nil || b.Waiting != 1 || b.Rows != 0 || !b.Complete {
			t.Errorf("%+v, %v", b, err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	// Without a notice of the file system and with a slow poll, a nudge is what tells.
	a, err := NewAgent(AgentConfig{Edge: e, Files: []string{e.File}, Poll: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	a.Nudge()
	a.Nudge() // the second finds the first one waiting
	if n := len(a.files[0].wake); n != 1 {
		t.Fatalf("%d wakes wait", n)
	}
	if err := os.WriteFile(SideDir(e.File)+"/status.json", []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := AgentOf(e.File); err == nil || errors.Is(err, os.ErrNotExist) {
		t.Fatalf("a torn status: %v", err)
	}
}
