package parcel

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"encoding/json"
	"errors"
	mrand "math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"filippo.io/age"

	"github.com/tidemark-sync/tidemark/change"
)

type fixture struct {
	t    *testing.T
	key  *Key
	pub  ed25519.PublicKey
	priv ed25519.PrivateKey
	head Header
	r    *mrand.ChaCha8
	seq  uint64
	prev change.Hash
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{t: t, r: mrand.NewChaCha8([32]byte{7})}
	var err error
	if f.key, err = NewKey(); err != nil {
		t.Fatal(err)
	}
	if f.pub, f.priv, err = ed25519.GenerateKey(rand.Reader); err != nil {
		t.Fatal(err)
	}
	f.head = Header{Name: "till-7", Made: time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC), Recipient: f.key.Recipient(),
		Lineage: []change.Branch{{Epoch: 5, Mode: change.Founded}}}
	if f.head.Device, err = change.NewDeviceID(f.r); err != nil {
		t.Fatal(err)
	}
	if f.head.Incarnation, err = change.NewIncarnation(f.r); err != nil {
		t.Fatal(err)
	}
	return f
}

// txs makes n transactions of one row each, with size bytes in it.
func (f *fixture) txs(n, size int) (out []*change.Transaction) {
	for range n {
		f.seq++
		t := &change.Transaction{Device: f.head.Device, Incarnation: f.head.Incarnation, Seq: f.seq, Prev: f.prev, Bases: []change.Cursor{{}},
			HLC: change.NewHLC(1000, 0), Ops: []change.Op{{Table: "sale", Kind: change.Insert, Key: change.Key{change.Int(int64(f.seq))},
				Columns: []string{"id", "note"}, New: []change.Value{change.Int(int64(f.seq)), change.Text(f.noise(size))}}}}
		_, _ = f.r.Read(t.ID[:])
		f.prev = t.Sum()
		out = append(out, t)
	}
	return out
}

func (f *fixture) noise(n int) string {
	b := make([]byte, n)
	_, _ = f.r.Read(b)
	return string(b)
}

type batch struct {
	txs []*change.Transaction
	at  change.Epoch
}

func (f *fixture) pack(signer ed25519.PrivateKey, list ...batch) []byte {
	f.t.Helper()
	var b bytes.Buffer
	w, err := NewWriter(&b, f.head)
	if err != nil {
		f.t.Fatal(err)
	}
	for _, x := range list {
		if err := w.Add(x.txs, x.at); err != nil {
			f.t.Fatal(err)
		}
	}
	if signer == nil {
		err = w.Close(nil)
	} else {
		err = w.Close(signer)
	}
	if err != nil {
		f.t.Fatal(err)
	}
	return b.Bytes()
}

func (f *fixture) open(b []byte) (*Parcel, error) {
	return Open(bytes.NewReader(b), int64(len(b)), f.key, Limits())
}

func TestParcel_RoundTrip(t *testing.T) {
	f := newFixture(t)
	one, two, three := f.txs(3, 10), f.txs(1, 5<<20), f.txs(2, 0)
	b := f.pack(f.priv, batch{one, 5}, batch{nil, 9}, batch{two, 0}, batch{three, 0})
	if err := Look(bytes.NewReader(b), int64(len(b))); err != nil {
		t.Fatal(err)
	}
	p, err := f.open(b)
	if err != nil {
		t.Fatal(err)
	}
	spki, _ := x509.MarshalPKIXPublicKey(f.pub)
	if p.Count != 6 || p.Signer != change.Hash(sha256.Sum256(spki)) || p.Name != "till-7" || p.Device != f.head.Device || p.Lineage[0].Epoch != 5 {
		t.Fatalf("%+v", p)
	}
	want, i := append(append(one, two...), three...), 0
	for range 2 { // as often as one likes
		i = 0
		err = p.Each(func(txs []*change.Transaction, at change.Epoch) error {
			for _, tx := range txs {
				if tx.Sum() != want[i].Sum() || at != map[bool]change.Epoch{true: 5, false: 0}[i < 3] {
					t.Errorf("transaction %d differs, epoch %d", i, at)
				}
				i++
			}
			return nil
		})
		if err != nil || i != 6 {
			t.Fatalf("%d, %v", i, err)
		}
	}
	stop := errors.New("stop")
	if err := p.Each(func([]*change.Transaction, change.Epoch) error { return stop }); !errors.Is(err, stop) {
		t.Fatal(err)
	}
	if bytes.Contains(b, []byte("till-7")) || bytes.Contains(b, []byte("sale")) {
		t.Error("what is inside can be read from outside")
	}
}

func TestParcel_EmptyAndUnsigned(t *testing.T) {
	f := newFixture(t)
	p, err := f.open(f.pack(nil))
	if err != nil || p.Count != 0 || p.Signer != (change.Hash{}) {
		t.Fatalf("%+v, %v", p, err)
	}
}

// No byte can be changed, and none cut off.
func TestParcel_EveryByteCounts(t *testing.T) {
	f := newFixture(t)
	b := f.pack(f.priv, batch{f.txs(2, 20), 0})
	for i := range b {
		bad := bytes.Clone(b)
		bad[i] ^= 0x20
		if _, err := f.open(bad); !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrFormat) {
			t.Fatalf("byte %d of %d changed: %v", i, len(b), err)
		}
		// And by somebody who repairs the checksum: nobody can repair the seal.
		if i < len(b)-sumSize {
			fix(bad)
			if _, err := f.open(bad); err == nil {
				t.Fatalf("byte %d of %d changed with the checksum", i, len(b))
			}
		}
		if _, err := f.open(b[:i]); !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrFormat) {
			t.Fatalf("cut at %d: %v", i, err)
		}
	}
	if _, err := f.open(append(bytes.Clone(b), 0)); !errors.Is(err, ErrDamaged) {
		t.Fatal(err)
	}
}

// fix makes the checksum fit.
func fix(b []byte) {
	n := len(b) - sumSize
	s := sha256.Sum256(b[:n])
	copy(b[n:], s[:])
}

func TestParcel_AnotherHubsKey(t *testing.T) {
	f := newFixture(t)
	b := f.pack(f.priv, batch{f.txs(1, 1), 0})
	other, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(bytes.NewReader(b), int64(len(b)), other, Limits()); !errors.Is(err, ErrKey) {
		t.Fatal(err)
	}
	// A key that was retired still opens.
	both := &Key{list: append(other.list, f.key.list...)}
	if _, err := Open(bytes.NewReader(b), int64(len(b)), both, Limits()); err != nil || both.Recipient() != other.Recipient() {
		t.Fatal(err)
	}
}

// forge builds a parcel of any records, sealed by somebody who knows the recipient,
// as everybody may.
func (f *fixture) forge(records ...[]byte) []byte {
	f.t.Helper()
	var b bytes.Buffer
	b.WriteString(Magic)
	w, err := age.Encrypt(&b, f.key.list[0].Recipient())
	if err != nil {
		f.t.Fatal(err)
	}
	for _, r := range records {
		_, _ = w.Write(r)
	}
	if err := w.Close(); err != nil {
		f.t.Fatal(err)
	}
	out := append(b.Bytes(), make([]byte, sumSize)...)
	fix(out)
	return out
}

func record(kind byte, body []byte) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{kind}, uint32(len(body))), body...)
}

func TestParcel_Forged(t *testing.T) {
	f := newFixture(t)
	head, _ := json.Marshal(f.head)
	h := record(recordHeader, head)
	body, _ := change.SealTransactions(f.txs(1, 1))
	bt := record(recordBatch, append(make([]byte, epochSize), body...))
	closing := func(e end, before ...[]byte) []byte {
		e.Hash = change.Hash(sha256.Sum256(bytes.Join(before, nil)))
		b, _ := json.Marshal(e)
		return record(recordEnd, b)
	}
	mine := closing(end{Count: 1}, h, bt)
	if _, err := f.open(f.forge(h, bt, mine)); err != nil {
		t.Fatalf("the forge makes no good parcel: %v", err)
	}
	_, stranger, _ := ed25519.GenerateKey(rand.Reader)
	spki, _ := x509.MarshalPKIXPublicKey(f.pub)
	stolen := end{Count: 1, Hash: change.Hash(sha256.Sum256(append(bytes.Clone(h), bt...))), Key: spki}
	stolen.Signature = ed25519.Sign(stranger, append([]byte(signed), stolen.Hash[:]...))
	g := newFixture(t)
	foreign, _ := change.SealTransactions(g.txs(1, 1))
	foreign[0] = 'x'
	f2 := *f
	f2.head.Device[0] ^= 1
	others, _ := change.SealTransactions(f2.txs(1, 1))
	ot := record(recordBatch, append(make([]byte, epochSize), others...))
	for name, c := range map[string]struct {
		file []byte
		err  error
	}{
		"signature of another key": {f.forge(h, bt, closing(stolen, h, bt)), ErrSignature},
		"no key at all":            {f.forge(h, bt, closing(end{Count: 1, Signature: []byte("x")}, h, bt)), ErrSignature},
		"wrong count":              {f.forge(h, bt, closing(end{Count: 2}, h, bt)), ErrDamaged},
		"a batch left out":         {f.forge(h, mine), ErrDamaged},
		"no header":                {f.forge(bt, mine), ErrDamaged},
		"header twice":             {f.forge(h, h, bt, mine), ErrDamaged},
		"header no JSON":           {f.forge(record(recordHeader, []byte("{"))), ErrDamaged},
		"end no JSON":              {f.forge(h, bt, record(recordEnd, []byte("["))), ErrDamaged},
		"no end":                   {f.forge(h, bt), ErrDamaged},
		"after the end":            {f.forge(h, bt, mine, bt), ErrDamaged},
		"a record cut short":       {f.forge(h, bt[:len(bt)-1]), ErrDamaged},
		"short batch":              {f.forge(h, record(recordBatch, []byte("1234567"))), ErrDamaged},
		"no batch":                 {f.forge(h, record(recordBatch, append(make([]byte, epochSize), foreign...))), ErrDamaged},
		"another device's work":    {f.forge(h, ot, closing(end{Count: 1}, h, ot)), ErrDamaged},
		"huge header":              {f.forge([]byte{recordHeader, 0xff, 0xff, 0xff, 0xff}), change.ErrTooLarge},
		"huge batch":               {f.forge(h, []byte{recordBatch, 0xff, 0xff, 0xff, 0xff}), change.ErrTooLarge},
	} {
		if _, err := f.open(c.file); !errors.Is(err, c.err) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// Whoever changes what is signed cannot sign it.
	b := f.pack(f.priv, batch{f.txs(1, 1), 0})
	p, err := f.open(b)
	if err != nil {
		t.Fatal(err)
	}
	small := Limits()
	small.Decoded = 10
	if _, err := Open(bytes.NewReader(b), int64(len(b)), f.key, small); !errors.Is(err, change.ErrTooLarge) {
		t.Error(err)
	}
	if p.Signer == (change.Hash{}) {
		t.Error("unsigned")
	}
}

func TestParcel_Look(t *testing.T) {
	for _, b := range []string{"", "SQLite format 3\x00", "TIDEMARK OUTBOX 2\nand so on, for long enough to hold a checksum"} {
		if err := Look(strings.NewReader(b), int64(len(b))); !errors.Is(err, ErrFormat) {
			t.Errorf("%q: %v", b, err)
		}
	}
	if err := Look(strings.NewReader(Magic+"x"), int64(len(Magic)+1)); !errors.Is(err, ErrDamaged) {
		t.Error(err)
	}
	f, err := os.Create(filepath.Join(t.TempDir(), "x"))
	if err != nil {
		t.Fatal(err)
	}
	_ = f.Close()
	if err := Look(f, 100); err == nil || errors.Is(err, ErrFormat) {
		t.Error(err)
	}
}

// A disk that is full stops a writer with its own error.
func TestParcel_WriterFails(t *testing.T) {
	f := newFixture(t)
	full := errors.New("full")
	good := f.pack(f.priv, batch{f.txs(1, 200_000), 0})
	for _, n := range []int{0, 10, len(Magic) + 5, 500, 100_000, len(good) - 100, len(good) - 1} {
		w, err := NewWriter(&bounded{n, full}, f.head)
		if err == nil {
			err = w.Add(f.txs(1, 200_000), 0)
		}
		if err == nil {
			err = w.Close(f.priv)
		}
		if !errors.Is(err, full) {
			t.Errorf("after %d bytes: %v", n, err)
		}
	}
	if _, err := NewWriter(&bytes.Buffer{}, Header{Recipient: "age1nonsense"}); err == nil {
		t.Error("sealed for nobody")
	}
	w, err := NewWriter(&bytes.Buffer{}, f.head)
	if err != nil {
		t.Fatal(err)
	}
	other := newFixture(t)
	other.head.Device[3] ^= 1
	if err := w.Add(other.txs(1, 1), 0); err == nil {
		t.Error("packed another device's work")
	}
}

type bounded struct {
	left int
	err  error
}

func (b *bounded) Write(p []byte) (int, error) {
	if len(p) > b.left {
		return 0, b.err
	}
	b.left -= len(p)
	return len(p), nil
}
