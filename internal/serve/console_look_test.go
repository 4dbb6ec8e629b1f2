package serve

import (
	"crypto/rand"
	"errors"
	"os"
	"strings"
	"testing"

	"connectrpc.com/connect"

	"github.com/tidemark-sync/tidemark/internal/api/pb"
	"github.com/tidemark-sync/tidemark/internal/clock"
)

// Whoever looks at a directory while its hub starts for the first time must not make the
// key that the hub is about to make: devices would be told the wrong one.
func TestLookingMakesNoKeys(t *testing.T) {
	w := newWorld(t)
	h, _, _ := w.front(ConsoleOff)
	if err := h.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(h.Dir().tls()); err != nil {
		t.Fatal(err)
	}
	off, err := OpenOffice(t.Context(), OfficeConfig{Dir: h.Dir(), Clock: clock.System{}, Rand: rand.Reader, NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	defer off.Close()
	s, err := off.API("")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Local().Fleet.Overview(t.Context(), connect.NewRequest(&pb.OverviewRequest{})); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(h.Dir().tls()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("looking made keys: %v", err)
	}
	// Only a join token needs one.
	add, err := s.Local().Fleet.Add(t.Context(), connect.NewRequest(&pb.AddDeviceRequest{Name: "till"}))
	if err != nil || !strings.HasPrefix(add.Msg.GetToken(), "tdm1_") {
		t.Errorf("added %v, %v", add, err)
	}
}
