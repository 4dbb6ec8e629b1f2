package run

import (
	"context"
	"testing"

	"github.com/tidemark-sync/tidemark/internal/checkup"
	"github.com/tidemark-sync/tidemark/internal/hub"
)

// Who only looks changes nothing of what the hub knows of the file: neither which
// schema it has, nor that it holds work.
func TestCheckFileTellsTheHubWhatIsSo(t *testing.T) {
	f := newFleet(t)
	sh(t, f.hub.Dir().DB(), "ALTER TABLE patient ADD COLUMN email TEXT")
	f.round()
	f.migrate(f.new, "ALTER TABLE patient ADD COLUMN email TEXT")
	f.round()
	of := func() map[string]hub.ShapeDevice {
		t.Helper()
		s, err := f.hub.Core().Shapes(context.Background())
		if err != nil || len(s.Uses) != 2 {
			t.Fatalf("%+v, %v", s, err)
		}
		out := map[string]hub.ShapeDevice{}
		for _, u := range s.Uses {
			for _, d := range u.Devices {
				out[d.Name+" "+u.Hash.String()] = d
			}
		}
		return out
	}
	before := of()
	sh(t, f.old.File, "UPDATE patient SET name='Ann' WHERE id='a'")
	if list := CheckFile(context.Background(), f.old); level(t, list, "hub") != checkup.Good {
		t.Fatalf("%+v", list)
	}
	after := of()
	for k, d := range before {
		if a, ok := after[k]; !ok || a.Since != d.Since {
			t.Errorf("%s since %s: now %+v", k, d.Since, after)
		}
		if d.Name == "old.db" && after[k].Unsent != 1 {
			t.Errorf("the hub believes that %d transactions are unsafe", after[k].Unsent)
		}
	}
}
