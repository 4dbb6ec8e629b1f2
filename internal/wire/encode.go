package wire

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/rule"
	"github.com/tidemark-sync/tidemark/internal/wire/pb"
)

// Encode writes a message as the bytes of one frame.
func Encode(m Message) ([]byte, error) {
	f, err := ToFrame(m)
	if err != nil {
		return nil, err
	}
	b, err := proto.Marshal(f)
	if err != nil {
		return nil, fmt.Errorf("encode %T: %w", m, err)
	}
	return b, nil
}

// ToFrame turns a message into its frame. The frame shares m's bodies.
func ToFrame(m Message) (*pb.Frame, error) {
	switch m := m.(type) {
	case *Hello:
		return &pb.Frame{Body: &pb.Frame_Hello{Hello: helloOut(m)}}, nil
	case *Welcome:
		w, err := welcomeOut(m)
		if err != nil {
			return nil, fmt.Errorf("encode welcome: %w", err)
		}
		return &pb.Frame{Body: &pb.Frame_Welcome{Welcome: w}}, nil
	case *Push:
		return &pb.Frame{Body: &pb.Frame_Push{Push: &pb.Push{Body: m.Body, More: m.More, Stub: stubOut(m.Stub),
			Confirmed: uint64(m.Confirmed), Lineage: lineageOut(m.Lineage), Salvage: m.Salvage}}}, nil
	case *PushResult:
		return &pb.Frame{Body: &pb.Frame_PushResult{PushResult: &pb.PushResult{
			Durable: m.Durable, Results: resultsOut(m.Results), Fork: m.Fork}}}, nil
	case *Pull:
		return &pb.Frame{Body: &pb.Frame_Pull{Pull: pullOut(m)}}, nil
	case *Delta:
		return &pb.Frame{Body: &pb.Frame_Delta{Delta: &pb.Delta{
			Body: m.Body, Last: m.Last, Next: nextOut(m), Outcomes: resultsOut(m.Outcomes), Mark: m.Mark, Seal: m.Seal, Still: m.Still}}}, nil
	case *Rebase:
		return &pb.Frame{Body: &pb.Frame_Rebase{Rebase: &pb.Rebase{
			Full: m.Full, Reason: human(m.Reason), Grants: grantsOut(m.Grants), Scopes: hashOut(m.Scopes), Salvage: m.Salvage}}}, nil
	case *Fetch:
		return &pb.Frame{Body: &pb.Frame_Fetch{Fetch: fetchOut(m)}}, nil
	case *Chunk:
		return &pb.Frame{Body: &pb.Frame_Chunk{Chunk: &pb.Chunk{
			At: cursorOut(m.At), Body: m.Body, Table: m.Table, After: change.AppendKey(nil, m.After), Done: m.Done, Total: m.Total}}}, nil
	case *Snapshot:
		return &pb.Frame{Body: &pb.Frame_Snapshot{Snapshot: &pb.Snapshot{
			Id: hashOut(m.ID), Offset: m.Offset, Scopes: hashOut(m.Scopes), Setup: hashOut(m.Setup), Window: m.Window}}}, nil
	case *SnapshotPart:
		return &pb.Frame{Body: &pb.Frame_SnapshotPart{SnapshotPart: &pb.SnapshotPart{
			Id: hashOut(m.ID), At: cursorOut(m.At), Packed: m.Packed, Size: m.Size, Offset: m.Offset,
			Body: m.Body, Done: m.Done, Wait: m.Wait, Reason: human(m.Reason)}}}, nil
	case *Verify:
		return &pb.Frame{Body: &pb.Frame_Verify{Verify: verifyOut(m)}}, nil
	case *Digests:
		return &pb.Frame{Body: &pb.Frame_Digests{Digests: &pb.Digests{
			At: cursorOut(m.At), Digests: digestsOut(m.Digests), Body: m.Body}}}, nil
	case *Ping:
		return &pb.Frame{Body: &pb.Frame_Ping{Ping: &pb.Ping{N: m.N, Status: statusOut(m.Status), Ask: humans(m.Ask), Begun: humans(m.Begun)}}}, nil
	case *Pong:
		return &pb.Frame{Body: &pb.Frame_Pong{Pong: &pb.Pong{N: m.N}}}, nil
	case *Fault:
		return &pb.Frame{Body: &pb.Frame_Fault{Fault: FaultOut(m)}}, nil
	}
	return historyFrame(m)
}

// historyFrame does the messages about copies, leases and shapes.
func historyFrame(m Message) (*pb.Frame, error) {
	switch m := m.(type) {
	case *Shape:
		schema, err := json.Marshal(m.Schema)
		if err != nil {
			return nil, fmt.Errorf("encode shape: %w", err)
		}
		return &pb.Frame{Body: &pb.Frame_Shape{Shape: &pb.Shape{Schema: schema}}}, nil
	case *LeaseAsk:
		return &pb.Frame{Body: &pb.Frame_LeaseAsk{LeaseAsk: leaseAskOut(m)}}, nil
	case *LeaseGrant:
		return &pb.Frame{Body: &pb.Frame_LeaseGrant{LeaseGrant: leaseGrantOut(m)}}, nil
	case *Parcel:
		return &pb.Frame{Body: &pb.Frame_Parcel{Parcel: &pb.Parcel{Body: m.Body, More: m.More}}}, nil
	case *ParcelResult:
		return &pb.Frame{Body: &pb.Frame_ParcelResult{ParcelResult: &pb.ParcelResult{
			Device: m.Device[:], Name: human(m.Name), Known: m.Known, Results: resultsOut(m.Results)}}}, nil
	}
	return nil, fmt.Errorf("encode %T: not a message of this protocol", m)
}

func helloOut(m *Hello) *pb.Hello {
	out := &pb.Hello{
		Min: m.Min, Max: m.Max, Agent: human(m.Agent),
		Rules: hashOut(m.Rules), Clock: timeOut(m.Clock), Status: statusOut(&m.Status),
		Last: m.Last, Seal: m.Seal,
	}
	if !m.At.IsZero() {
		out.At = cursorOut(m.At)
	}
	if !m.Parent.IsZero() {
		out.Parent = m.Parent[:]
	}
	if n := &m.Newest; !n.ID.IsZero() {
		out.Newest = &pb.Landmark{Id: n.ID[:], Incarnation: n.Incarnation[:], Seq: n.Seq, Content: hashOut(n.Content)}
	}
	if !m.Device.IsZero() {
		out.Device = m.Device[:]
	}
	if !m.Incarnation.IsZero() {
		out.Incarnation = m.Incarnation[:]
	}
	if m.Schema != (change.SchemaHash{}) {
		out.Schema = m.Schema[:]
	}
	return out
}

func welcomeOut(m *Welcome) (*pb.Welcome, error) {
	out := &pb.Welcome{
		Protocol: m.Protocol, Hub: human(m.Hub), Epoch: uint64(m.Epoch), Clock: timeOut(m.Clock),
		Grants: grantsOut(m.Grants), Scopes: hashOut(m.Scopes), MaxFrame: m.MaxFrame, MaxTx: m.MaxTx,
		Progress: m.Progress, Sum: hashOut(m.Sum), Lineage: lineageOut(m.Lineage), AskShape: m.AskShape, Lacks: m.Lacks, Brief: m.Brief,
	}
	if !m.Device.IsZero() {
		out.Device = m.Device[:]
	}
	if u := m.Unpack; u != (change.Limits{}) {
		out.Unpack = &pb.Unpack{Encoded: uint64(u.Encoded), Decoded: uint64(u.Decoded), Rows: uint64(u.Rows)}
	}
	if m.Setup == nil {
		return out, nil
	}
	schema, err := json.Marshal(m.Setup.Schema)
	if err != nil {
		return nil, err
	}
	rules, err := json.Marshal(m.Setup.Rules)
	if err != nil {
		return nil, err
	}
	out.Setup = &pb.Setup{Schema: schema, Ddl: m.Setup.DDL, Rules: rules, Hash: hashOut(m.Setup.Hash), Recipient: m.Setup.Recipient}
	return out, nil
}

func pullOut(m *Pull) *pb.Pull {
	out := &pb.Pull{Outcome: m.Outcome, Wait: m.Wait, Echo: m.Echo, Known: m.Known, Brief: m.Brief}
	if !m.Brief {
		out.Scopes = hashOut(m.Scopes)
	}
	if !m.Seen.IsZero() {
		out.Seen = cursorOut(m.Seen)
	}
	if !m.Known {
		out.Cursor = cursorOut(m.Cursor)
	}
	return out
}

func nextOut(m *Delta) *pb.Cursor {
	if m.Still {
		return nil
	}
	return cursorOut(m.Next)
}

func stubOut(m *Stub) *pb.Stub {
	if m == nil {
		return nil
	}
	return &pb.Stub{Sum: hashOut(m.Sum), Content: hashOut(m.Content), Ops: m.Ops, Bytes: m.Bytes}
}

func fetchOut(m *Fetch) *pb.Fetch {
	out := &pb.Fetch{Table: m.Table, After: change.AppendKey(nil, m.After), Window: m.Window}
	if !m.Seen.IsZero() {
		out.Seen = cursorOut(m.Seen)
	}
	for _, s := range m.Scopes {
		out.Scopes = append(out.Scopes, string(s))
	}
	return out
}

func verifyOut(m *Verify) *pb.Verify {
	out := &pb.Verify{Cursor: cursorOut(m.Cursor), Scopes: hashOut(m.Scopes), Outcome: m.Outcome, Tables: m.Tables}
	for _, b := range m.Buckets {
		out.Buckets = append(out.Buckets, uint32(b))
	}
	return out
}

// FaultOut is a refusal's form in protobuf: enrolment answers with it too.
func FaultOut(m *Fault) *pb.Fault {
	return &pb.Fault{Code: human(m.Code), Message: human(m.Message), Hint: human(m.Hint),
		RetryAfter: int64(m.RetryAfter), Fatal: m.Fatal}
}

func cursorOut(c change.Cursor) *pb.Cursor {
	if c.IsZero() {
		return nil
	}
	return &pb.Cursor{Epoch: uint64(c.Epoch), Token: c.Token}
}

func hashOut(h change.Hash) []byte {
	if h == (change.Hash{}) {
		return nil
	}
	return h[:]
}

func timeOut(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

func statusOut(s *EdgeStatus) *pb.EdgeStatus {
	if s == nil {
		return nil
	}
	return &pb.EdgeStatus{OutboxDepth: s.OutboxDepth, OldestUnsafe: int64(s.OldestUnsafe), Quarantined: s.Quarantined, App: human(s.App),
		FreeDisk: s.FreeDisk, Verified: verifiedOut(s.Verified)}
}

func resultsOut(list []TxResult) []*pb.TxResult {
	out := make([]*pb.TxResult, len(list))
	rows := make([]pb.TxResult, len(list))
	for i, r := range list {
		p := &rows[i]
		p.Seq, p.Status, p.Reason, p.Receipts = r.Seq, uint32(r.Status), human(r.Reason), uint32(r.Receipts)
		p.Waits = r.Waits
		out[i] = p
	}
	return out
}

func grantsOut(list []rule.Grant) []*pb.Grant {
	out := make([]*pb.Grant, len(list))
	for i, g := range list {
		out[i] = &pb.Grant{Scope: string(g.Scope), Verbs: uint32(g.Verbs)}
	}
	return out
}

func digestsOut(list []change.Digest) []*pb.Digest {
	out := make([]*pb.Digest, len(list))
	for i := range list {
		d := &list[i]
		out[i] = &pb.Digest{Table: d.Table, Rows: d.Rows}
		if d.Sums != [change.Buckets]change.RowHash{} {
			out[i].Sums = appendSums(nil, &d.Sums)
		}
	}
	return out
}

// human makes text for people sendable: it may quote a row's bytes, and
// protobuf refuses strings that are not UTF-8.
func human(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }
