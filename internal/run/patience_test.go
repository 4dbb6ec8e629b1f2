package run

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/tidemark-sync/tidemark/internal/edge"
	"github.com/tidemark-sync/tidemark/internal/wire"
)

// A session that ended only so that another one begins is followed by one, however
// often the hub was away before; but not for ever.
func TestPassingFaultsAfterTheHubWasAway(t *testing.T) {
	w := newWorld(t)
	w.up()
	e := w.join("one.db", "branch/1")
	w.down()
	id, err := ReadIdentity(e.File)
	if err != nil {
		t.Fatal(err)
	}
	tries, faults := 0, 1
	talk := func() error {
		return e.talk(t.Context(), id, time.Hour, edge.SessionConfig{Once: true}, func(p *peer) {
			if tries++; tries == passes+1 {
				w.up()
			}
			p.after = func(context.Context, emitFunc) error {
				if faults--; faults >= 0 {
					return &wire.Fault{Code: "copied"}
				}
				return errDone
			}
		}, func(*edge.Engine, *Identity) error { return nil })
	}
	if err := talk(); err != nil || tries != passes+2 {
		t.Errorf("after %d tries: %v", tries, err)
	}
	tries, faults = passes+1, 1000
	var f *wire.Fault
	if err := talk(); !errors.As(err, &f) || tries != 2*passes+2 {
		t.Errorf("endless faults, after %d tries: %v", tries-passes-1, err)
	}
}
