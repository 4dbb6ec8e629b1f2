package fleet

import (
	"context"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/clock"
	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/rule"
	"github.com/tidemark-sync/tidemark/internal/serve"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
	"github.com/tidemark-sync/tidemark/internal/wire/transport"
)

// Config says who comes back.
type Config struct {
	Program string // the tidemark binary that serves
	Dir     string // an empty directory to work in
	Devices int
	Changes int // of each device: transactions of one row
	Clock   clock.Clock
	Rand    io.Reader
	Tell    func(format string, list ...any) // what goes on; may be nil
}

// perBranch is how many devices share a scope.
const perBranch = 10

// A Report is what came of it.
type Report struct {
	Devices  int           `json:"devices"`
	Changes  int           `json:"changes"` // in all
	Done     int           `json:"done"`    // devices
	Lost     int           `json:"lost"`    // changes that are not in the hub's tables
	Took     time.Duration `json:"took_ns"`
	Refused  int           `json:"refused"` // times that a device was asked to come back later
	P50      time.Duration `json:"p50_ns"`  // from coming back to everything being safe, by device
	P99      time.Duration `json:"p99_ns"`
	Answer50 time.Duration `json:"answer_p50_ns"` // of one answer in a session
	Answer99 time.Duration `json:"answer_p99_ns"`
	Memory   int64         `json:"hub_memory_bytes"` // the most that the hub took
	Errors   []string      `json:"errors,omitempty"` // the first few
}

const (
	tableSQL = "CREATE TABLE entry (id TEXT PRIMARY KEY NOT NULL, branch TEXT NOT NULL, note TEXT, n INTEGER);"
	rulesFmt = "hub:\n  listen: 127.0.0.1:0\ntables:\n  entry: {scope: \"branch/{branch}\"}\n"
)

// Run lets the devices come back, and waits until all are done or ctx ends.
func Run(ctx context.Context, cfg Config) (*Report, error) {
	if cfg.Devices < 1 || cfg.Changes < 1 {
		return nil, errors.New("fleet: one device and one change at least")
	}
	if cfg.Tell == nil {
		cfg.Tell = func(string, ...any) {}
	}
	f := &fleet{Config: cfg}
	f.data = f.directory()
	cfg.Tell("enrolling %d devices", cfg.Devices)
	if err := f.enrol(ctx); err != nil {
		return nil, err
	}
	stop, err := f.serve(ctx)
	if err != nil {
		return nil, err
	}
	cfg.Tell("all of them come back with %d changes each", cfg.Changes)
	r := f.comeBack(ctx)
	r.Memory = peak(f.process.Process.Pid)
	if err := stop(); err != nil {
		return nil, err
	}
	r.Lost, err = f.lost()
	return r, err
}

type fleet struct {
	Config
	data    serve.HubDir
	devices []*device
	keys    []*transport.Key
	process *exec.Cmd
}

func (f *fleet) directory() serve.HubDir { return serve.HubDir(filepath.Join(f.Dir, "hub")) }

// enrol makes the hub, and its devices known to it.
func (f *fleet) enrol(ctx context.Context) error {
	rules, table := filepath.Join(f.Dir, "tidemark.yaml"), filepath.Join(f.Dir, "table.sql")
	if err := errors.Join(os.WriteFile(rules, []byte(rulesFmt), 0o600), os.WriteFile(table, []byte(tableSQL), 0o600)); err != nil {
		return err
	}
	h, err := serve.NewHub(serve.HubConfig{Dir: f.data, ConfigFile: rules, Schema: table, Clock: f.Clock, Rand: f.Rand, NoSync: true})
	if err != nil {
		return err
	}
	if err := h.Start(ctx); err != nil {
		return err
	}
	for i := range f.Devices {
		if err = f.add(ctx, h.Core(), i); err != nil {
			break
		}
	}
	return errors.Join(err, h.Stop())
}

func (f *fleet) add(ctx context.Context, core *hub.Hub, i int) error {
	branch := fmt.Sprint(i / perBranch)
	inv, err := core.AddDevice(ctx, fmt.Sprint("device-", i), []rule.Grant{{Scope: rule.ScopeID("branch/" + branch), Verbs: rule.Every}}, 0)
	if err != nil {
		return err
	}
	key, err := transport.NewKey(f.Rand)
	if err != nil {
		return err
	}
	spki, err := x509.MarshalPKIXPublicKey(key.Signer().Public())
	if err != nil {
		return err
	}
	if _, _, err := core.Join(ctx, inv.Secret, spki); err != nil {
		return err
	}
	d := &device{clock: f.Clock, id: inv.Device, setup: core.Setup()}
	if d.inc, err = change.NewIncarnation(f.Rand); err != nil {
		return err
	}
	d.cursor, _, err = core.Digests(ctx, []rule.ScopeID{rule.ScopeID("branch/" + branch)})
	if err != nil {
		return err
	}
	f.devices, f.keys = append(f.devices, d), append(f.keys, key)
	return f.write(d, i, branch)
}

// write is what the device did while it was away.
func (f *fleet) write(d *device, i int, branch string) error {
	var prev change.Hash
	for n := range f.Changes {
		id, err := change.NewTxID(f.Rand)
		if err != nil {
			return err
		}
		row := fmt.Sprintf("%d-%d", i, n)
		t := &change.Transaction{ID: id, Device: d.id, Incarnation: d.inc, Seq: uint64(n + 1), Prev: prev, Bases: []change.Cursor{d.cursor},
			HLC: change.NewHLC(f.Clock.Now().UnixMilli(), uint16(n)), Ops: []change.Op{{Table: "entry", Kind: change.Insert, Key: change.Key{change.Text(row)},
				Columns: []string{"id", "branch", "note", "n"}, Rows: []uint64{uint64(n + 1)},
				New: []change.Value{change.Text(row), change.Text(branch), change.Text("written without a network"), change.Int(int64(n))}}}}
		prev = t.Sum()
		d.txs = append(d.txs, t)
	}
	return nil
}

// serve starts the hub's process; stop ends it.
func (f *fleet) serve(ctx context.Context) (stop func() error, err error) {
	log, err := os.Create(filepath.Join(f.Dir, "hub.log"))
	if err != nil {
		return nil, err
	}
	f.process = exec.Command(f.Program, "hub", "--data", string(f.data))
	f.process.Stdout, f.process.Stderr, f.process.Dir = log, log, f.Dir
	if err := f.process.Start(); err != nil {
		return nil, errors.Join(err, log.Close())
	}
	ended := make(chan error, 1)
	go func() { ended <- errors.Join(f.process.Wait(), log.Close()) }()
	stop = func() error {
		if err := f.process.Process.Signal(os.Interrupt); err != nil {
			return errors.Join(err, <-ended)
		}
		return <-ended
	}
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	for !f.data.Serving() {
		select {
		case err := <-ended:
			return nil, fmt.Errorf("the hub ended: %w: see %s", err, log.Name())
		case <-ctx.Done():
			return nil, errors.Join(ctx.Err(), stop())
		case <-look.C:
		}
	}
	return stop, nil
}

// comeBack lets all devices in at the same moment.
func (f *fleet) comeBack(ctx context.Context) *Report {
	r := &Report{Devices: f.Devices, Changes: f.Devices * f.Changes}
	at, err := f.data.ReadEndpoint()
	if err != nil {
		r.Errors = append(r.Errors, err.Error())
		return r
	}
	var mu sync.Mutex
	draw := func(limit time.Duration) time.Duration {
		mu.Lock()
		defer mu.Unlock()
		return drawn(f.Rand, limit)
	}
	took, errs := make([]time.Duration, f.Devices), make([]error, f.Devices)
	begin := f.Clock.Now()
	var wait sync.WaitGroup
	for i, d := range f.devices {
		wait.Go(func() {
			if d.client, errs[i] = transport.NewClient(transport.Options{URL: at.URL, Pin: at.Pin, Key: f.keys[i]}); errs[i] != nil {
				return
			}
			defer d.client.Close()
			errs[i] = d.run(ctx, draw)
			took[i] = f.Clock.Now().Sub(begin)
		})
	}
	wait.Wait()
	r.Took = f.Clock.Now().Sub(begin)
	var answers []time.Duration
	for i, d := range f.devices {
		if d.done {
			r.Done++
		}
		r.Refused += d.refused
		answers = append(answers, d.answers...)
		if errs[i] != nil && len(r.Errors) < 5 {
			r.Errors = append(r.Errors, fmt.Sprintf("device %d: %v", i, errs[i]))
		}
	}
	r.P50, r.P99 = quantile(took, 50), quantile(took, 99)
	r.Answer50, r.Answer99 = quantile(answers, 50), quantile(answers, 99)
	return r
}

func drawn(r io.Reader, limit time.Duration) time.Duration {
	var raw [8]byte
	if _, err := io.ReadFull(r, raw[:]); err != nil || limit <= 0 {
		return 0
	}
	return time.Duration(binary.LittleEndian.Uint64(raw[:]) % uint64(limit))
}

// quantile is the smallest of a list that so many in a hundred do not exceed.
func quantile(list []time.Duration, percent int) time.Duration {
	if len(list) == 0 {
		return 0
	}
	slices.Sort(list)
	return list[(len(list)*percent+99)/100-1]
}

// lost counts the changes that are not in the hub's tables.
func (f *fleet) lost() (int, error) {
	c, err := sqlite.Open(f.data.DB(), sqlite.Options{ReadOnly: true})
	if err != nil {
		return 0, err
	}
	n, _, err := sqlite.One(c, "SELECT count(*) FROM entry")
	return f.Devices*f.Changes - int(n.Int()), errors.Join(err, c.Close())
}
