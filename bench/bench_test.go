package main

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// tiny is a bench whose every workload takes milliseconds, in this process.
func tiny(t *testing.T, only ...string) (*bench, *bytes.Buffer) {
	t.Helper()
	var out bytes.Buffer
	return &bench{dir: t.TempDir(), scale: 0.005, rounds: 2, only: only, inside: true, hub: "sqlite", disk: os.TempDir(), out: &out, profiles: map[string][]string{}, ours: tidemark}, &out
}

func TestPartsRunAndHoldTheSameContent(t *testing.T) {
	for part, want := range map[string][]string{
		"capture": {"capture: bulk insert", "capture: bulk update, by key", "one-row commits, insert", "one-row commits, update"},
		"bytes":   {"bytes: a row", "bytes: encode", "bytes: decode"},
		"push":    {"push: hub ingests 10 transactions, 50 row changes"},
		"W":       {"W1 bootstrap 500 rows", "bootstrap by rows", "W1 bootstrap 500 rows, by snapshot", "bootstrap by snapshot file, cached", "preparing", "W2 upload", "W3 download", "W4 live", "W5 20 edges", "W6 sync"},
		"memory":  {"memory: hub"},
	} {
		t.Run(part, func(t *testing.T) {
			b, out := tiny(t, part)
			if err := b.all(); err != nil {
				t.Fatal(err)
			}
			for _, w := range want {
				i := slices.IndexFunc(b.lines, func(l line) bool { return strings.Contains(l.Name, w) })
				if i < 0 {
					t.Errorf("no line %q in\n%s", w, out)
					continue
				}
				if l := b.lines[i]; l.Measured <= 0 {
					t.Errorf("line %q measured nothing: %+v", w, l)
				}
			}
		})
	}
}

// A run must notice that the two sides differ.
func TestContentCheckFails(t *testing.T) {
	b, _ := tiny(t)
	st, err := b.open(ruler, 50)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := st.close(); err != nil {
			t.Error(err)
		}
	}()
	if err := b.join(st, 1); err != nil {
		t.Fatal(err)
	}
	if _, err := st.edges[0].call(ask{Do: "pull"}); err != nil {
		t.Fatal(err)
	}
	if err := b.same(st, "W1", 1); err != nil {
		t.Fatal(err)
	}
	if _, err := st.server.call(ask{Do: "write", Steps: 1, Rows: 50, Writer: 1}); err != nil {
		t.Fatal(err)
	}
	if err := b.same(st, "W1", 1); err == nil {
		t.Fatal("the edge lacks a transaction, and the content check passed")
	}
}

// The ratios mean nothing if two runs work on different rows.
func TestWorkloadIsDeterministic(t *testing.T) {
	if a, b := fmt.Sprint(seedRows(100)), fmt.Sprint(seedRows(100)); a != b {
		t.Error("two seeds differ")
	}
	if a, b := fmt.Sprint(steps(20, 100, 3, 1)), fmt.Sprint(steps(20, 100, 3, 1)); a != b {
		t.Error("one writer's steps differ")
	}
	if a, b := fmt.Sprint(steps(20, 100, 3, 1)), fmt.Sprint(steps(20, 100, 4, 1)); a == b {
		t.Error("two writers' steps are the same")
	}
}

// Edges of W5 must not meet in a row: the workload measures throughput, not
// conflicts.
func TestStridesKeepWritersApart(t *testing.T) {
	owner := map[string]int{}
	for w := range 20 {
		for _, s := range steps(50, 1000, w+1, 20) {
			if o, ok := owner[s.older]; ok && o != w {
				t.Fatalf("writers %d and %d both update %s", o, w, s.older)
			}
			owner[s.older] = w
		}
	}
}

func TestJudge(t *testing.T) {
	for _, c := range []struct {
		name string
		l    line
		want string
	}{
		{"no target", line{Ceiling: 1, Measured: 9}, ""},
		{"not measured", line{Limit: 1}, ""},
		{"reached", line{Limit: 2, Ceiling: 1, Measured: 2}, "ok"},
		{"too slow", line{Limit: 2, Ceiling: 1, Measured: 2.1}, "MISS"},
		{"fast enough", line{Limit: 0.15, AtLeast: true, Ceiling: 100, Measured: 20}, "ok"},
		{"too few", line{Limit: 0.15, AtLeast: true, Ceiling: 100, Measured: 14}, "MISS"},
		{"too many bytes", line{LimitBytes: 100, Measured: 1, Up: 60, Down: 41}, "MISS"},
		{"one way too many", line{LimitEach: 200, Measured: 1, Up: 201}, "MISS"},
		{"little CPU", line{LimitCPU: 2, CPURatio: 2, Measured: 1}, "ok"},
		{"too much CPU", line{LimitCPU: 2, CPURatio: 2.1, Measured: 1}, "MISS"},
		{"both ways together may", line{LimitEach: 200, Measured: 1, Up: 200, Down: 200}, "ok"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := &bench{json: true}
			b.add(c.l)
			if got := b.lines[0].Verdict; got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}
