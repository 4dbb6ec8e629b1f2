package wire

import (
	"encoding/hex"
	"errors"
	"flag"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/rule"
	"github.com/tidemark-sync/tidemark/internal/wire/pb"
)

var rewrite = flag.Bool("rewrite", false, "write the golden frames anew")

// samples is one message of every kind, every field set.
func samples() map[string]Message {
	at := time.Date(2026, 3, 4, 5, 6, 7, 890, time.UTC)
	cursor := change.Cursor{Epoch: 0xfeedface12345678, Token: "1234.-567890"}
	results := []TxResult{{Seq: 7, Status: 3, Reason: "not null constraint on table orders: total", Receipts: 2}, {Seq: 8, Status: 1}}
	grants := []rule.Grant{{Scope: rule.ScopeAll, Verbs: rule.Read}, {Scope: "branch/7", Verbs: rule.Every}}
	status := EdgeStatus{OutboxDepth: 3, OldestUnsafe: 90 * time.Second, Quarantined: 1, App: "sqlite 3.40.1"}
	digest := change.Digest{Table: "orders", Rows: 2}
	digest.Add(change.Key{change.Int(1)}, change.RowHash{Hi: 1, Lo: 2})
	all := historySamples(at, cursor)
	maps.Copy(all, map[string]Message{
		"hello": &Hello{Min: 1, Max: 1, Agent: "tidemark 0.1", Device: change.DeviceID{1}, Incarnation: change.Incarnation{2},
			Schema: change.SchemaHash{3}, Rules: change.Hash{4}, Clock: at, Status: status},
		"welcome": &Welcome{Protocol: 1, Hub: "head office", Epoch: 9, Clock: at, Grants: grants, Scopes: change.Hash{5},
			MaxFrame: 1 << 20, MaxTx: 1 << 19, Progress: 41, Sum: change.Hash{6},
			Setup: &Setup{Hash: change.Hash{7}, DDL: []string{`CREATE TABLE "t" (id INTEGER PRIMARY KEY)`},
				Schema: change.Schema{Tables: []change.Table{{Name: "t", Columns: []change.Column{{Name: "id", Type: "INTEGER"}}, Key: []int{0}}}},
				Rules:  rule.Rules{Tables: []rule.Table{{Name: "t", Scope: rule.Scope{All: true}, Policy: rule.Latest}}}}},
		"push":      &Push{Body: []byte("sealed transactions")},
		"push-part": &Push{Body: []byte("sealed tr"), More: true},
		"push-stub": &Push{Body: []byte("keys"), Stub: &Stub{Sum: change.Hash{8}, Content: change.Hash{9}, Ops: 70000, Bytes: 1 << 33}},
		"welcome-unpack": &Welcome{Protocol: 1, Clock: at, MaxFrame: 1 << 20, MaxTx: 1 << 19,
			Unpack: change.Limits{Encoded: 1 << 27, Decoded: 1 << 34, Rows: 1 << 20}},
		"push-result": &PushResult{Durable: 8, Results: results, Fork: true},
		"pull":        &Pull{Cursor: cursor, Scopes: change.Hash{5}, Outcome: 12, Wait: true, Seen: cursor},
		"delta":       &Delta{Body: []byte("sealed rows"), Last: true, Next: cursor, Outcomes: results, Mark: 13},
		"delta-split": &Delta{Last: true, Next: cursor, Outcomes: []TxResult{{Seq: 9, Status: 3, Reason: "unique", Waits: []uint32{0, 4, 300}}}, Mark: 14},
		"rebase":      &Rebase{Full: true, Reason: "below the floor", Grants: grants, Scopes: change.Hash{5}},
		"fetch":       &Fetch{Scopes: []rule.ScopeID{"all", "branch/7"}, Table: "orders", After: change.Key{change.Text("a"), change.Int(-1)}, Window: 4, Seen: cursor},
		"chunk": &Chunk{At: cursor, Body: []byte("sealed rows"), Table: "orders", After: change.Key{change.BlobString("\xff")},
			Done: true, Total: map[string]int64{"orders": 12345}},
		"snapshot": &Snapshot{ID: change.Hash{8}, Offset: 1 << 40, Scopes: change.Hash{5}, Setup: change.Hash{7}, Window: 16},
		"snapshot-part": &SnapshotPart{ID: change.Hash{8}, At: cursor, Packed: 1 << 41, Size: 1 << 42, Offset: 1 << 40,
			Body: []byte("packed"), Done: true, Wait: true, Reason: "the tables have triggers"},
		"verify":  &Verify{Cursor: cursor, Scopes: change.Hash{5}, Outcome: 12, Tables: []string{"orders"}, Buckets: []int{0, 255}},
		"digests": &Digests{At: cursor, Digests: []change.Digest{digest, {Table: "empty"}}, Body: []byte("sealed rows")},
		"ping":    &Ping{N: 5, Status: &status},
		"pong":    &Pong{N: 5},
		"fault": &Fault{Code: "revoked", Message: "device nurse-2 was revoked", Hint: "ask the operator",
			RetryAfter: time.Minute, Fatal: true},
	})
	return all
}

// historySamples are the messages, and fields of messages, about copies, lives of a
// hub, leases, shapes and parcels.
func historySamples(at time.Time, cursor change.Cursor) map[string]Message {
	lineage := []change.Branch{{Epoch: 1, Mode: change.Founded, At: at}, {Epoch: 9, Fork: cursor, Mode: change.Undone, At: at}}
	key := change.Key{change.Text("a"), change.Int(-1)}
	return map[string]Message{
		"hello-history": &Hello{Min: 1, Max: 1, Clock: at, Last: 41, At: cursor, Seal: []byte("sealed"), Parent: change.Incarnation{3}, Newest: Landmark{ID: change.TxID{5}, Incarnation: change.Incarnation{6}, Seq: 7, Content: change.Hash{8}}},
		"welcome-history": &Welcome{Protocol: 1, Clock: at, Lineage: lineage, Device: change.DeviceID{4}, AskShape: true, Lacks: true,
			Setup: &Setup{Hash: change.Hash{7}, Recipient: "age1sealed"}},
		"push-again":     &Push{Body: []byte("sealed transactions"), Confirmed: 9, Lineage: lineage},
		"push-salvage":   &Push{Body: []byte("sealed transactions"), Salvage: true},
		"pull-known":     &Pull{Scopes: change.Hash{5}, Outcome: 12, Known: true},
		"pull-brief":     &Pull{Outcome: 12, Known: true, Brief: true},
		"welcome-brief":  &Welcome{Protocol: 1, Clock: at, Scopes: change.Hash{5}, Brief: true},
		"delta-sealed":   &Delta{Last: true, Next: cursor, Mark: 13, Seal: []byte("sealed")},
		"delta-still":    &Delta{Last: true, Mark: 13, Seal: []byte("sealed"), Still: true},
		"rebase-salvage": &Rebase{Full: true, Salvage: true, Scopes: change.Hash{5}},
		"shape":          &Shape{Schema: change.Schema{Tables: []change.Table{{Name: "t", Columns: []change.Column{{Name: "id"}}, Key: []int{0}}}}},
		"lease-ask": &LeaseAsk{ID: 3, Numbers: []NumberLeft{{Name: "invoice.no", Left: 17, Highest: 2000}},
			Shares: []ShareLeft{{Table: "stock", Key: key, Column: "qty", Left: 4}}},
		"lease-grant": &LeaseGrant{ID: 3, Numbers: []NumberRange{{Name: "invoice.no", First: 2001, Last: 3000}},
			Shares: []ShareGrant{{Table: "stock", Key: key, Column: "qty", Add: -2}}},
		"parcel":        &Parcel{Body: []byte("sealed outbox"), More: true},
		"parcel-result": &ParcelResult{Device: change.DeviceID{4}, Name: "till-7", Known: 3, Results: []TxResult{{Seq: 8, Status: 1}}},
	}
}

func TestMessagesRoundTrip(t *testing.T) {
	for name, m := range samples() {
		b, err := Encode(m)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		got, err := Decode(b)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if !reflect.DeepEqual(m, got) {
			t.Errorf("%s:\nwrote %+v\nread  %+v", name, m, got)
		}
		zero, _ := reflect.New(reflect.TypeOf(m).Elem()).Interface().(Message)
		b, err = Encode(zero)
		if err != nil {
			t.Fatalf("zero %s: %v", name, err)
		}
		if got, err = Decode(b); err != nil || !reflect.DeepEqual(zero, got) {
			t.Errorf("zero %s: wrote %+v, read %+v, %v", name, zero, got, err)
		}
	}
}

// Frames that an earlier build wrote must be read alike for ever. A golden file
// is only ever added: changing one breaks devices in the field.
func TestGoldenFrames(t *testing.T) {
	for name, m := range samples() {
		path := filepath.Join("testdata", "frames", name+".hex")
		if *rewrite {
			f, err := ToFrame(m)
			if err != nil {
				t.Fatal(err)
			}
			b, err := proto.MarshalOptions{Deterministic: true}.Marshal(f)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(hex.EncodeToString(b)+"\n"), 0o644); err != nil {
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
		got, err := Decode(b)
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		if !reflect.DeepEqual(m, got) {
			t.Errorf("%s means something else now:\nwant %+v\nread %+v", path, m, got)
		}
	}
}

// A sync in which nothing changed costs less than 200 bytes each way.
func TestIdleExchangeIsSmall(t *testing.T) {
	cursor := change.Cursor{Epoch: 1 << 63, Token: "9223372036854775807.-9223372036854775808"}
	for _, m := range []Message{
		&Pull{Cursor: cursor, Scopes: change.Hash{1, 2, 3}, Outcome: 1 << 40, Wait: true},
		&Delta{Last: true, Next: cursor, Mark: 1 << 40},
	} {
		b, err := Encode(m)
		if err != nil {
			t.Fatal(err)
		}
		if len(b) >= 150 { // leaves room for the layers below
			t.Errorf("%T is %d bytes", m, len(b))
		}
	}
}

// Texts for people may quote a row; protobuf refuses strings that are not UTF-8.
func TestTextForPeopleIsMadeSendable(t *testing.T) {
	b, err := Encode(&PushResult{Results: []TxResult{{Reason: "value 'a\xff' is too long"}}})
	if err != nil {
		t.Fatal(err)
	}
	m, err := Decode(b)
	if err != nil {
		t.Fatal(err)
	}
	if got := m.(*PushResult).Results[0].Reason; got != "value 'a\uFFFD' is too long" {
		t.Errorf("%q", got)
	}
}

type stranger struct{ Message }

func TestEncodeRefusesStrangers(t *testing.T) {
	if _, err := Encode(stranger{}); err == nil || !strings.Contains(err.Error(), "not a message") {
		t.Error(err)
	}
	if _, err := Encode(&Chunk{Table: "\xff"}); err == nil || !strings.Contains(err.Error(), "encode *wire.Chunk") {
		t.Error(err)
	}
}

func TestDecodeRefuses(t *testing.T) {
	for _, test := range []struct {
		name string
		f    *pb.Frame
		says string
	}{
		{"empty", &pb.Frame{}, "no message this build knows"},
		{"device", &pb.Frame{Body: &pb.Frame_Hello{Hello: &pb.Hello{Device: []byte{1}}}}, "device id of 1 bytes"},
		{"hash", &pb.Frame{Body: &pb.Frame_Pull{Pull: &pb.Pull{Scopes: []byte{1}}}}, "hash of 1 bytes"},
		{"key", &pb.Frame{Body: &pb.Frame_Fetch{Fetch: &pb.Fetch{After: []byte{99}}}}, "parse key id"},
		{"bucket", &pb.Frame{Body: &pb.Frame_Verify{Verify: &pb.Verify{Buckets: []uint32{256}}}}, "bucket 256"},
		{"status", &pb.Frame{Body: &pb.Frame_PushResult{PushResult: &pb.PushResult{Results: []*pb.TxResult{{Status: 256}}}}}, "status 256"},
		{"verbs", &pb.Frame{Body: &pb.Frame_Rebase{Rebase: &pb.Rebase{Grants: []*pb.Grant{{Verbs: 256}}}}}, "verbs 0x100"},
		{"sums", &pb.Frame{Body: &pb.Frame_Digests{Digests: &pb.Digests{Digests: []*pb.Digest{{Sums: []byte{1}}}}}}, "digest of 1 bytes"},
		{"schema", &pb.Frame{Body: &pb.Frame_Welcome{Welcome: &pb.Welcome{Setup: &pb.Setup{Schema: []byte("{")}}}}, "schema of the setup"},
		{"rules", &pb.Frame{Body: &pb.Frame_Welcome{Welcome: &pb.Welcome{Setup: &pb.Setup{Schema: []byte("{}")}}}}, "rules of the setup"},
	} {
		b, err := proto.Marshal(test.f)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Decode(b); !errors.Is(err, ErrFrame) || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: %v, want %q", test.name, err, test.says)
		}
	}
}

// A frame that was cut or damaged is an error or another message, never a panic.
func TestDamagedFrames(t *testing.T) {
	for name, m := range samples() {
		b, err := Encode(m)
		if err != nil {
			t.Fatal(err)
		}
		for n := range len(b) {
			if _, err := Decode(b[:n]); err != nil && !errors.Is(err, ErrFrame) {
				t.Fatalf("%s cut at %d: %v", name, n, err)
			}
		}
		for i := range len(b) * 8 {
			c := append([]byte(nil), b...)
			c[i/8] ^= 1 << (i % 8)
			if _, err := Decode(c); err != nil && !errors.Is(err, ErrFrame) {
				t.Fatalf("%s bit %d: %v", name, i, err)
			}
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, m := range samples() {
		b, err := Encode(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := Decode(b)
		if err != nil {
			if !errors.Is(err, ErrFrame) {
				t.Fatal(err)
			}
			return
		}
		again, err := Encode(m)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := Decode(again); err != nil || !reflect.DeepEqual(m, got) {
			t.Fatalf("read %+v, after a round trip %+v, %v", m, got, err)
		}
	})
}

func TestNegotiate(t *testing.T) {
	for _, test := range []struct {
		min, max, want uint32
		code, says     string
	}{
		{1, 1, 1, "", ""},
		{1, 9, MaxProtocol, "", ""},
		{0, 1, 0, "bad-hello", "0 to 1"},
		{3, 2, 0, "bad-hello", "3 to 2"},
		{MaxProtocol + 1, MaxProtocol + 2, 0, "unsupported-version", "the hub speaks"},
	} {
		got, f := Negotiate(test.min, test.max)
		if got != test.want {
			t.Errorf("%d…%d: %d, want %d", test.min, test.max, got, test.want)
		}
		if (f == nil) != (test.code == "") {
			t.Errorf("%d…%d: fault %v", test.min, test.max, f)
		}
		if f != nil && (f.Code != test.code || !strings.Contains(f.Error(), test.says) || !f.Fatal || f.Hint == "") {
			t.Errorf("%d…%d: %+v", test.min, test.max, f)
		}
	}
}

// The seeds of the fuzz target are files, so that every fuzzer starts from them.
func TestFuzzSeeds(t *testing.T) {
	dir := filepath.Join("testdata", "fuzz", "FuzzDecode")
	for name, m := range samples() {
		f, err := ToFrame(m)
		if err != nil {
			t.Fatal(err)
		}
		b, err := proto.MarshalOptions{Deterministic: true}.Marshal(f)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, name)
		if *rewrite {
			if err := os.WriteFile(path, []byte("go test fuzz v1\n[]byte("+strconv.Quote(string(b))+")\n"), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := os.Stat(path); err != nil {
			t.Error(err)
		}
	}
}
