package sim

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
)

// workers is how many histories are played at once.
const workers = 2

// A stripe is what one worker plays: every workers-th seed from first on.
type stripe struct {
	First    uint64
	Last     uint64
	Families Family // 0: those that each seed draws
	Server   bool   // the hub's database is on a PostgreSQL server, of the worker's own
}

// A verdict is what a worker says of one history, as a line of JSON.
type verdict struct {
	Seed   uint64
	Some   map[string]int `json:",omitempty"`
	Failed string         `json:",omitempty"`
}

const stripeVar, verdictMark = "TIDEMARK_SIM_STRIPE", "verdict "

// playAll plays a stripe's seeds on two workers and returns what they reached between them.
// Workers are processes of their own with one processor each: SQLite's
// memory allocator has one lock for a whole process, and two histories in one
// process wait for it half of the time. Under a coverage measurement, which ends
// at the process, they are goroutines.
func playAll(t *testing.T, whole stripe) (some map[string]int, failed int) {
	t.Helper()
	some = map[string]int{}
	var mu sync.Mutex
	take := func(v verdict) {
		mu.Lock()
		defer mu.Unlock()
		for what, c := range v.Some {
			some[what] += c
		}
		if v.Failed != "" {
			if failed++; failed <= 10 {
				t.Error(v.Failed)
			}
		}
	}
	var wg sync.WaitGroup
	for i := range uint64(workers) {
		part := whole
		part.First += i
		wg.Go(func() {
			if testing.CoverMode() != "" || whole.Last-whole.First < 20 {
				if err := part.play(take); err != nil {
					t.Errorf("worker from seed %d: %v", part.First, err)
				}
			} else if err := part.apart(take); err != nil {
				t.Errorf("worker from seed %d: %v", part.First, err)
			}
		})
	}
	wg.Wait()
	return some, failed
}

func (s stripe) play(take func(verdict)) (err error) {
	var at *server
	if s.Server {
		if at, err = newServer(context.Background()); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, at.Close()) }()
	}
	for seed := s.First; seed <= s.Last; seed += workers {
		d, err := os.MkdirTemp(dirBase(), "tidemark-sim")
		if err != nil {
			return err
		}
		opt := Options{Seed: seed, Dir: d, Families: s.Families}
		if at != nil {
			opt.base = at.base(seed)
		}
		res, err := Run(opt)
		v := verdict{Seed: seed, Some: res.Sometimes}
		if err != nil {
			v.Failed = shorten(err)
		}
		_ = os.RemoveAll(d)
		take(v)
	}
	return nil
}

// apart plays a stripe in a process of its own.
func (s stripe) apart(take func(verdict)) error {
	js, err := json.Marshal(s)
	if err != nil {
		return err
	}
	cmd := exec.Command(os.Args[0], "-test.run", "^TestWorker$", "-test.timeout", "24h")
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1", stripeVar+"="+string(js))
	var trouble bytes.Buffer
	cmd.Stderr = &trouble
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	var rest []string
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		js, ok := strings.CutPrefix(lines.Text(), verdictMark)
		if !ok {
			rest = append(rest, lines.Text())
			continue
		}
		var v verdict
		if err := json.Unmarshal([]byte(js), &v); err != nil {
			return err
		}
		take(v)
	}
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("%w\n%s\n%s", err, strings.Join(rest, "\n"), trouble.String())
	}
	return lines.Err()
}

// TestWorker is what a worker process runs. By itself, without a stripe, it plays one seed.
func TestWorker(t *testing.T) {
	s := stripe{First: 1, Last: 1}
	if js := os.Getenv(stripeVar); js != "" {
		if err := json.Unmarshal([]byte(js), &s); err != nil {
			t.Fatal(err)
		}
	}
	err := s.play(func(v verdict) {
		js, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stdout.WriteString(verdictMark + string(js) + "\n"); err != nil {
			t.Fatal(err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
}
