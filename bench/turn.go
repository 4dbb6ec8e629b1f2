package main

import (
	"errors"
	"fmt"
	"time"
)

// The sizes of the workloads at scale 1.
const (
	seedSize  = 100_000 // rows at the server, W1 to W4 and W6
	batch     = 2_000   // change transactions of W2 and W3: 10,000 row changes
	pokes     = 200     // W4
	crowd     = 20      // edges of W5
	crowdSeed = 5_000   // rows at the server of W5
	crowdWork = 100     // change transactions of each edge of W5: 500 row changes
)

// workloads runs W1 to W6 for every system, taking turns.
func (b *bench) workloads(systems []system) (err error) {
	var stages []*stage
	defer func() {
		for _, st := range stages {
			err = errors.Join(err, st.close())
		}
	}()
	for _, s := range systems {
		st, err := b.open(s, b.size(seedSize))
		if err != nil {
			return err
		}
		stages = append(stages, st)
	}
	for _, w := range []struct {
		name string
		run  func(stages []*stage) error
	}{{"W1", b.w1}, {"W2", b.w2}, {"W3", b.w3}, {"W6", b.w6}, {"W4", b.w4}} {
		if !b.wanted(w.name) && w.name != "W1" { // the others need its edges
			continue
		}
		if err := w.run(stages); err != nil {
			return fmt.Errorf("%s: %w", w.name, err)
		}
	}
	if !b.wanted("W5") {
		return nil
	}
	if err := b.w5(systems); err != nil {
		return fmt.Errorf("W5: %w", err)
	}
	return nil
}

// rounds runs one for each stage in turn, rounds times, and keeps the samples.
func (b *bench) turns(n int, stages []*stage, one func(round int, st *stage) (sample, error)) (map[string][]sample, error) {
	out := map[string][]sample{}
	for round := range n {
		for _, st := range stages {
			s, err := one(round, st)
			if err != nil {
				return nil, fmt.Errorf("%s, round %d: %w", st.name, round+1, err)
			}
			out[st.name] = append(out[st.name], s)
		}
	}
	return out, nil
}

// w1 bootstraps an empty edge; two edges stay for the workloads after it.
func (b *bench) w1(stages []*stage) error {
	d := seedRows(b.size(seedSize)).keyOrder()
	var inserts []time.Duration
	all, err := b.turns(max(b.rounds, 2), stages, func(_ int, st *stage) (sample, error) {
		if st.system == b.ours {
			t, err := b.bulkInsert(d)
			if err != nil {
				return sample{}, err
			}
			inserts = append(inserts, t)
		}
		if err := errors.Join(b.join(st, 1), st.trim(2), st.rest()); err != nil {
			return sample{}, err
		}
		s, err := b.measure(st, "pull", "W1")
		if err != nil {
			return s, err
		}
		return s, b.same(st, "W1", 1)
	})
	if err != nil {
		return err
	}
	rows := float64(b.size(seedSize))
	b.report(b.aim(line{Name: fmt.Sprintf("W1 bootstrap %d rows, by rows", b.size(seedSize)), Limit: 4, LimitBytes: 140 * rows}), all, took)
	b.beside(line{Name: "bootstrap by rows, end to end", Limit: 1.5, Note: "ceiling is the bulk insert of those rows in key order"},
		inserts, durations(all[b.ours.name]))
	if b.ours == served { // a hub on PostgreSQL prepares no files
		return nil
	}
	return b.w1Snapshot(stages, all, d)
}

// w2 uploads what an edge wrote while offline, until durable at the server.
func (b *bench) w2(stages []*stage) error {
	n := b.size(batch)
	all, err := b.turns(b.rounds, stages, func(round int, st *stage) (sample, error) {
		if _, err := st.edges[0].call(ask{Do: "write", Steps: n, Writer: 1 + round}); err != nil {
			return sample{}, err
		}
		if err := st.rest(); err != nil {
			return sample{}, err
		}
		s, err := b.measure(st, "push", "W2")
		if err != nil {
			return s, err
		}
		if _, err := st.edges[0].call(ask{Do: "settle"}); err != nil {
			return s, err
		}
		return s, b.same(st, "W2", 1)
	})
	if err != nil {
		return err
	}
	b.report(b.aim(line{Name: fmt.Sprintf("W2 upload %d transactions, %d row changes", n, n*stepRows), Limit: 6, LimitBytes: 210 * float64(n*stepRows)}), all, took)
	return nil
}

// w3 downloads what was written at the server, until applied; meanwhile the
// edge's write lock is watched, beside a raw upsert's into a file like it.
func (b *bench) w3(stages []*stage) (err error) {
	n := b.size(batch)
	plain, err := b.newRaw(b.size(seedSize))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, plain.close()) }()
	var upserts, held []time.Duration
	all, err := b.turns(b.rounds, stages, func(round int, st *stage) (sample, error) {
		stop, err := b.watchApply(st, plain, n, round, &upserts, &held)
		if err != nil {
			return sample{}, err
		}
		defer stop()
		if _, err := st.server.call(ask{Do: "write", Steps: n, Rows: st.rows, Writer: 1000 + round}); err != nil {
			return sample{}, err
		}
		if err := st.rest(); err != nil {
			return sample{}, err
		}
		s, err := b.measure(st, "pull", "W3")
		if err != nil {
			return s, err
		}
		return s, b.same(st, "W3", 1)
	})
	if err != nil {
		return err
	}
	b.report(b.aim(line{Name: fmt.Sprintf("W3 download %d changed rows", n*stepRows), Limit: 1.4, LimitBytes: 133 * float64(n*stepRows)}), all, took)
	b.beside(line{Name: fmt.Sprintf("apply of %d changed rows: write lock held", n*stepRows), Limit: 1.3, Note: "ceiling is the raw upsert of those rows"}, upserts, held)
	return nil
}

// watchApply measures the ceiling of one round of w3, then watches the newest
// edge's file until the returned function is called.
func (b *bench) watchApply(st *stage, plain *raw, n, round int, upserts, held *[]time.Duration) (func(), error) {
	if st.system != b.ours || b.inside { // a process must not watch its own locks
		return func() {}, nil
	}
	t, err := b.upsert(plain, steps(n, st.rows, 1000+round, 1))
	if err != nil {
		return nil, err
	}
	*upserts = append(*upserts, t)
	w, err := watchLock(st.file)
	if err != nil {
		return nil, err
	}
	return func() { *held = append(*held, w.longest()) }, nil
}

// w4 writes at one edge and waits until another one has it, again and again.
func (b *bench) w4(stages []*stage) error {
	for _, st := range stages {
		for i := range st.edges { // both up to date, the second follows
			if _, err := st.edges[i].call(ask{Do: "pull"}); err != nil {
				return err
			}
		}
		if _, err := st.edges[1].call(ask{Do: "live"}); err != nil {
			return err
		}
	}
	n := b.size(pokes)
	all, err := b.turns(n, stages, b.poke)
	if err != nil {
		return err
	}
	for _, st := range stages {
		if err := b.same(st, "W4", 2); err != nil {
			return err
		}
	}
	b.report(b.aim(line{Name: fmt.Sprintf("W4 live, A writes, B sees, %d times, p50", n), Limit: 1}), all, took)
	p95 := func(s []sample) float64 { return quantile(durations(s), 0.95).Seconds() }
	b.report(b.aim(line{Name: "W4 the same, p95"}), all, p95)
	return nil
}

// poke measures one change from A's BEGIN until it stands in B's file.
func (b *bench) poke(round int, st *stage) (s sample, err error) {
	seen := make(chan error, 1)
	var arrived reply
	go func() {
		var err error
		arrived, err = st.edges[1].call(ask{Do: "await"})
		seen <- err
	}()
	wrote, err := st.edges[0].call(ask{Do: "poke", Steps: round + 1, Writer: 2000})
	if err != nil {
		return s, err
	}
	if err := <-seen; err != nil {
		return s, err
	}
	s.took = time.Duration(arrived.Nanos[0] - wrote.Nanos[0])
	return s, nil
}

// w5 lets twenty edges push at once.
func (b *bench) w5(systems []system) (err error) {
	var stages []*stage
	defer func() {
		for _, st := range stages {
			err = errors.Join(err, st.close())
		}
	}()
	for _, s := range systems {
		st, err := b.open(s, max(b.size(crowdSeed), crowd*20)) // an order for every edge at the least
		if err != nil {
			return err
		}
		stages = append(stages, st)
		if err := b.join(st, crowd); err != nil {
			return err
		}
		if _, err := st.edges[0].call(ask{Do: "pull"}); err != nil {
			return err
		}
	}
	n := b.size(crowdWork)
	all, err := b.turns(b.rounds, stages, func(round int, st *stage) (sample, error) {
		if _, err := st.edges[0].call(ask{Do: "write", Steps: n, Writer: 1 + round*crowd}); err != nil {
			return sample{}, err
		}
		if err := st.rest(); err != nil {
			return sample{}, err
		}
		s, err := b.measure(st, "push", "W5")
		if err != nil {
			return s, err
		}
		_, err = st.edges[0].call(ask{Do: "settle"})
		return s, err
	})
	if err != nil {
		return err
	}
	for _, st := range stages {
		if _, err := st.edges[0].call(ask{Do: "pull"}); err != nil {
			return err
		}
		if err := b.same(st, "W5", 1); err != nil {
			return err
		}
	}
	rate := func(s []sample) float64 {
		return float64(crowd*n*stepRows) / took(s)
	}
	b.report(b.aim(line{Name: fmt.Sprintf("W5 %d edges push %d row changes each, rows/s", crowd, n*stepRows), Limit: 0.15, AtLeast: true, Unit: "rows/s"}), all, rate)
	b.report(b.aim(line{Name: "W5 the same, p95 of one edge's push"}), all, func(s []sample) float64 {
		var v []time.Duration
		for i := range s {
			v = append(v, s[i].each...)
		}
		return quantile(v, 0.95).Seconds()
	})
	return nil
}

// w6 syncs when nothing changed, on a connection that is already open.
func (b *bench) w6(stages []*stage) error {
	all, err := b.turns(b.rounds, stages, func(_ int, st *stage) (sample, error) {
		return b.measure(st, "idle", "W6")
	})
	if err != nil {
		return err
	}
	b.report(line{Name: "W6 sync when nothing changed", LimitEach: 200,
		Note: "a new session on the open connection; bytes of payload, on the socket " + last(all[b.ours.name]).socket + "; "}, all, took)
	return nil
}

func last(s []sample) sample {
	if len(s) == 0 {
		return sample{}
	}
	return s[len(s)-1]
}

// took is the median time in seconds.
func took(s []sample) float64 {
	return median(s, func(s sample) time.Duration { return s.took }).Seconds()
}
