package change

import (
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"
)

var rewrite = flag.Bool("rewrite", false, "write the golden files and fuzz seeds anew")

func golden(t *testing.T, name string, now []byte) []byte {
	t.Helper()
	path := filepath.Join("testdata", "golden", name+".hex")
	if *rewrite {
		if err := os.WriteFile(path, []byte(hex.EncodeToString(now)+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return b
}

// goldenBatch reaches every encoding that FORMAT.md describes.
func goldenBatch() ([]*Transaction, []*Rows) {
	txs := newShop(7).transactions(20)
	txs[3].Ops = append(txs[3].Ops, Op{Table: "orders", Kind: Delete, Key: Key{Int(1), BlobString("k")}, Columns: []string{"a", "b"},
		Base: []Value{Int(1), BlobString("k")}, Move: 3})
	txs[4].Bases, txs[4].Unaware = nil, true
	rows := newShop(8).rows(40)
	rows.Gone = []Value{Text("gone"), Int(-9), Null}
	for i := 3; i < 40; i += 5 {
		rows.Values[i*len(rows.Columns)+5] = Null
		rows.Values[i*len(rows.Columns)+4] = Float(1e300)
	}
	return txs, []*Rows{rows, {Table: "empty", Columns: []string{"id"}, Key: []int{0}}}
}

// What an earlier build wrote must be read alike for ever. A golden file is only
// ever added: changing one breaks files and devices in the field.
func TestGoldenFormats(t *testing.T) {
	txs, rows := goldenBatch()
	single := AppendTransaction(nil, txs[3])
	if got := golden(t, "transaction", single); string(got) != string(single) {
		t.Error("the single form changed: every hash chain breaks")
	}
	sealed, err := SealTransactions(txs)
	if err != nil {
		t.Fatal(err)
	}
	gotTxs, err := OpenTransactions(golden(t, "transactions", sealed), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(gotTxs, txs) {
		t.Error("the batch of transactions means something else now")
	}
	if sealed, err = SealRows(rows); err != nil {
		t.Fatal(err)
	}
	gotRows, err := OpenRows(golden(t, "rows", sealed), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(gotRows, rows) {
		t.Error("the batch of rows means something else now")
	}
	h := HashRow(rows[0].Columns, rows[0].Row(3))
	if got, now := golden(t, "rowhash", fmt.Appendf(nil, "%016x%016x", h.Hi, h.Lo)), fmt.Sprintf("%016x%016x", h.Hi, h.Lo); string(got) != now {
		t.Error("the row hash changed: old and new builds see differences everywhere")
	}
	id := Key{Text("a\x00"), Int(-2), Float(0.5), BlobString("\xff"), Null}.ID()
	if got := golden(t, "keyid", []byte(id)); string(got) != id {
		t.Error("the key id changed")
	}
}

// The seeds of the fuzz targets are files, so that every fuzzer starts from them.
func TestFuzzSeeds(t *testing.T) {
	txs, rows := goldenBatch()
	bodyTxs, bodyRows := bodies(t)
	sealedTxs, sealedRows := sealedSamples(t)
	var singles [][]byte
	for _, tx := range txs[2:5] {
		singles = append(singles, AppendTransaction(nil, tx))
	}
	for target, seeds := range map[string][][]byte{
		"FuzzDecodeTransaction": singles,
		"FuzzDecodeRow":         {AppendRow(nil, rows[0].Columns, rows[0].Row(3)), {}},
		"FuzzParseKeyID":        {[]byte(Key{Text("a\x00"), Int(-2), Float(0.5), BlobString("\xff"), Null}.ID()), []byte("\x03\x7f\xff\xff\xff")},
		"FuzzOpenTransactions":  {bodyTxs, {0, 0, 0, 0, 0, 0, 0}},
		"FuzzOpenRows":          {bodyRows, append(frontBomb(200, 1000), 0, 0), {1, 0, 1, 0, 1, 0, 1, colText, strDict, 1, strPlain, intConst, 0, intConst, 10, 0, 0, 0}},
		"FuzzEnvelope":          {sealedTxs, sealedRows, raw(kindRows, frontBomb(200, 1000))},
	} {
		dir := filepath.Join("testdata", "fuzz", target)
		for i, seed := range seeds {
			path := filepath.Join(dir, fmt.Sprint("seed-", i))
			if *rewrite {
				if err := os.MkdirAll(dir, 0o755); err != nil {
					t.Fatal(err)
				}
				kind := "[]byte"
				if target == "FuzzParseKeyID" {
					kind = "string"
				}
				text := "go test fuzz v1\n" + kind + "(" + strconv.Quote(string(seed)) + ")\n"
				if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := os.Stat(path); err != nil {
				t.Error(err)
			}
		}
	}
}
