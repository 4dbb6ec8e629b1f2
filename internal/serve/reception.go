package serve

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/admit"
	"github.com/tidemark-sync/tidemark/internal/api"
	"github.com/tidemark-sync/tidemark/internal/clock"
	"github.com/tidemark-sync/tidemark/internal/config"
	"github.com/tidemark-sync/tidemark/internal/wire"
)

// A reception is the hub as the transport sees it: it lets devices in, and what they
// ask for through the gate.
type reception struct {
	h        *Hub
	gate     *admit.Gate
	meter    *meter // nil: nobody counts requests
	most     int64  // sessions at once
	sessions atomic.Int64
	rand     io.Reader
}

func newReception(h *Hub, limits config.Limits) *reception {
	return &reception{h: h, gate: newGate(limits, h.cfg.Clock), meter: newMeter(limits.Rate, h.office.chunks.redis, h.cfg.Clock), most: int64(limits.Sessions), rand: h.cfg.Rand}
}

// What the machine is taken to have for a hub.
const (
	unitsPerCPU = 32 // of work: small pushes share commits, so many may be under way
	leastUnits  = 64
	leastBytes  = 64 << 20
	mostBytes   = 1 << 30
	memoryPart  = 8 // of the machine's memory
)

// newGate takes what the configuration says, and else what fits the machine.
func newGate(limits config.Limits, c clock.Clock) *admit.Gate {
	l := admit.Limits{InFlight: limits.InFlight, Queue: limits.Queue, Bytes: int64(limits.Memory)}
	if l.InFlight == 0 {
		l.InFlight = max(leastUnits, unitsPerCPU*runtime.GOMAXPROCS(0))
	}
	if l.Bytes == 0 {
		l.Bytes = min(max(memory()/memoryPart, leastBytes), mostBytes)
	}
	return admit.NewGate(admit.GateConfig{Limits: l, Clock: c})
}

// memory is what this process may use, in bytes: GOMEMLIMIT, else the machine's.
func memory() int64 {
	have := machineMemory()
	if limit := debug.SetMemoryLimit(-1); limit > 0 {
		have = min(have, limit)
	}
	return have
}

func (r *reception) Authenticate(ctx context.Context, fingerprint change.Hash) (change.DeviceID, error) {
	if r.sessions.Load() >= r.most {
		return change.DeviceID{}, r.later(r.gate.Refuse("the hub has as many sessions as it takes (hub.limits.sessions)"))
	}
	p, err := r.gate.Enter(ctx, admit.Ask{Who: change.DeviceID(fingerprint[:16]), Class: admit.Live, Weight: 1, Bytes: smallWork})
	if err != nil {
		return change.DeviceID{}, r.later(err)
	}
	defer p.Done()
	return r.h.office.Core.Authenticate(ctx, fingerprint)
}

func (r *reception) Join(ctx context.Context, secret string, spki []byte) (change.DeviceID, error) {
	if err := r.h.office.Core.Standstill(); err != nil {
		return change.DeviceID{}, err
	}
	sum := sha256.Sum256(spki)
	p, err := r.gate.Enter(ctx, admit.Ask{Who: change.DeviceID(sum[:16]), Class: admit.Live, Weight: 1, Bytes: smallWork})
	if err != nil {
		err = r.later(err)
		if f, ok := errors.AsType[*wire.Fault](err); ok {
			f.Hint = fmt.Sprintf("join again in %d seconds: the token stays good", int(f.RetryAfter.Seconds())+1)
		}
		return change.DeviceID{}, err
	}
	defer p.Done()
	id, _, err := r.h.office.Core.Join(ctx, secret, spki)
	return id, err
}

// Session starts a session, or asks the device to come back later: ten thousand
// devices that return at once must be turned away politely, not starve each other.
func (r *reception) Session(ctx context.Context, device change.DeviceID) (wire.Peer, func(context.Context) error, error) {
	context.AfterFunc(ctx, func() { r.sessions.Add(-1) })
	if r.sessions.Add(1) > r.most {
		return refused{r.later(r.gate.Refuse("the hub has as many sessions as it takes (hub.limits.sessions)"))}, nil, nil
	}
	p := &admitted{reception: r, peer: r.h.office.Core.NewSession(device), device: device}
	context.AfterFunc(ctx, p.parts.end)
	context.AfterFunc(ctx, p.peer.End)
	if f := r.h.front; f != nil {
		f.stirred(device)
		context.AfterFunc(ctx, func() { f.stirred(device) })
	}
	return p, r.h.bell.listener(ctx, device, p.peer.Heeds), nil
}

// later turns a gate's refusal into what the device hears. The appointment gets
// jitter here: many devices may have got theirs in one moment.
func (r *reception) later(err error) error {
	var b *admit.Busy
	if !errors.As(err, &b) {
		return err
	}
	return &wire.Fault{Code: "busy", Message: "the hub is busy: " + b.Why, Hint: "it is tried again by itself",
		RetryAfter: b.RetryAfter + r.jitter(b.RetryAfter/4)}
}

func (r *reception) jitter(limit time.Duration) time.Duration {
	var raw [8]byte
	if _, err := io.ReadFull(r.rand, raw[:]); err != nil || limit <= 0 {
		return 0 // the device adds its own
	}
	return time.Duration(binary.LittleEndian.Uint64(raw[:]) % uint64(limit))
}

// refused is the peer of a device that is turned away.
type refused struct{ why error }

func (p refused) Start(context.Context, func(wire.Message) error) error { return p.why }

func (p refused) Receive(context.Context, wire.Message, func(wire.Message) error) error {
	return p.why
}

// Load is how busy the hub is; zero before Start.
func (h *Hub) Load() Load {
	if h.reception == nil {
		return Load{}
	}
	return Load{At: h.cfg.Clock.Now(), Sessions: h.reception.sessions.Load(), Load: h.reception.gate.Load(), Replicas: h.replicas()}
}

// A Load is how busy a serving hub is, as it says to other processes.
type Load struct {
	At       time.Time `json:"at"`
	Sessions int64     `json:"sessions"`
	admit.Load
	Replicas []api.Replica `json:"replicas,omitempty"`
}

func (l Load) String() string {
	return fmt.Sprintf("%d sessions, %d waiting, %d refused", l.Sessions, l.Waiting, l.Refused)
}

// told is what people are told of l; nil is nothing known.
func (l *Load) told() api.Load {
	if l == nil {
		return api.Load{}
	}
	return api.Load{Sessions: int(l.Sessions), Waiting: l.Waiting, Replicas: l.Replicas}
}
