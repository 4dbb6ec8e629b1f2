package wire

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/rule"
	"github.com/tidemark-sync/tidemark/internal/wire/pb"
)

// ErrFrame means that bytes are not a frame of this protocol.
var ErrFrame = errors.New("malformed frame")

// Decode reads what Encode wrote. Failures wrap ErrFrame. Bodies stay sealed:
// whoever opens them gives the limits.
func Decode(b []byte) (Message, error) {
	var f pb.Frame
	if err := proto.Unmarshal(b, &f); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFrame, err)
	}
	return FromFrame(&f)
}

// FromFrame turns a frame into its message. The message shares f's bytes.
func FromFrame(f *pb.Frame) (Message, error) {
	var r frameReader
	m := r.message(f)
	if r.err != nil {
		return nil, r.err
	}
	return m, nil
}

// A frameReader converts fields; its first fault sticks.
type frameReader struct{ err error }

func (r *frameReader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("%w: %w", ErrFrame, fmt.Errorf(format, args...))
	}
}

func (r *frameReader) message(f *pb.Frame) Message {
	switch body := f.GetBody().(type) {
	case *pb.Frame_Hello:
		return r.hello(body.Hello)
	case *pb.Frame_Welcome:
		return r.welcome(body.Welcome)
	case *pb.Frame_Push:
		p := body.Push
		return &Push{Body: p.GetBody(), More: p.GetMore(), Stub: r.stub(p.GetStub()),
			Confirmed: change.Epoch(p.GetConfirmed()), Lineage: lineageIn(p.GetLineage()), Salvage: p.GetSalvage()}
	case *pb.Frame_PushResult:
		p := body.PushResult
		return &PushResult{Durable: p.GetDurable(), Results: r.results(p.GetResults()), Fork: p.GetFork()}
	case *pb.Frame_Pull:
		p := body.Pull
		return &Pull{Cursor: cursorIn(p.GetCursor()), Scopes: r.hash(p.GetScopes()), Outcome: p.GetOutcome(), Wait: p.GetWait(), Echo: p.GetEcho(), Known: p.GetKnown(), Brief: p.GetBrief(), Seen: cursorIn(p.GetSeen())}
	case *pb.Frame_Delta:
		p := body.Delta
		return &Delta{Body: p.GetBody(), Last: p.GetLast(), Next: cursorIn(p.GetNext()), Outcomes: r.results(p.GetOutcomes()), Mark: p.GetMark(), Seal: p.GetSeal(), Still: p.GetStill()}
	case *pb.Frame_Rebase:
		p := body.Rebase
		return &Rebase{Full: p.GetFull(), Reason: p.GetReason(), Grants: r.grants(p.GetGrants()), Scopes: r.hash(p.GetScopes()), Salvage: p.GetSalvage()}
	case *pb.Frame_Fetch:
		return r.fetch(body.Fetch)
	case *pb.Frame_Chunk:
		p := body.Chunk
		return &Chunk{At: cursorIn(p.GetAt()), Body: p.GetBody(), Table: p.GetTable(), After: r.key(p.GetAfter()), Done: p.GetDone(), Total: p.GetTotal()}
	case *pb.Frame_Snapshot:
		p := body.Snapshot
		return &Snapshot{ID: r.hash(p.GetId()), Offset: p.GetOffset(), Scopes: r.hash(p.GetScopes()), Setup: r.hash(p.GetSetup()), Window: p.GetWindow()}
	case *pb.Frame_SnapshotPart:
		p := body.SnapshotPart
		return &SnapshotPart{ID: r.hash(p.GetId()), At: cursorIn(p.GetAt()), Packed: p.GetPacked(), Size: p.GetSize(), Offset: p.GetOffset(),
			Body: p.GetBody(), Done: p.GetDone(), Wait: p.GetWait(), Reason: p.GetReason()}
	case *pb.Frame_Verify:
		return r.verify(body.Verify)
	case *pb.Frame_Digests:
		p := body.Digests
		return &Digests{At: cursorIn(p.GetAt()), Digests: r.digests(p.GetDigests()), Body: p.GetBody()}
	case *pb.Frame_Ping:
		p := body.Ping
		return &Ping{N: p.GetN(), Status: statusIn(p.GetStatus()), Ask: p.GetAsk(), Begun: p.GetBegun()}
	case *pb.Frame_Pong:
		return &Pong{N: body.Pong.GetN()}
	case *pb.Frame_Fault:
		return FaultIn(body.Fault)
	}
	return r.history(f)
}

// history reads the messages about copies, leases and shapes.
func (r *frameReader) history(f *pb.Frame) Message {
	switch body := f.GetBody().(type) {
	case *pb.Frame_Shape:
		m := &Shape{}
		if err := json.Unmarshal(body.Shape.GetSchema(), &m.Schema); err != nil {
			r.fail("schema of the shape: %w", err)
		}
		return m
	case *pb.Frame_LeaseAsk:
		return r.leaseAsk(body.LeaseAsk)
	case *pb.Frame_LeaseGrant:
		return r.leaseGrant(body.LeaseGrant)
	case *pb.Frame_Parcel:
		return &Parcel{Body: body.Parcel.GetBody(), More: body.Parcel.GetMore()}
	case *pb.Frame_ParcelResult:
		p := body.ParcelResult
		m := &ParcelResult{Name: p.GetName(), Known: p.GetKnown(), Results: r.results(p.GetResults())}
		r.bytes(m.Device[:], p.GetDevice(), "device id")
		return m
	}
	r.fail("it holds no message this build knows")
	return nil
}

func (r *frameReader) hello(p *pb.Hello) *Hello {
	m := &Hello{Min: p.GetMin(), Max: p.GetMax(), Agent: p.GetAgent(), Rules: r.hash(p.GetRules()), Clock: timeIn(p.GetClock()),
		Last: p.GetLast(), At: cursorIn(p.GetAt()), Seal: p.GetSeal()}
	r.bytes(m.Parent[:], p.GetParent(), "parent incarnation")
	if n := p.GetNewest(); n != nil {
		r.bytes(m.Newest.ID[:], n.GetId(), "id of the newest transaction")
		r.bytes(m.Newest.Incarnation[:], n.GetIncarnation(), "incarnation of the newest transaction")
		m.Newest.Seq, m.Newest.Content = n.GetSeq(), r.hash(n.GetContent())
	}
	r.bytes(m.Device[:], p.GetDevice(), "device id")
	r.bytes(m.Incarnation[:], p.GetIncarnation(), "incarnation")
	r.bytes(m.Schema[:], p.GetSchema(), "schema hash")
	if s := statusIn(p.GetStatus()); s != nil {
		m.Status = *s
	}
	return m
}

func (r *frameReader) welcome(p *pb.Welcome) *Welcome {
	m := &Welcome{
		Protocol: p.GetProtocol(), Hub: p.GetHub(), Epoch: change.Epoch(p.GetEpoch()), Clock: timeIn(p.GetClock()),
		Grants: r.grants(p.GetGrants()), Scopes: r.hash(p.GetScopes()), MaxFrame: p.GetMaxFrame(), MaxTx: p.GetMaxTx(),
		Progress: p.GetProgress(), Sum: r.hash(p.GetSum()), Lineage: lineageIn(p.GetLineage()), AskShape: p.GetAskShape(), Lacks: p.GetLacks(), Brief: p.GetBrief(),
	}
	r.bytes(m.Device[:], p.GetDevice(), "device id")
	if u := p.GetUnpack(); u != nil {
		m.Unpack = change.Limits{Encoded: r.size(u.GetEncoded()), Decoded: r.size(u.GetDecoded()), Rows: r.size(u.GetRows())}
	}
	if s := p.GetSetup(); s != nil {
		m.Setup = &Setup{DDL: s.GetDdl(), Hash: r.hash(s.GetHash()), Recipient: s.GetRecipient()}
		if err := json.Unmarshal(s.GetSchema(), &m.Setup.Schema); err != nil {
			r.fail("schema of the setup: %w", err)
		}
		if err := json.Unmarshal(s.GetRules(), &m.Setup.Rules); err != nil {
			r.fail("rules of the setup: %w", err)
		}
	}
	return m
}

func (r *frameReader) stub(p *pb.Stub) *Stub {
	if p == nil {
		return nil
	}
	return &Stub{Sum: r.hash(p.GetSum()), Content: r.hash(p.GetContent()), Ops: p.GetOps(), Bytes: p.GetBytes()}
}

// size is a limit as this machine counts; one beyond that is none.
func (r *frameReader) size(n uint64) int { return int(min(n, math.MaxInt)) }

func (r *frameReader) fetch(p *pb.Fetch) *Fetch {
	m := &Fetch{Table: p.GetTable(), After: r.key(p.GetAfter()), Window: p.GetWindow(), Seen: cursorIn(p.GetSeen())}
	for _, s := range p.GetScopes() {
		m.Scopes = append(m.Scopes, rule.ScopeID(s))
	}
	return m
}

func (r *frameReader) verify(p *pb.Verify) *Verify {
	m := &Verify{Cursor: cursorIn(p.GetCursor()), Scopes: r.hash(p.GetScopes()), Outcome: p.GetOutcome(), Tables: p.GetTables()}
	for _, b := range p.GetBuckets() {
		if b >= change.Buckets {
			r.fail("bucket %d of %d", b, change.Buckets)
			return m
		}
		m.Buckets = append(m.Buckets, int(b))
	}
	return m
}

// FaultIn is the inverse of FaultOut.
func FaultIn(p *pb.Fault) *Fault {
	return &Fault{Code: p.GetCode(), Message: p.GetMessage(), Hint: p.GetHint(),
		RetryAfter: time.Duration(p.GetRetryAfter()), Fatal: p.GetFatal()}
}

// bytes copies a field of fixed length; a field left out is zero.
func (r *frameReader) bytes(dst, src []byte, what string) {
	if len(src) != 0 && len(src) != len(dst) {
		r.fail("%s of %d bytes, want %d", what, len(src), len(dst))
		return
	}
	copy(dst, src)
}

func (r *frameReader) hash(b []byte) (h change.Hash) {
	r.bytes(h[:], b, "hash")
	return h
}

func (r *frameReader) key(b []byte) change.Key {
	k, err := change.ParseKeyID(string(b))
	if err != nil {
		r.fail("%w", err)
	}
	return k
}

func (r *frameReader) results(list []*pb.TxResult) []TxResult {
	if len(list) == 0 {
		return nil
	}
	out := make([]TxResult, len(list))
	for i, p := range list {
		if p.GetStatus() > 255 {
			r.fail("transaction status %d", p.GetStatus())
		}
		out[i] = TxResult{Seq: p.GetSeq(), Status: uint8(p.GetStatus()), Reason: p.GetReason(), Receipts: int(p.GetReceipts()), Waits: p.GetWaits()}
	}
	return out
}

func (r *frameReader) grants(list []*pb.Grant) []rule.Grant {
	if len(list) == 0 {
		return nil
	}
	out := make([]rule.Grant, len(list))
	for i, p := range list {
		if p.GetVerbs() > 255 {
			r.fail("verbs %#x", p.GetVerbs())
		}
		out[i] = rule.Grant{Scope: rule.ScopeID(p.GetScope()), Verbs: rule.Verb(p.GetVerbs())}
	}
	return out
}

func (r *frameReader) digests(list []*pb.Digest) []change.Digest {
	if len(list) == 0 {
		return nil
	}
	out := make([]change.Digest, len(list))
	for i, p := range list {
		out[i] = change.Digest{Table: p.GetTable(), Rows: p.GetRows()}
		if n := len(p.GetSums()); n != 0 && n != 16*change.Buckets {
			r.fail("digest of %d bytes, want %d", n, 16*change.Buckets)
			return nil
		}
		readSums(&out[i].Sums, p.GetSums())
	}
	return out
}

func cursorIn(p *pb.Cursor) change.Cursor {
	return change.Cursor{Epoch: change.Epoch(p.GetEpoch()), Token: p.GetToken()}
}

func timeIn(ns int64) time.Time {
	if ns == 0 {
		return time.Time{}
	}
	return time.Unix(0, ns).UTC()
}

func statusIn(p *pb.EdgeStatus) *EdgeStatus {
	if p == nil {
		return nil
	}
	return &EdgeStatus{OutboxDepth: p.GetOutboxDepth(), OldestUnsafe: time.Duration(p.GetOldestUnsafe()),
		Quarantined: p.GetQuarantined(), App: p.GetApp(), FreeDisk: p.GetFreeDisk(), Verified: verifiedIn(p.GetVerified())}
}

func appendSums(b []byte, sums *[change.Buckets]change.RowHash) []byte {
	for _, s := range sums {
		b = binary.BigEndian.AppendUint64(b, s.Hi)
		b = binary.BigEndian.AppendUint64(b, s.Lo)
	}
	return b
}

func readSums(sums *[change.Buckets]change.RowHash, b []byte) {
	for i := 0; len(b) >= 16; i, b = i+1, b[16:] {
		sums[i] = change.RowHash{Hi: binary.BigEndian.Uint64(b), Lo: binary.BigEndian.Uint64(b[8:])}
	}
}
