package run

import (
	"bytes"
	"context"
	"crypto"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/clock"
	"github.com/tidemark-sync/tidemark/internal/edge"
	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/parcel"
	"github.com/tidemark-sync/tidemark/internal/wire"
	"github.com/tidemark-sync/tidemark/internal/wire/transport"
)

// A packer packs into memory.
type packer struct {
	buf    bytes.Buffer
	w      *parcel.Writer
	name   string
	signed bool
}

func (p *packer) Begin(u edge.Unsent, name string) (err error) {
	if u.Recipient == "" {
		return ErrNoRecipient
	}
	p.name = name
	p.w, err = parcel.NewWriter(&p.buf, parcel.Header{Device: u.Device, Incarnation: u.Incarnation, Name: name,
		Made: clock.System{}.Now(), Recipient: u.Recipient, Lineage: u.Lineage})
	return err
}

func (p *packer) Add(txs []*change.Transaction, at change.Epoch) error { return p.w.Add(txs, at) }

func (p *packer) End(signer crypto.Signer) error {
	p.signed = signer != nil
	return p.w.Close(signer)
}

func pack(t *testing.T, e Edge, all bool) *packer {
	t.Helper()
	p := &packer{}
	if err := Pack(context.Background(), e, all, p); err != nil {
		t.Fatal(err)
	}
	return p
}

// take imports a parcel at the hub, whose key Office and Hub share.
func (w *world) take(b []byte, terms hub.ParcelTerms) (*hub.ParcelTaken, error) {
	w.t.Helper()
	p, err := w.hub.Core().OpenParcel(bytes.NewReader(b), int64(len(b)), parcel.Limits())
	if err != nil {
		w.t.Fatal(err)
	}
	return w.hub.Core().TakeParcel(context.Background(), p, terms)
}

func TestPack_AndTheTabletComesBack(t *testing.T) {
	w := newWorld(t)
	h := w.up()
	e := w.join("one.db", "branch/1")
	sh(t, e.File, "INSERT INTO item VALUES ('s1', 1, 101, 'sold')")
	sh(t, e.File, "INSERT INTO item VALUES ('s2', 1, 102, 'sold')")
	p := pack(t, e, false)
	if p.name != "one.db" || !p.signed {
		t.Fatalf("%q, signed %v", p.name, p.signed)
	}
	for range 2 {
		out, err := w.take(p.buf.Bytes(), hub.ParcelTerms{})
		if err != nil || out.Count == 0 || hub.Status(out.Results[0].Status) != hub.Applied {
			t.Fatalf("%+v, %v", out, err)
		}
	}
	log := sh(t, h.Dir().DB(), "SELECT count(*) FROM _tidemark_log WHERE tbl<>0")
	sh(t, e.File, "UPDATE item SET note='changed' WHERE id='s1'")
	if s := w.sync(e); s.Waiting != 0 || s.Quarantined != 0 {
		t.Fatalf("%+v", s)
	}
	reads(t, h.Dir().DB(), "SELECT group_concat(note) FROM item WHERE n>100", "changed,sold")
	reads(t, h.Dir().DB(), "SELECT count(*)-1 FROM _tidemark_log WHERE tbl<>0", strings.TrimSpace(log))
	v, err := Verify(context.Background(), VerifyConfig{Edge: e})
	if err != nil || !v.InSync {
		t.Fatalf("%+v, %v", v, err)
	}
	if p := pack(t, e, false); p.buf.Len() == 0 {
		t.Error("no parcel of nothing")
	}
}

// The file alone, as it was copied off a broken tablet: without the device's key the
// outbox is unsigned, and only the operator takes it.
func TestPack_TheFileAlone(t *testing.T) {
	w := newWorld(t)
	h := w.up()
	e := w.join("one.db", "branch/1")
	sh(t, e.File, "INSERT INTO item VALUES ('s1', 1, 101, 'sold')")
	saved := w.edge("saved.db")
	sh(t, e.File, "VACUUM INTO '"+saved.File+"'")
	p := pack(t, saved, false)
	if p.signed || p.name != "" {
		t.Fatal("signed without a key")
	}
	if _, err := w.take(p.buf.Bytes(), hub.ParcelTerms{}); err == nil {
		t.Fatal("the hub took an unsigned outbox")
	}
	if _, err := Carry(context.Background(), w.join("two.db", "branch/2"), p.buf.Bytes()); fault(err) != "parcel-unsigned" {
		t.Fatal(err)
	}
	if _, err := w.take(p.buf.Bytes(), hub.ParcelTerms{Unsigned: true}); err != nil {
		t.Fatal(err)
	}
	reads(t, h.Dir().DB(), "SELECT count(*) FROM item WHERE id='s1'", "1")
	w.sync(e)
	reads(t, h.Dir().DB(), "SELECT count(*) FROM _tidemark_log WHERE tbl<>0", "1")
}

func fault(err error) string {
	if f, ok := errors.AsType[*wire.Fault](err); ok {
		return f.Code
	}
	return ""
}

// Another device carries the parcel while its own agent is at work, though it may not
// read what is in it.
func TestCarry_BesideTheAgent(t *testing.T) {
	w := newWorld(t)
	h := w.up()
	one, two := w.join("one.db", "branch/1"), w.join("two.db", "branch/2")
	a := w.agent(two)
	eventually(t, "online", func() bool { return state(a) == StateOnline })
	sh(t, one.File, "INSERT INTO item VALUES ('s1', 1, 101, 'sold')")
	p := pack(t, one, true)
	for range 2 {
		out, err := Carry(context.Background(), two, p.buf.Bytes())
		if err != nil || out.Name != "one.db" || len(out.Results) == 0 {
			t.Fatalf("%+v, %v", out, err)
		}
	}
	reads(t, h.Dir().DB(), "SELECT count(*) FROM item WHERE id='s1'", "1")
	sh(t, two.File, "INSERT INTO item VALUES ('t1', 2, 201, 'own')")
	reads(t, h.Dir().DB(), "SELECT count(*) FROM item WHERE id='t1'", "1")
	if state(a) != StateOnline {
		t.Errorf("the carrier's agent is %s", state(a))
	}
	reads(t, two.File, "SELECT count(*) FROM item WHERE id='s1'", "0")
	if s := w.sync(one); s.Waiting != 0 {
		t.Fatalf("%+v", s)
	}
	w.down()
	if _, err := Carry(context.Background(), two, p.buf.Bytes()); !errors.Is(err, transport.ErrUnreachable) {
		t.Fatal(err)
	}
}

func TestPack_Refusals(t *testing.T) {
	w := newWorld(t)
	w.up()
	ctx := context.Background()
	if err := Pack(ctx, w.edge("nowhere.db"), false, &packer{}); !errors.Is(err, ErrNoFile) {
		t.Error(err)
	}
	if err := Pack(ctx, w.edge("app.db"), false, &packer{}); !errors.Is(err, ErrNotJoined) {
		t.Error(err)
	}
	if _, err := Carry(ctx, w.edge("app.db"), nil); !errors.Is(err, ErrNotJoined) {
		t.Error(err)
	}
	e := w.join("one.db", "branch/1")
	if _, err := Carry(ctx, e, []byte("no parcel")); fault(err) != "parcel-format" {
		t.Error(err)
	}
	sh(t, e.File, `UPDATE _tidemark_meta SET value=json_remove(value, '$.Recipient') WHERE key='setup'`)
	if err := Pack(ctx, e, false, &packer{}); !errors.Is(err, ErrNoRecipient) {
		t.Error(err)
	}
	if err := os.Chmod(keyPath(e.File), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := Pack(ctx, e, false, &packer{}); err == nil {
		t.Error("signed with a key that others may read")
	}
	if _, err := Carry(ctx, e, nil); err == nil {
		t.Error("carried with a key that others may read")
	}
}
