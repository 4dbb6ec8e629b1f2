package change

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/zeebo/xxh3"
)

func sealedSamples(tb testing.TB) (txs, rows []byte) {
	tb.Helper()
	txs, err := SealTransactions(newShop(4).transactions(3))
	if err != nil {
		tb.Fatal(err)
	}
	r := newShop(5).rows(8)
	r.Gone = []Value{Text("gone"), Text("also gone")}
	rows, err = SealRows([]*Rows{r})
	if err != nil {
		tb.Fatal(err)
	}
	return txs, rows
}

// resum makes a damaged batch pass the checksum, so that the decoder behind it
// is what is tested.
func resum(b []byte) []byte {
	end := len(b) - envelopeSum
	return binary.LittleEndian.AppendUint64(append([]byte(nil), b[:end]...), xxh3.Hash(b[:end]))
}

// raw wraps a body without compression, as an attacker may.
func raw(kind byte, body []byte) []byte { return rawBeside(kind, body, nil) }

func rawBeside(kind byte, body, aside []byte) []byte {
	b := append([]byte(envelopeMagic), envelopeVersion, kind, 0)
	b = binary.AppendUvarint(b, uint64(len(body)))
	b = binary.AppendUvarint(b, uint64(len(aside)))
	b = append(append(b, body...), aside...)
	return binary.LittleEndian.AppendUint64(b, xxh3.Hash(b))
}

// rawSplit is rawBeside of one slice, whose last two bytes say how many before them
// stand beside the body.
func rawSplit(kind byte, b []byte) []byte {
	if len(b) < 2 {
		return raw(kind, b)
	}
	end := len(b) - 2
	at := end - min(int(binary.LittleEndian.Uint16(b[end:])), end)
	return rawBeside(kind, b[:at], b[at:end])
}

func typed(err error) bool { return errors.Is(err, ErrCorrupt) || errors.Is(err, ErrTooLarge) }

func TestEveryTruncationIsCorrupt(t *testing.T) {
	txs, rows := sealedSamples(t)
	for n := range len(txs) {
		if _, err := OpenTransactions(txs[:n], Limits{}); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("cut at %d of %d: %v", n, len(txs), err)
		}
	}
	for n := range len(rows) {
		if _, err := OpenRows(rows[:n], Limits{}); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("cut at %d of %d: %v", n, len(rows), err)
		}
	}
	single := AppendTransaction(nil, newShop(4).transactions(1)[0])
	for n := range len(single) {
		if _, err := DecodeTransaction(single[:n]); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("cut at %d of %d: %v", n, len(single), err)
		}
	}
}

func TestEveryFlippedBitIsCorrupt(t *testing.T) {
	txs, rows := sealedSamples(t)
	for i := range len(txs) * 8 {
		b := append([]byte(nil), txs...)
		b[i/8] ^= 1 << (i % 8)
		if _, err := OpenTransactions(b, Limits{}); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("bit %d: %v", i, err)
		}
	}
	for i := range len(rows) * 8 {
		b := append([]byte(nil), rows...)
		b[i/8] ^= 1 << (i % 8)
		if _, err := OpenRows(b, Limits{}); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("bit %d: %v", i, err)
		}
	}
}

// Damage behind a checksum that fits must still end in a typed error or in a
// value that can be written again, never in a panic.
func TestDamageBehindTheChecksum(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	plainTxs, plainRows := bodies(t)
	for range 3000 {
		b := append([]byte(nil), plainTxs...)
		for range 1 + r.IntN(3) {
			b[r.IntN(len(b))] = byte(r.Uint32())
		}
		if txs, err := OpenTransactions(rawSplit(kindTransactions, b), Limits{}); err == nil {
			if _, err := SealTransactions(txs); err != nil {
				t.Fatalf("opened, but cannot be sealed: %v", err)
			}
		} else if !typed(err) {
			t.Fatal(err)
		}
		b = append([]byte(nil), plainRows...)
		for range 1 + r.IntN(3) {
			b[r.IntN(len(b))] = byte(r.Uint32())
		}
		if rows, err := OpenRows(rawSplit(kindRows, b), Limits{}); err == nil {
			if _, err := SealRows(rows); err != nil {
				t.Fatalf("opened, but cannot be sealed: %v", err)
			}
		} else if !typed(err) {
			t.Fatal(err)
		}
	}
}

// bodies are the samples' uncompressed bodies, as rawSplit takes them.
func bodies(tb testing.TB) (txs, rows []byte) {
	tb.Helper()
	a, b := sealedSamples(tb)
	ra, err := unseal(kindTransactions, a, Limits{}.withDefaults())
	if err != nil {
		tb.Fatal(err)
	}
	rb, err := unseal(kindRows, b, Limits{}.withDefaults())
	if err != nil {
		tb.Fatal(err)
	}
	join := func(r *reader) []byte {
		return binary.LittleEndian.AppendUint16([]byte(r.s+r.aside), uint16(len(r.aside)))
	}
	return join(ra), join(rb)
}

func TestBombs(t *testing.T) {
	zeros, err := seal(kindRows, make([]byte, 8<<20), nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(zeros) > 4096 {
		t.Fatalf("the bomb is %d bytes: not a bomb", len(zeros))
	}
	lie := append([]byte(nil), zeros[:envelopeHead]...)
	lie = append(binary.AppendUvarint(lie, 200<<20), 0)
	lie = append(lie, zeros[len(zeros)-40:]...)
	billion := []byte{1, 0, 1, 0, 1, 0} // one table "", one column "", key column 0
	billion = binary.AppendUvarint(billion, 1e9)
	billion = append(billion, colConst, byte(KindNull), 0)
	million := []byte{1, 0, 100}
	million = append(million, make([]byte, 100)...)
	million = append(million, 1, 0)
	million = binary.AppendUvarint(million, 1e6)
	million = append(million, make([]byte, 200)...)
	for _, test := range []struct {
		name string
		b    []byte
		lim  Limits
		want error
	}{
		{"more than the limit after decompression", zeros, Limits{Decoded: 1 << 20}, ErrTooLarge},
		{"more than the limit as received", zeros, Limits{Encoded: 10}, ErrTooLarge},
		{"claims more than zstd can expand to", resum(lie), Limits{}, ErrCorrupt},
		{"a billion constant rows", raw(kindRows, billion), Limits{}, ErrTooLarge},
		{"a million rows of a hundred constant columns", raw(kindRows, million), Limits{}, ErrTooLarge},
		{"front coding that squares", raw(kindRows, frontBomb(20000, 100000)), Limits{Decoded: 8 << 20}, ErrTooLarge},
	} {
		if _, err := OpenRows(test.b, test.lim); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", test.name, err, test.want)
		}
	}
}

// frontBomb claims n texts that each share size bytes with the one before.
func frontBomb(n, size int) []byte {
	w := &columnWriter{}
	w.b = append(w.b, 1, 0, 1, 0, 1, 0)
	w.uvarint(uint64(n))
	w.b = append(w.b, colText, strFront)
	shared, rest := make([]int64, n), make([]int64, n)
	for i := range shared {
		shared[i] = int64(size)
	}
	shared[0], rest[0] = 0, int64(size)
	w.ints(shared)
	w.ints(rest)
	w.b = append(w.b, strings.Repeat("x", size)...)
	return append(w.b, 0)
}

func TestDecodersRefuse(t *testing.T) {
	good := AppendTransaction(nil, &Transaction{Seq: 1})
	version := append([]byte{9}, good[1:]...)
	long := append(append([]byte(nil), good...), 0)
	body := func(b ...byte) []byte { return raw(kindRows, b) }
	for _, test := range []struct {
		name string
		err  error
		says string
	}{
		{"version", second(DecodeTransaction(version)), "version 9"},
		{"left over", second(DecodeTransaction(long)), "1 bytes left over"},
		{"not a batch", second(OpenRows([]byte("GET / HTTP/1.1\r\n\r\n"), Limits{})), "not a sealed batch"},
		{"other batch version", second(OpenRows(func() []byte { b := body(0); b[2] = 7; return resum(b) }(), Limits{})), "batch version 7"},
		{"other kind", second(OpenTransactions(body(0), Limits{})), "batch kind 2"},
		{"flags", second(OpenRows(func() []byte { b := body(0); b[4] = 8; return resum(b) }(), Limits{})), "flags 0x8"},
		{"length", second(OpenRows(func() []byte { b := body(0); b[5] = 9; return resum(b) }(), Limits{})), "want 9"},
		{"key column", second(OpenRows(body(1, 0, 1, 0, 1, 5, 0, 0), Limits{})), "key column 5 of 1"},
		{"rows of nothing", second(OpenRows(body(1, 0, 0, 0, 9, 0), Limits{})), "no columns"},
		{"column encoding", second(OpenRows(body(1, 0, 1, 0, 1, 0, 1, 99, 0), Limits{})), "column encoding 99"},
		{"integer encoding", second(OpenRows(body(1, 0, 1, 0, 1, 0, 1, colInt, 99, 0), Limits{})), "integer encoding 99"},
		{"double encoding", second(OpenRows(body(1, 0, 1, 0, 1, 0, 1, colFloat, 99, 0), Limits{})), "double encoding 99"},
		{"decimal power", second(OpenRows(body(1, 0, 1, 0, 1, 0, 1, colFloat, floatDecimal, 99, 0), Limits{})), "decimal power 99"},
		{"text encoding", second(OpenRows(body(1, 0, 1, 0, 1, 0, 1, colText, 99, 0), Limits{})), "text encoding 99"},
		{"value kind", second(OpenRows(body(1, 0, 1, 0, 1, 0, 1, colConst, 9, 0), Limits{})), "kind(9)"},
		{"mixed in mixed", second(OpenRows(body(1, 0, 1, 0, 1, 0, 1, colMixed, intConst, 2, colMixed, 0), Limits{})), "inside a mixed"},
		{"kind of mixed", second(OpenRows(body(1, 0, 1, 0, 1, 0, 1, colMixed, intConst, 20, 0, 0), Limits{})), "value kind 10"},
		{"dictionary size", second(OpenRows(body(1, 0, 1, 0, 1, 0, 1, colText, strDict, 3, 0, 0, 0), Limits{})), "dictionary of 3"},
		{"dictionary encoding", second(OpenRows(body(1, 0, 1, 0, 1, 0, 1, colText, strDict, 1, 9, 0, 0), Limits{})), "dictionary encoding 9"},
		{"dictionary entry", second(OpenRows(body(1, 0, 1, 0, 1, 0, 1, colText, strDict, 1, strPlain, intConst, 0, intConst, 10, 0), Limits{})), "dictionary entry 5 of 1"},
		{"negative length", second(OpenRows(body(1, 0, 1, 0, 1, 0, 1, colText, strPlain, intConst, 1, 0), Limits{})), "cut short"},
		{"number with a long form", second(OpenRows(body(0x80, 0), Limits{})), "shortest form"},
		{"number too long", second(OpenRows(body(0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f), Limits{})), "longer than 64 bits"},
		{"key id", second(ParseKeyID("\x09")), "unknown kind(9)"},
		{"key id length", second(ParseKeyID("\x03\x00\x00\x00\x09a")), "cut short"},
		{"key id cut", second(ParseKeyID("\x03\x00")), "cut short"},
		{"row", third(DecodeRow([]byte{1, 1, 'a', 9})), "unknown kind(9)"},
	} {
		if !typed(test.err) || !strings.Contains(test.err.Error(), test.says) {
			t.Errorf("%s: %v, want %q", test.name, test.err, test.says)
		}
	}
}

func second[T any](_ T, err error) error        { return err }
func third[T, U any](_ T, _ U, err error) error { return err }

// An operation that breaks its own form is refused where it is written, not at
// the far end.
func TestSealRefusesMalformedOperations(t *testing.T) {
	one := []Value{Int(1)}
	for _, test := range []struct {
		op   Op
		says string
	}{
		{Op{Table: "t", Kind: 9, Key: one, Columns: []string{"a"}}, "operation kind 9"},
		{Op{Table: "t", Kind: Insert, Columns: []string{"a"}, New: one}, "without a key"},
		{Op{Table: "t", Kind: Insert, Key: one, Columns: []string{"a", "b"}, New: one}, "1 new values for 2 columns"},
		{Op{Table: "t", Kind: Delete, Key: one, Columns: []string{"a"}, New: one, Base: one}, "1 new values for 1 columns"},
		{Op{Table: "t", Kind: Update, Key: one, Columns: []string{"a"}, New: one}, "0 base values for 1 columns"},
		{Op{Table: "t", Kind: Insert, Key: one, Columns: []string{"a"}, New: one, BaseAt: 2}, "base cursor 2 of 0"},
	} {
		tx := &Transaction{Ops: []Op{test.op}}
		if _, err := SealTransactions([]*Transaction{tx}); err == nil || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%+v: %v, want %q", test.op, err, test.says)
		}
		if _, err := DecodeTransaction(AppendTransaction(nil, tx)); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%+v: decoded with %v", test.op, err)
		}
	}
	for _, test := range []struct {
		rows Rows
		says string
	}{
		{Rows{Table: "t", Values: one}, "1 values in 0 columns"},
		{Rows{Table: "t", Gone: one}, "1 key values in 0 key columns"},
		{Rows{Table: "t", Columns: []string{"a"}, Key: []int{1}}, "key column 1 of 1"},
		{Rows{Table: "t", Columns: make([]string, maxColumns+1)}, "32768 columns"},
	} {
		if _, err := SealRows([]*Rows{&test.rows}); err == nil || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%v, want %q", err, test.says)
		}
	}
}

func TestDecodeRefusesShapes(t *testing.T) {
	tx := &Transaction{}
	for range 2 {
		tx.Ops = append(tx.Ops, Op{Table: "t", Kind: Delete, Key: Key{Int(1)}, Columns: []string{"a"}, Base: []Value{Int(1)}})
	}
	good := AppendTransaction(nil, tx)
	cut := len(good) - 12 // the second operation's reference to shape 0
	if good[cut] != 0 || good[cut+1] != byte(Delete) {
		t.Fatalf("the second operation is not at %d: % x", cut, good[cut:])
	}
	unknown := append([]byte(nil), good...)
	unknown[cut] = 9
	if _, err := DecodeTransaction(unknown); err == nil || !strings.Contains(err.Error(), "shape 9 of 1") {
		t.Error(err)
	}
	twice := append(append(append([]byte(nil), good[:cut]...), 1, 1, 't', 1, 1, 'a'), good[cut+1:]...)
	if _, err := DecodeTransaction(twice); err == nil || !strings.Contains(err.Error(), "defined twice") {
		t.Error(err)
	}
}
