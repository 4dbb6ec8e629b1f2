package change

import (
	"bytes"
	"testing"
)

// fuzzLimits keep a fuzzing machine's memory out of the question.
var fuzzLimits = Limits{Encoded: 1 << 20, Decoded: 4 << 20, Rows: 1 << 14}

func FuzzDecodeTransaction(f *testing.F) {
	for _, t := range newShop(6).transactions(2) {
		f.Add(AppendTransaction(nil, t))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		tx, err := DecodeTransaction(b)
		if err != nil {
			if !typed(err) {
				t.Fatal(err)
			}
			return
		}
		if again := AppendTransaction(nil, tx); !bytes.Equal(b, again) {
			t.Fatalf("two encodings of one transaction:\n% x\n% x", b, again)
		}
	})
}

func FuzzDecodeRow(f *testing.F) {
	f.Add(AppendRow(nil, orderColumns, newShop(6).order(1)))
	f.Fuzz(func(t *testing.T, b []byte) {
		cols, vals, err := DecodeRow(b)
		if err != nil {
			if !typed(err) {
				t.Fatal(err)
			}
			return
		}
		if again := AppendRow(nil, cols, vals); !bytes.Equal(b, again) {
			t.Fatalf("two encodings of one row:\n% x\n% x", b, again)
		}
	})
}

func FuzzParseKeyID(f *testing.F) {
	f.Add(Key{Text("a"), Int(-1), Float(1.5), Null, BlobString("\x00")}.ID())
	f.Fuzz(func(t *testing.T, id string) {
		k, err := ParseKeyID(id)
		if err != nil {
			if !typed(err) {
				t.Fatal(err)
			}
			return
		}
		if k.ID() != id {
			t.Fatalf("%q became %q", id, k.ID())
		}
	})
}

// The fuzzer writes bodies; the envelope's checksum would keep it out.
func FuzzOpenTransactions(f *testing.F) {
	txs, _ := bodies(f)
	f.Add(txs)
	f.Fuzz(func(t *testing.T, b []byte) {
		txs, err := OpenTransactions(rawSplit(kindTransactions, b), fuzzLimits)
		if err != nil {
			if !typed(err) {
				t.Fatal(err)
			}
			return
		}
		sealed, err := SealTransactions(txs)
		if err != nil {
			t.Fatal(err)
		}
		again, err := OpenTransactions(sealed, Limits{})
		if err != nil {
			t.Fatal(err)
		}
		for i := range txs {
			if txs[i].Sum() != again[i].Sum() {
				t.Fatal("changed by a round trip")
			}
		}
	})
}

func FuzzOpenRows(f *testing.F) {
	_, rows := bodies(f)
	f.Add(rows)
	f.Fuzz(func(t *testing.T, b []byte) {
		rows, err := OpenRows(rawSplit(kindRows, b), fuzzLimits)
		if err != nil {
			if !typed(err) {
				t.Fatal(err)
			}
			return
		}
		sealed, err := SealRows(rows)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := OpenRows(sealed, Limits{}); err != nil {
			t.Fatal(err)
		}
	})
}

// FuzzEnvelope is the whole way in, from the bytes of a frame.
func FuzzEnvelope(f *testing.F) {
	txs, rows := sealedSamples(f)
	f.Add(txs)
	f.Add(rows)
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < envelopeSum {
			return
		}
		if _, err := OpenRows(resum(b), fuzzLimits); err != nil && !typed(err) {
			t.Fatal(err)
		}
		if _, err := OpenTransactions(resum(b), fuzzLimits); err != nil && !typed(err) {
			t.Fatal(err)
		}
	})
}
