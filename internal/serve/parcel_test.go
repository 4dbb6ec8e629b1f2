package serve

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/clock"
	"github.com/tidemark-sync/tidemark/internal/edge"
	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/parcel"
	"github.com/tidemark-sync/tidemark/internal/run"
	"github.com/tidemark-sync/tidemark/internal/wire"
)

// A packer packs into memory.
type packer struct {
	bytes.Buffer
	w *parcel.Writer
}

func (p *packer) Begin(u edge.Unsent, name string) (err error) {
	p.w, err = parcel.NewWriter(p, parcel.Header{Device: u.Device, Incarnation: u.Incarnation, Name: name, Recipient: u.Recipient, Lineage: u.Lineage})
	return err
}

func (p *packer) Add(txs []*change.Transaction, at change.Epoch) error { return p.w.Add(txs, at) }

func (p *packer) End(signer crypto.Signer) error { return p.w.Close(signer) }

// The office of a hub that is served opens what its devices sealed, and a hub keeps
// its key from one start to the next.
func TestOffice_TakesParcels(t *testing.T) {
	ctx := context.Background()
	w := newWorld(t)
	h := w.up()
	e := w.join("one.db", "branch/1")
	sh(t, e.File, "INSERT INTO item VALUES ('s1', 1, 101, 'sold')")
	p := &packer{}
	if err := run.Pack(ctx, e, false, p); err != nil {
		t.Fatal(err)
	}
	path := w.path("one.outbox")
	if err := os.WriteFile(path, p.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	was := h.Core().Setup()
	w.down()
	h = w.up()
	if h.Core().Setup().Hash != was.Hash || h.Core().Setup().Recipient != was.Recipient {
		t.Fatal("a restart changed the key")
	}
	office := func() (*Office, error) {
		return OpenOffice(ctx, OfficeConfig{Dir: h.Dir(), Clock: clock.System{}, Rand: rand.Reader, NoSync: true})
	}
	o, err := office()
	if err != nil {
		t.Fatal(err)
	}
	for known := range 2 {
		out, err := o.TakeParcel(ctx, path, hub.ParcelTerms{})
		if err != nil || out.Known != known || out.Name != "one.db" {
			t.Fatalf("%+v, %v", out, err)
		}
	}
	reads(t, h.Dir().DB(), "SELECT count(*) FROM item WHERE id='s1'", "1")
	if _, err := o.TakeParcel(ctx, w.path("nowhere"), hub.ParcelTerms{}); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	if f, ok := errors.AsType[*wire.Fault](func() error { _, err := o.TakeParcel(ctx, e.File, hub.ParcelTerms{}); return err }()); !ok || f.Code != "parcel-format" {
		t.Error(err)
	}
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	w.down()
	key, err := os.Stat(h.Dir().parcelKey())
	if err != nil || key.Mode().Perm() != 0o600 {
		t.Fatalf("%v, %v", key, err)
	}
	if err := os.Chmod(h.Dir().parcelKey(), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := office(); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("a key that others may read: %v", err)
	}
}
