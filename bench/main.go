package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/pprof"
	"slices"
	"strings"
	"time"

	"github.com/tidemark-sync/tidemark/internal/pgtest"
)

// A bench is one run of everything asked for.
type bench struct {
	dir     string // scratch, on the disk that is measured
	scale   float64
	rounds  int
	only    []string // prefixes of names; empty is all
	profile string   // where CPU profiles go; "" is none
	json    bool
	inside  bool   // all roles in this process
	hub     string // what the hub's database is: sqlite, postgres or both
	disk    string // where the PostgreSQL server's directory is made
	out     io.Writer

	lines    []line
	profiles map[string][]string // files by workload
	files    int                 // how many b.file gave
	lap      time.Duration       // CPU of the last stopwatch
	ours     system              // what is measured beside the ruler
	label    string              // before the name of each line
	server   *pgtest.Postgres    // nil while none runs
}

func main() {
	if name := os.Getenv(roleVariable); name != "" {
		if err := serve(roles[name](), os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, name+":", err)
			os.Exit(1)
		}
		return
	}
	if err := command(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func command() error {
	only := flag.String("only", "", "run only what starts with one of these, comma separated: capture, apply, push, bytes, memory, W1 … W6, and on PostgreSQL also processes, cached, idle, load")
	on := flag.String("hub", "both", "the hub's database: sqlite, postgres or both")
	scale := flag.Float64("scale", 1, "size of everything, as a factor")
	rounds := flag.Int("rounds", 5, "rounds of each measurement; medians are compared")
	asJSON := flag.Bool("json", false, "print JSON instead of the table")
	profile := flag.String("profile", "", "write CPU profiles of the workloads into this directory, and show the top of each missed one")
	dir := flag.String("dir", "", "scratch directory; it decides which disk is measured")
	flag.Parse()
	if !slices.Contains([]string{"sqlite", "postgres", "both"}, *on) {
		return fmt.Errorf("-hub %s: it is sqlite, postgres or both", *on)
	}
	b := &bench{scale: *scale, rounds: *rounds, json: *asJSON, profile: *profile, hub: *on, disk: *dir, out: os.Stdout, profiles: map[string][]string{}, ours: tidemark}
	if b.disk == "" {
		b.disk = os.TempDir()
	}
	if *only != "" {
		b.only = strings.Split(*only, ",")
	}
	if b.profile != "" {
		if err := os.MkdirAll(b.profile, 0o700); err != nil {
			return err
		}
	}
	scratch, err := os.MkdirTemp(*dir, "tidemark-bench")
	if err != nil {
		return err
	}
	b.dir = scratch
	defer func() { _ = os.RemoveAll(scratch) }()
	return b.all()
}

// A part is a group of lines.
type part struct {
	name string
	run  func() error
}

// all runs what is wanted and prints it.
func (b *bench) all() error {
	if !b.json {
		b.printHead()
	}
	var err error
	if b.hub != "postgres" {
		err = b.each([]part{
			{"capture", b.capture},
			{"bytes", b.packing},
			{"push", b.push},
			{"W", func() error { return b.workloads([]system{ruler, tidemark}) }},
			{"memory", b.memory},
		})
	}
	if err == nil && b.hub != "sqlite" {
		err = b.onServer(func() error {
			return b.each([]part{
				{"capture", b.captureServed},
				{"push", b.pushServed},
				{"W", func() error { return b.workloads([]system{ruler, served}) }},
				{"cached", b.cached},
				{"processes", b.processes},
				{"idle", b.idle},
				{"load", b.load},
			})
		})
	}
	if err == nil && b.json {
		err = b.printJSON(b.out)
	}
	return err
}

// each runs the parts that are wanted.
func (b *bench) each(parts []part) error {
	for _, p := range parts {
		if !b.wanted(p.name) {
			continue
		}
		if err := b.profiled(p.name, p.run); err != nil {
			return fmt.Errorf("%s%s: %w", b.label, p.name, err)
		}
	}
	return nil
}

// profiled runs one part, with a CPU profile of this process when asked for, and
// shows where the time of a missed target goes. The workloads' profiles are those
// of their processes; see measure.
func (b *bench) profiled(part string, run func() error) error {
	if b.profile == "" || part == "W" {
		return run()
	}
	f, err := os.Create(filepath.Join(b.profile, part+".pprof"))
	if err != nil {
		return err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return errors.Join(err, f.Close())
	}
	first := len(b.lines)
	err = run()
	pprof.StopCPUProfile()
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	missed := slices.ContainsFunc(b.lines[first:], func(l line) bool { return l.Verdict == "MISS" })
	if missed && !b.json {
		fmt.Fprintln(b.out, top(f.Name()))
	}
	return nil
}

// wanted reports whether -only asks for something of this name, or for part of it.
func (b *bench) wanted(name string) bool {
	for _, o := range b.only {
		if strings.HasPrefix(name, o) || strings.HasPrefix(o, name) {
			return true
		}
	}
	return len(b.only) == 0
}

// size scales a number of rows or repetitions.
func (b *bench) size(n int) int { return max(int(float64(n)*b.scale), 1) }
