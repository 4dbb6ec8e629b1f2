package run

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tidemark-sync/tidemark/internal/disk"
	"github.com/tidemark-sync/tidemark/internal/edge"
	"github.com/tidemark-sync/tidemark/internal/wire"
)

// AgentConfig is what an Agent needs.
type AgentConfig struct {
	Edge                // File is not used; see Files
	Files []string      // the SQLite files to keep in sync; each enrolled
	Poll  time.Duration // how often a file is asked for changes; 0 means DefaultPoll
}

// An Agent keeps files in sync until it is stopped. It survives what happens to
// an agent in the field: the application restarts, the file is locked, replaced
// or missing for a while, the disk is full, the clock jumps, the hub is away for
// weeks. It ends only when it is told to.
type Agent struct {
	cfg   AgentConfig
	files []*keeper

	mu   sync.Mutex
	stop context.CancelFunc // guarded by mu; nil unless started
	wait sync.WaitGroup
}

// NewAgent checks the configuration.
func NewAgent(cfg AgentConfig) (*Agent, error) {
	if len(cfg.Files) == 0 {
		return nil, errors.New("agent: no file given")
	}
	if cfg.Poll <= 0 {
		cfg.Poll = DefaultPoll
	}
	if cfg.RetryMost <= 0 {
		cfg.RetryMost = DefaultRetryMost
	}
	a := &Agent{cfg: cfg}
	seen := map[string]bool{}
	for _, f := range cfg.Files {
		abs, err := filepath.Abs(f)
		if err != nil {
			return nil, fmt.Errorf("agent: %w", err)
		}
		if seen[abs] {
			continue
		}
		seen[abs] = true
		e := cfg.Edge
		e.File = f
		a.files = append(a.files, &keeper{Edge: e, poll: cfg.Poll, wake: make(chan struct{}, 1),
			say: side{PID: os.Getpid(), State: StateStarting, Since: cfg.Clock.Now()}})
	}
	return a, nil
}

// Start takes the files' locks and begins; it returns at once. A file that is not
// enrolled, or that another process works on, is an error, and nothing starts.
func (a *Agent) Start(ctx context.Context) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.stop != nil {
		return errors.New("agent: already started")
	}
	var errs []error
	for _, k := range a.files {
		errs = append(errs, k.prepare())
	}
	if err := errors.Join(errs...); err != nil {
		for _, k := range a.files {
			k.lock.Release()
		}
		return err
	}
	ctx, a.stop = context.WithCancel(ctx)
	for _, k := range a.files {
		a.wait.Go(func() { k.run(ctx) })
	}
	return nil
}

// Stop ends the sessions between two messages and gives the files' locks back.
// It is safe to call twice.
func (a *Agent) Stop() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.stop != nil {
		a.stop()
		a.wait.Wait()
	}
	return nil
}

// A FileState is what an agent does with one file now.
type FileState struct {
	File string `json:"file"`
	side
}

// Status says what the agent does with each file.
func (a *Agent) Status() []FileState {
	out := make([]FileState, len(a.files))
	for i, k := range a.files {
		out[i] = FileState{File: k.File, side: k.state()}
	}
	return out
}

// A keeper works on one file.
type keeper struct {
	Edge
	poll time.Duration
	wake chan struct{} // other programs may have written
	id   *Identity
	lock *disk.Lock

	engine  *edge.Engine // nil while the file is not open; only run's goroutine
	opened  os.FileInfo  // what was opened, to notice another file in its place
	missing []string     // synced tables that the file lacks

	mu  sync.Mutex
	say side // guarded by mu
}

func (k *keeper) prepare() (err error) {
	if k.id, err = ReadIdentity(k.File); err != nil {
		return err
	}
	k.lock, err = disk.Take(lockPath(k.File))
	return err
}

func lockPath(file string) string { return filepath.Join(SideDir(file), "lock") }

func (k *keeper) state() side {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.say
}

// tell records a state for Status, for the log, and for other processes.
func (k *keeper) tell(state string, err error, hint string, next time.Duration) {
	now := k.Clock.Now()
	s := side{PID: os.Getpid(), State: state, Since: now, Hint: hint, Version: k.Agent}
	if err != nil {
		s.Error = err.Error()
	}
	var f *wire.Fault
	if errors.As(err, &f) {
		s.Code = f.Code
	}
	if next > 0 {
		s.Next = now.Add(next)
	}
	if k.engine != nil && state != StateOnline { // said by run's goroutine alone
		s.Contact = k.engine.Contact()
	}
	k.mu.Lock()
	old := k.say
	if s.Contact.IsZero() {
		s.Contact = old.Contact
	}
	if old.State == state {
		s.Since = old.Since
	}
	k.say = s
	k.mu.Unlock()
	if old.State == s.State && old.Error == s.Error {
		k.record(s)
		return
	}
	if err == nil {
		k.log().Info("agent state", "file", k.File, "state", state)
	} else {
		k.log().Warn("agent state", "file", k.File, "state", state, "error", s.Error, "hint", hint)
	}
	k.record(s)
}

// sideSize is what the side status takes on disk, always: on a full disk it can
// still be written over the old one.
const sideSize = 4096

// record writes the side status. A full disk is no reason to stop, and the very
// case that somebody wants to read of.
func (k *keeper) record(s side) {
	path := filepath.Join(SideDir(k.File), "status.json")
	s.Error = s.Error[:min(len(s.Error), sideSize/4)]
	b, err := json.Marshal(s)
	if err == nil {
		b = append(b, bytes.Repeat([]byte{' '}, max(sideSize-len(b), 0))...)
		err = disk.WriteFile(path, b)
	}
	if err != nil {
		err = overwrite(path, b)
	}
	if err != nil {
		k.log().Debug("write side status", "file", k.File, "error", err.Error())
	}
}

// overwrite writes into an existing file, in place.
func overwrite(path string, b []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(b, 0)
	return errors.Join(err, f.Close())
}

// nudge says that other programs may have written.
func (k *keeper) nudge() {
	select {
	case k.wake <- struct{}{}:
	default: // one is waiting already
	}
}

func (k *keeper) run(ctx context.Context) {
	defer k.lock.Release()
	var watching sync.WaitGroup
	w := &watch{path: k.File, poll: k.poll, wake: k.nudge}
	watching.Go(func() { w.run(ctx) })
	defer watching.Wait()
	b := &backoff{rand: k.Rand, first: backoffFirst, most: k.RetryMost}
	for ctx.Err() == nil {
		err := k.turn(ctx, b)
		if ctx.Err() != nil {
			break
		}
		if err == nil {
			err = errEnded
		}
		t := judge(err)
		if t.reopen {
			k.shut()
		}
		d := b.next(t.after)
		k.tell(t.state, err, t.hint, d)
		k.idle(ctx, d)
	}
	k.shut()
	k.tell(StateStopped, nil, "", 0)
}

// idle waits for the next try. Meanwhile each group of an unaware application's
// changes becomes a transaction of its own: grouped by what was seen at one
// moment, not by a week without network.
func (k *keeper) idle(ctx context.Context, d time.Duration) {
	until := k.Clock.Now().Add(d)
	for ctx.Err() == nil {
		left := until.Sub(k.Clock.Now())
		if left <= 0 || left > d { // over, or the clock was set back
			return
		}
		woken := false
		t := time.NewTimer(left)
		select {
		case <-ctx.Done():
		case <-t.C:
		case <-k.wake:
			woken = true
		}
		t.Stop()
		if woken && k.engine != nil && k.engine.Installed() {
			if _, err := k.engine.Export(); err != nil {
				k.log().Debug("export while offline", "file", k.File, "error", err.Error())
			}
			pause(ctx, min(left, exportPause), nil)
		}
	}
}

// exportPause bounds how often idle exports.
const exportPause = 100 * time.Millisecond

// turn opens the file when it is not open, and works in one session with the hub
// until that ends.
func (k *keeper) turn(ctx context.Context, b *backoff) error {
	if err := k.ensure(); err != nil {
		return err
	}
	o, err := k.options(k.id)
	if err != nil {
		return err
	}
	if k.state().State != StateOffline {
		k.tell(StateConnecting, nil, "", 0)
	}
	o.Nudges = k.wake
	p := newPeer(k.engine, k.id.Device, edge.SessionConfig{Agent: k.Agent, Interval: k.Heartbeat})
	p.welcomed = func() {
		b.reset()
		k.tell(StateOnline, nil, "", 0)
		if err := follow(k.File, k.id, k.engine); err != nil { // tried again with the next session
			k.log().Warn("write whom the file belongs to", "file", k.File, "error", err.Error())
		}
	}
	p.check = k.look
	return k.halfway(p.dial(ctx, o))
}

// look notices another file in this one's place, and a schema that other
// programs changed: capture is brought in line at once, not with the next change
// that it would have missed (traps S5, S12, S18).
func (k *keeper) look() error {
	if err := k.same(); err != nil {
		return err
	}
	d, err := k.engine.CheckDrift()
	if err != nil {
		return err
	}
	if len(d.Repaired) > 0 {
		k.log().Warn("capture made anew", "file", k.File, "triggers", len(d.Repaired))
	}
	if len(d.Missing) > 0 && !slices.Equal(d.Missing, k.missing) {
		k.log().Warn("synced tables are missing", "file", k.File, "tables", strings.Join(d.Missing, ","))
	}
	k.missing = d.Missing
	return nil
}

// ensure opens the file, anew when another one stands in its place (trap S12).
func (k *keeper) ensure() error {
	if k.engine != nil && k.same() != nil {
		k.shut()
	}
	if k.engine != nil {
		return nil
	}
	s, err := os.Stat(k.File)
	if err != nil {
		return fmt.Errorf("open %s: %w", k.File, err)
	}
	e, err := k.open()
	if err != nil {
		return err
	}
	k.engine, k.opened = e, s
	if err := k.look(); err != nil {
		k.shut()
		return err
	}
	return nil
}

// errReplaced ends a session whose file is no longer the one in its place.
var errReplaced = errors.New("the file was replaced by another one")

func (k *keeper) same() error {
	s, err := os.Stat(k.File)
	if err != nil {
		return fmt.Errorf("look for %s: %w", k.File, err)
	}
	if !os.SameFile(s, k.opened) {
		return errReplaced
	}
	return nil
}

func (k *keeper) shut() {
	if k.engine == nil {
		return
	}
	if err := k.engine.Close(); err != nil {
		k.log().Warn("close file", "file", k.File, "error", err.Error())
	}
	k.engine, k.opened = nil, nil
}
