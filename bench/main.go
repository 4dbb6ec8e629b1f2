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
)

// A bench is one run of everything asked for.
type bench struct {
	dir     string // scratch, on the disk that is measured
	scale   float64
	rounds  int
	only    []string // prefixes of names; empty is all
	profile string   // where CPU profiles go; "" is none
	json    bool
	inside  bool // all roles in this process
	out     io.Writer

	lines    []line
	profiles map[string][]string // files by workload
	files    int                 // how many b.file gave
	lap      time.Duration       // CPU of the last stopwatch
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
	only := flag.String("only", "", "run only what starts with one of these, comma separated: capture, apply, push, bytes, memory, W1 … W6")
	scale := flag.Float64("scale", 1, "size of everything, as a factor")
	rounds := flag.Int("rounds", 5, "rounds of each measurement; medians are compared")
	asJSON := flag.Bool("json", false, "print JSON instead of the table")
	profile := flag.String("profile", "", "write CPU profiles of the workloads into this directory, and show the top of each missed one")
	dir := flag.String("dir", "", "scratch directory; it decides which disk is measured")
	flag.Parse()
	b := &bench{scale: *scale, rounds: *rounds, json: *asJSON, profile: *profile, out: os.Stdout, profiles: map[string][]string{}}
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

// all runs what is wanted and prints it.
func (b *bench) all() error {
	if !b.json {
		b.printHead()
	}
	for _, part := range []struct {
		name string
		run  func() error
	}{
		{"capture", b.capture},
		{"bytes", b.packing},
		{"push", b.push},
		{"W", func() error { return b.workloads([]system{ruler, tidemark}) }},
		{"memory", b.memory},
	} {
		if !b.wanted(part.name) {
			continue
		}
		if err := b.profiled(part.name, part.run); err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}
	}
	if b.json {
		return b.printJSON(b.out)
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
