package edge

import (
	"slices"
	"testing"
	"time"

	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/wire"
)

// The hub asks for a comparison; the device makes it and tells how it ended.
func TestAskedToVerify(t *testing.T) {
	b := newBranch(t, hub.Limits{})
	b.session()
	b.exec("INSERT INTO patient (id, name) VALUES ('p1', 'Ann')")
	b.session()
	for _, what := range []string{wire.AskSync, wire.AskVerify} {
		if _, err := b.hub.Ask(t.Context(), b.dev, what); err != nil {
			t.Fatal(err)
		}
	}
	b.session()
	var begun []string
	for _, m := range b.up {
		if p, ok := m.(*wire.Ping); ok {
			begun = append(begun, p.Begun...)
		}
	}
	if !slices.Equal(begun, []string{wire.AskSync, wire.AskVerify}) {
		t.Errorf("it began %v", begun)
	}
	d, err := b.hub.DeviceStatus(t.Context(), b.dev)
	if err != nil {
		t.Fatal(err)
	}
	v := d.Status.Verified
	if len(d.Control.Asked) != 0 || v == nil || !v.Equal || v.Rows != 1 || !v.At.Equal(b.clk.Now()) {
		t.Errorf("still asked %v, told %+v", d.Control.Asked, v)
	}
}

// A comparison that finds something says what.
func TestAskedToVerifyAndDiffers(t *testing.T) {
	b := newBranch(t, hub.Limits{})
	b.session()
	b.exec("INSERT INTO patient (id, name) VALUES ('p1', 'Ann')")
	b.session()
	b.tx("UPDATE patient SET name = 'Bob'", "DELETE FROM _tidemark_undo")
	if _, err := b.hub.Ask(t.Context(), b.dev, wire.AskVerify); err != nil {
		t.Fatal(err)
	}
	b.session()
	d, err := b.hub.DeviceStatus(t.Context(), b.dev)
	if err != nil {
		t.Fatal(err)
	}
	v := d.Status.Verified
	if v == nil || v.Equal || v.Differing != 1 || !slices.Equal(v.Tables, []string{"patient"}) || d.Level != hub.Warning {
		t.Errorf("told %+v, %v: %s", v, d.Level, d.Why)
	}
}

// What this build does not know is left alone, and stays asked.
func TestAskedForWhatIsNotKnown(t *testing.T) {
	var a asks
	a.hear([]string{"dance", wire.AskSync, wire.AskSync})
	if !slices.Equal(a.want, []string{wire.AskSync}) {
		t.Errorf("wants %v", a.want)
	}
}

func TestTellSaysWhatIsFree(t *testing.T) {
	b := newBranch(t, hub.Limits{})
	b.e.cfg.FreeDisk = func() uint64 { return 42 }
	b.session()
	d, err := b.hub.Device(t.Context(), b.dev)
	if err != nil || d.Status.FreeDisk != 42 {
		t.Errorf("the hub knows of %d bytes, %v", d.Status.FreeDisk, err)
	}
}

// Who looks at the fleet is not alarmed by work that has arrived: the hub hears at once
// that nothing waits any more, not at the next heartbeat.
func TestTheHubHearsAtOnceThatNothingWaits(t *testing.T) {
	b := newBranch(t, hub.Limits{})
	b.session()
	b.exec("INSERT INTO patient (id, name) VALUES ('p1', 'Ann')")
	b.lost = func(_ int, m wire.Message) bool { _, push := m.(*wire.Push); return push }
	b.session()
	b.lost = nil
	b.clk.Advance(3 * time.Hour)
	b.session()
	told := 0
	for _, m := range b.up {
		if p, ok := m.(*wire.Ping); ok && p.Status != nil && p.Status.OutboxDepth == 0 {
			told++
		}
	}
	d, err := b.hub.DeviceStatus(t.Context(), b.dev)
	if err != nil {
		t.Fatal(err)
	}
	if told != 1 || d.Status.OutboxDepth != 0 || d.OldestUnsafe != 0 {
		t.Errorf("told %d times, the hub knows of %d transactions, the oldest of %s", told, d.Status.OutboxDepth, d.OldestUnsafe)
	}
	b.session()
	for _, m := range b.up {
		if p, ok := m.(*wire.Ping); ok {
			t.Errorf("it was not alarmed, and hears %+v", p.Status)
		}
	}
}
