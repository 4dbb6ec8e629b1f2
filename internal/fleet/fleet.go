package fleet

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/tidemark-sync/tidemark/internal/clock"
	"github.com/tidemark-sync/tidemark/internal/serve"
	"github.com/tidemark-sync/tidemark/internal/wire/transport"
)

// Config says who comes back, and to what.
type Config struct {
	Program string // the tidemark binary that serves
	Dir     string // an empty directory to work in
	Devices int
	Changes int // of each device: transactions of one row
	// Database is the address of a PostgreSQL server, with the name of a database to
	// connect to. The rows are in another one, which is made for the run and dropped
	// at its end. "": in a SQLite file.
	Database string
	Hubs     int    // processes over the one database; 0 means 1, and more than 1 wants Database
	Redis    string // hub.redis of their configuration; "" for none
	Clock    clock.Clock
	Rand     io.Reader                        // may be read concurrently
	Tell     func(format string, list ...any) // what goes on; may be nil
}

// check refuses what makes no sense, and fills in what may be left out.
func (c *Config) check() error {
	switch {
	case c.Devices < 1 || c.Changes < 1:
		return errors.New("fleet: one device and one change at least")
	case c.Hubs < 0:
		return errors.New("fleet: one hub at least")
	case c.Hubs > 1 && c.Database == "":
		return ErrOneFile
	case c.Database == "" && os.Getenv(serve.EnvDatabase) != "":
		return fmt.Errorf("fleet: %s names a database, which a hub would serve and this run would fill: unset it, or name a server with --database", serve.EnvDatabase)
	}
	c.Hubs = max(c.Hubs, 1)
	if c.Tell == nil {
		c.Tell = func(string, ...any) {}
	}
	return nil
}

// ErrOneFile says that a hub in a SQLite file is one process.
var ErrOneFile = errors.New("fleet: several hubs need one PostgreSQL server between them: name it with --database")

// A Report is what came of it.
type Report struct {
	Devices  int           `json:"devices"`
	Changes  int           `json:"changes"` // in all
	Done     int           `json:"done"`    // devices
	Lost     int           `json:"lost"`    // changes that are not in the hub's tables
	Wrong    int           `json:"wrong"`   // rows in the hub's tables that nobody wrote like that
	Took     time.Duration `json:"took_ns"`
	Refused  int           `json:"refused"` // times that a device was asked to come back later
	Cut      int           `json:"cut"`     // times that a hub was not reached, or not to the end of a session
	Moved    int           `json:"moved"`   // times that the device went on to the next hub then
	P50      time.Duration `json:"p50_ns"`  // from coming back to everything being safe, by device
	P99      time.Duration `json:"p99_ns"`
	Answer50 time.Duration `json:"answer_p50_ns"` // of one answer in a session
	Answer99 time.Duration `json:"answer_p99_ns"`
	Database string        `json:"database"`         // where the rows were, without anything secret
	Hubs     int           `json:"hubs"`             // processes
	Memory   int64         `json:"hub_memory_bytes"` // the most that any one of them took
	Errors   []string      `json:"errors,omitempty"` // the first few
}

// Whole reports whether every device got done, and every change is where it belongs.
func (r *Report) Whole() bool { return r.Done == r.Devices && r.Lost == 0 && r.Wrong == 0 }

type fleet struct {
	Config
	base    base
	hubs    []*process
	devices []*device
}

// Run lets the devices come back, and waits until all are done or ctx ends. A report
// beside an error is of what there was until then.
func Run(ctx context.Context, cfg Config) (r *Report, err error) {
	f, err := open(ctx, cfg)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.close(ctx)) }()
	f.Tell("enrolling %d devices", f.Devices)
	if err := f.enrol(ctx); err != nil {
		return nil, err
	}
	if err := f.serve(ctx); err != nil {
		return nil, err
	}
	f.Tell("all of them come back with %d changes each", f.Changes)
	r, err = f.comeBack(ctx)
	if err != nil {
		return nil, err
	}
	r.Memory = f.memory()
	// What was interrupted is counted, too.
	err = errors.Join(ctx.Err(), f.stop())
	return r, errors.Join(err, f.count(context.WithoutCancel(ctx), r))
}

// open makes the place for the rows. Without an error, it must be closed.
func open(ctx context.Context, cfg Config) (*fleet, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	f := &fleet{Config: cfg}
	for i := range f.Hubs {
		f.hubs = append(f.hubs, newProcess(f.Dir, i))
	}
	if f.Database == "" {
		f.base = file(f.hubs[0].dir)
		return f, nil
	}
	var err error
	f.base, err = makeServer(ctx, f.Database, f.Rand)
	return f, err
}

// close ends what still runs, and removes the rows, also when ctx has ended.
func (f *fleet) close(ctx context.Context) error {
	err := errors.Join(f.stop(), f.base.remove(context.WithoutCancel(ctx)))
	if err != nil {
		f.Tell("%v", err)
	}
	return err
}

// comeBack lets all devices in at the same moment.
func (f *fleet) comeBack(ctx context.Context) (*Report, error) {
	var list []transport.Options
	for _, h := range f.hubs {
		at, err := h.dir.ReadEndpoint()
		if err != nil {
			return nil, err
		}
		list = append(list, transport.Options{URL: at.URL, Pin: at.Pin})
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
		d.hubs, d.at = list, i%len(list)
		wait.Go(func() {
			errs[i] = d.run(ctx, draw)
			took[i] = f.Clock.Now().Sub(begin)
		})
	}
	wait.Wait()
	r := &Report{Devices: f.Devices, Changes: f.Devices * f.Changes, Took: f.Clock.Now().Sub(begin), Database: f.base.String(), Hubs: len(f.hubs)}
	var answers []time.Duration
	for i, d := range f.devices {
		if d.done {
			r.Done++
		}
		r.Refused += d.refused
		r.Cut += d.cut
		r.Moved += d.moved
		answers = append(answers, d.answers...)
		if errs[i] != nil && len(r.Errors) < 5 {
			r.Errors = append(r.Errors, fmt.Sprintf("device %d: %v", i, errs[i]))
		}
	}
	r.P50, r.P99 = quantile(took, 50), quantile(took, 99)
	r.Answer50, r.Answer99 = quantile(answers, 50), quantile(answers, 99)
	return r, nil
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
