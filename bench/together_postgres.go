package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// The sizes of what concerns many devices, or more than one process, at scale 1.
const (
	manyDevices = 200     // that bootstrap one scope
	manySeed    = 20_000  // rows of that scope
	pairDevices = 60      // that keep one or two processes busy
	pairSeed    = 20_000  // rows
	idlers      = 10_000  // devices that have nothing to do
	idleSeed    = 100_000 // rows: a customer for each
	loadDevices = 300     // connected under load
	loadWorkers = 40      // of them, that write
	loadPace    = 40.     // transactions a second, of all of them together
	loadForeign = 5.      // transactions a second of another program at the database
)

// How long things are watched at scale 1.
const (
	pairTime = 10 * time.Second
	idleTime = 30 * time.Second
	loadTime = 20 * time.Second
)

// span scales how long something is watched.
func (b *bench) span(d time.Duration) time.Duration {
	return max(time.Duration(float64(d)*min(b.scale, 1)), time.Second)
}

// cached lets many devices bootstrap one scope at once, and counts how often the
// database had to read it.
func (b *bench) cached() (err error) {
	n, rows := b.size(manyDevices), b.size(manySeed)
	y, err := b.openYard(rows, n, everywhere)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, y.close()) }()
	if err := errors.Join(y.exec("SELECT pg_stat_reset()"), y.serve(0)); err != nil {
		return err
	}
	from := time.Now()
	got, err := y.callers.call(ask{Do: "dial", Edges: n, Tokens: y.tokens})
	if err != nil {
		return err
	}
	took := time.Since(from)
	if err := errors.Join(y.stopHubs(), y.left()); err != nil { // what they read is known when their connections end
		return err
	}
	var read int64
	if err := y.ask("SELECT coalesce(sum(coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0)), 0)::int8 FROM pg_stat_user_tables WHERE schemaname = 'public'", &read); err != nil {
		return err
	}
	b.add(line{Name: fmt.Sprintf("cached: %d devices bootstrap %d rows, reads of them", n, rows), Unit: "reads", LimitUnit: 3, Measured: float64(read) / float64(rows),
		Down: got.Down, Note: fmt.Sprintf("rows that the database read, by its own count, to rows; all had them after %.1f s", took.Seconds())})
	return nil
}

// left waits until the hubs' connections have ended at the server, too.
func (y *yard) left() error {
	look := time.NewTicker(10 * time.Millisecond)
	defer look.Stop()
	for limit := time.Now().Add(time.Minute); ; <-look.C {
		n := int64(0)
		err := y.ask("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'hub'", &n)
		if err != nil || n == 0 {
			return err
		}
		if time.Now().After(limit) {
			return fmt.Errorf("%d connections of hubs that ended are still there", n)
		}
	}
}

// processes compares what one hub process of one core takes in with what two take. Where
// the database and the devices share the machine's cores with them, those may be what
// there is too little of; so it does the same with processes that are held to a share of a
// core, as they would be on small machines of their own.
func (b *bench) processes() error {
	if err := b.pair("processes: mixed throughput, a second one", 1); err != nil {
		return err
	}
	return b.pair(fmt.Sprintf("processes: the same, each held to %.0f %% of a core", 100*smallShare), smallShare)
}

// smallShare is the share of a core that makes hub processes the bottleneck.
const smallShare = 0.15

// pair adds a line about one and two processes with so much of a core each.
func (b *bench) pair(name string, share float64) error {
	var rate [2]float64
	var p99 [2]time.Duration
	var cores [2]string
	n := b.size(pairDevices)
	for i := range rate {
		r, used, err := b.busy(i+1, n, share)
		if err != nil {
			return fmt.Errorf("%d processes: %w", i+1, err)
		}
		rate[i], p99[i], cores[i] = float64(r.Rows)/time.Duration(r.Up).Seconds(), quantile(spans(r.Nanos), 0.99), used
	}
	b.add(line{Name: name, Unit: "rows/s", Limit: 1.05, AtLeast: true, Ceiling: rate[0], Measured: rate[1],
		Note: fmt.Sprintf("%d devices push one transaction after the other and hear of each other's, every 16th time they bootstrap; ceiling is one process; p99 of an answer %.0f → %.0f ms; cores in use: %s, then %s",
			n, p99[0].Seconds()*1e3, p99[1].Seconds()*1e3, cores[0], cores[1])})
	return nil
}

// busy keeps some hub processes busy with n devices, and tells what came of it, and whose
// the CPU time was.
func (b *bench) busy(processes, n int, share float64) (r reply, used string, err error) {
	y, err := b.openYard(b.size(pairSeed), n, byCity)
	if err != nil {
		return r, "", err
	}
	defer func() { err = errors.Join(err, y.close()) }()
	for range processes {
		if err := y.serve(1); err != nil {
			return r, "", err
		}
	}
	if _, err := y.callers.call(ask{Do: "dial", Edges: n, Tokens: y.tokens}); err != nil {
		return r, "", err
	}
	release, err := y.hold(share)
	if err != nil {
		return r, "", err
	}
	defer release()
	before, err := y.spent()
	if err != nil {
		return r, "", err
	}
	from := time.Now()
	if r, err = y.callers.call(ask{Do: "work", Edges: n, Nanos: int64(b.span(pairTime))}); err != nil {
		return r, "", err
	}
	took := time.Since(from)
	release()
	after, err := y.spent()
	return r, fmt.Sprintf("hubs %.2f, devices %.2f, database %.2f", after.hub.share(before.hub, took), after.devices.share(before.devices, took), after.base.share(before.base, took)), err
}

func spans(nanos []int64) []time.Duration {
	out := make([]time.Duration, len(nanos))
	for i, n := range nanos {
		out[i] = time.Duration(n)
	}
	return out
}

// idle states what connected devices cost that have nothing to do.
func (b *bench) idle() (err error) {
	n := b.size(idlers)
	y, err := b.openYard(b.size(idleSeed), n, byCity)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, y.close()) }()
	if err := y.serve(0); err != nil {
		return err
	}
	from := time.Now()
	for i := 0; i < n; i += 250 {
		if _, err := y.callers.call(ask{Do: "dial", Edges: min(i+250, n), Tokens: y.tokens}); err != nil {
			return err
		}
	}
	connected := time.Since(from)
	hub := y.hubs[0]
	if _, err := hub.call(ask{Do: "rest"}); err != nil {
		return err
	}
	before, err := hub.call(ask{Do: "usage"})
	if err != nil {
		return err
	}
	base := b.serverCPU()
	span := b.span(idleTime)
	time.Sleep(span)
	after, err := hub.call(ask{Do: "usage"})
	if err != nil {
		return err
	}
	base = b.serverCPU() - base
	cpu := time.Duration(after.CPU - before.CPU)
	note := fmt.Sprintf("over %v; all were connected after %.0f s", span, connected.Seconds())
	b.add(line{Name: fmt.Sprintf("idle: %d connected devices, memory of the hub", n), Unit: "bytes", Measured: float64(after.Peak), Note: note})
	b.add(line{Name: "idle: the same, CPU of the hub, of one core", Unit: "%", Measured: 100 * cpu.Seconds() / span.Seconds(),
		Note: fmt.Sprintf("and the database's %.2f %%", 100*base.Seconds()/span.Seconds())})
	return nil
}

// load states how long answers and the database's statements take under a mixed load.
func (b *bench) load() (err error) {
	n, workers := b.size(loadDevices), b.size(loadWorkers)
	y, err := b.openYard(b.size(idleSeed), n, byCity)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, y.close()) }()
	if err := y.serve(0); err != nil {
		return err
	}
	if _, err := y.callers.call(ask{Do: "dial", Edges: n, Tokens: y.tokens}); err != nil {
		return err
	}
	if err := y.exec("CREATE EXTENSION IF NOT EXISTS pg_stat_statements; SELECT pg_stat_statements_reset()"); err != nil {
		return err
	}
	span, pace := b.span(loadTime), loadPace*min(b.scale, 1)
	ctx, stop := context.WithTimeout(context.Background(), span)
	defer stop()
	before, err := y.spent()
	if err != nil {
		return err
	}
	from := time.Now()
	foreign := make(chan error, 1)
	go func() { foreign <- y.foreign(ctx, b.size(idleSeed)) }()
	r, err := y.callers.call(ask{Do: "work", Edges: workers, Nanos: int64(span), Pace: pace})
	if err := errors.Join(err, <-foreign); err != nil {
		return err
	}
	after, err := y.spent()
	if err != nil {
		return err
	}
	took := time.Since(from)
	answers := spans(r.Nanos)
	what := fmt.Sprintf("%d sessions, %d of them hand in %.0f transactions a second of 5 row changes, every 16th time they bootstrap; another program commits %.0f a second; %v; cores: hub %.2f, devices %.2f, database %.2f",
		n, workers, pace, loadForeign, span, after.hub.share(before.hub, took), after.devices.share(before.devices, took), after.base.share(before.base, took))
	b.add(line{Name: "load: one answer in a session, p99", LimitUnit: 0.5, Measured: quantile(answers, 0.99).Seconds(),
		Note: fmt.Sprintf("%d answers, p50 %.1f ms; %s", len(answers), quantile(answers, 0.5).Seconds()*1e3, what)})
	return b.slow(y)
}

// coreTime is processor time.
type coreTime time.Duration

// share is how many cores were busy since before.
func (c coreTime) share(before coreTime, span time.Duration) float64 {
	return time.Duration(c-before).Seconds() / span.Seconds()
}

// spending is the processor time that each side used so far.
type spending struct{ hub, devices, base coreTime }

func (y *yard) spent() (s spending, err error) {
	for _, p := range y.hubs {
		h, err := p.call(ask{Do: "usage"})
		if err != nil {
			return s, err
		}
		s.hub += coreTime(h.CPU)
	}
	d, err := y.callers.call(ask{Do: "usage"})
	s.devices, s.base = coreTime(d.CPU), coreTime(y.b.serverCPU())
	return s, err
}

// slow states the slowest statement of the hub, and lists those of 100 ms and more.
func (b *bench) slow(y *yard) error {
	var calls int64
	var worst float64
	if err := y.ask("SELECT coalesce(sum(calls), 0)::int8, coalesce(max(max_exec_time), 0) FROM pg_stat_statements WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())", &calls, &worst); err != nil {
		return err
	}
	note := fmt.Sprintf("of %d statements; the slow-query list is empty", calls)
	var list string
	err := y.ask(`SELECT coalesce(string_agg(round(max_exec_time) || ' ms: ' || left(regexp_replace(query, '\s+', ' ', 'g'), 120), '; ' ORDER BY max_exec_time DESC), '')
		FROM pg_stat_statements WHERE max_exec_time >= 100 AND dbid = (SELECT oid FROM pg_database WHERE datname = current_database())`, &list)
	if err != nil {
		return err
	}
	if list != "" {
		note = fmt.Sprintf("of %d statements; slow: %s", calls, list)
	}
	b.add(line{Name: "load: the database's slowest statement", LimitUnit: 0.1, Measured: worst / 1e3, Note: note})
	return nil
}

// foreign is another program that writes at the database until ctx ends.
func (y *yard) foreign(ctx context.Context, rows int) (err error) {
	c, err := pgx.Connect(context.Background(), y.dsn)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close(context.Background())) }()
	tick := time.NewTicker(time.Duration(float64(time.Second) / loadForeign))
	defer tick.Stop()
	list := steps(int(loadForeign*loadTime.Seconds())+1, rows, 3000, 1)
	for i := 0; i < len(list); i++ {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		list[i].older = uuidOf(orders, 3000, i) // its own: devices know what they change
		if err := list[i].commitServed(context.Background(), c); err != nil {
			return err
		}
	}
	return nil
}

func (y *yard) exec(sql string) error {
	return y.connected(func(ctx context.Context, c *pgx.Conn) error {
		_, err := c.PgConn().Exec(ctx, sql).ReadAll()
		return err
	})
}

// ask reads one row.
func (y *yard) ask(sql string, into ...any) error {
	return y.connected(func(ctx context.Context, c *pgx.Conn) error { return c.QueryRow(ctx, sql).Scan(into...) })
}

func (y *yard) connected(do func(context.Context, *pgx.Conn) error) (err error) {
	ctx := context.Background()
	c, err := pgx.Connect(ctx, y.dsn)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close(ctx)) }()
	return do(ctx, c)
}
