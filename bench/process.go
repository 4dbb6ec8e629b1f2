package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime/debug"
	"runtime/pprof"
	"strings"

	"golang.org/x/sys/unix"
)

// An ask is one command to a role.
type ask struct {
	Do     string   // open, invite, write, push, settle, pull, fill, idle, live, poke, await, hash, bytes; the rest is the loop's own
	Dir    string   // where a role keeps its files
	Tokens []string // one for each edge to open, as the server's reply to invite gave them
	Rows   int      // size of the seed
	Steps  int      // change transactions
	Writer int      // which writer's
	Edges  int      // how many to invite
	Count  int      // for await: how many changes must have been seen
	Bare   bool     // open makes no file: fill does
	Rules  string   // the tables' part of tidemark.yaml
	Cores  int      // for a hub; 0: as many as there are
	Nanos  int64    // for work: how long
	Pace   float64  // transactions a second, of all devices together; 0: as fast as it goes
	DSN    string   // of the database that a hub is to serve; "" is a file in Dir
}

// A reply is what a role answers.
type reply struct {
	Err     string   `json:",omitempty"`
	Address string   `json:",omitempty"` // of the last opened edge's file
	Tokens  []string `json:",omitempty"`
	Hash    string   `json:",omitempty"`
	Rows    int64    `json:",omitempty"`
	Nanos   []int64  `json:",omitempty"` // durations, one per edge; or Unix times, one per change
	Up      int64    `json:",omitempty"` // bytes since open
	Down    int64    `json:",omitempty"`
	CPU     int64    `json:",omitempty"` // nanoseconds of user and system time of the process
	Peak    int64    `json:",omitempty"` // peak resident bytes of the process
}

// A role is what a child process can be. do is called one at a time.
type role interface {
	do(a ask) (reply, error)
	close() error
}

// roles lists every role by name.
var roles = map[string]func() role{
	"ruler server": func() role { return &rulerServer{} },
	"ruler edge":   func() role { return &rulerEdges{} },
	"hub":          func() role { return &hubRole{} },
	"edge":         func() role { return &edgeRole{} },
	"service":      func() role { return &serviceRole{} },
	"callers":      func() role { return &callerRole{} },
}

// A peer is a running role, as the parent sees it.
type peer struct {
	name string
	in   *json.Encoder
	out  *json.Decoder
	stop func() error
	pid  int // 0: it runs in this process
}

// start runs a role in a process of its own or, when inside, in this one (which
// makes CPU and memory of the two sides one).
func start(name string, inside bool) (*peer, error) {
	if inside {
		askR, askW := io.Pipe()
		replyR, replyW := io.Pipe()
		done := make(chan error, 1)
		go func() { done <- serve(roles[name](), askR, replyW) }()
		return &peer{name: name, in: json.NewEncoder(askW), out: json.NewDecoder(replyR),
			stop: func() error { _ = askW.Close(); return <-done }}, nil
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), roleVariable+"="+name)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	return &peer{name: name, in: json.NewEncoder(in), out: json.NewDecoder(out),
		stop: func() error { _ = in.Close(); return cmd.Wait() }, pid: cmd.Process.Pid}, nil
}

// roleVariable tells a child what to be.
const roleVariable = "TIDEMARK_BENCH_ROLE"

// call asks and waits for the answer.
func (p *peer) call(a ask) (reply, error) {
	var r reply
	if err := p.in.Encode(a); err != nil {
		return r, fmt.Errorf("%s: %s: %w", p.name, a.Do, err)
	}
	if err := p.out.Decode(&r); err != nil {
		return r, fmt.Errorf("%s: %s: %w", p.name, a.Do, err)
	}
	if r.Err != "" {
		return r, fmt.Errorf("%s: %s: %s", p.name, a.Do, r.Err)
	}
	return r, nil
}

// serve answers asks until the input ends.
func serve(r role, in io.Reader, out io.Writer) error {
	asks, replies := json.NewDecoder(in), json.NewEncoder(out)
	var profile *os.File
	for {
		var a ask
		if err := asks.Decode(&a); err != nil {
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return errors.Join(err, r.close())
		}
		var ans reply
		var err error
		switch a.Do {
		case "usage":
			ans.CPU, ans.Peak = usage()
		case "profile":
			profile, err = os.Create(a.Dir)
			if err == nil {
				err = pprof.StartCPUProfile(profile)
			}
		case "profiled":
			pprof.StopCPUProfile()
			err = profile.Close()
		case "rest": // the preparation's garbage and peak are not the workload's
			debug.FreeOSMemory()
			err = os.WriteFile("/proc/self/clear_refs", []byte("5"), 0)
		default:
			ans, err = r.do(a)
		}
		if err != nil {
			ans.Err = err.Error()
		}
		if err := replies.Encode(ans); err != nil {
			return errors.Join(err, r.close())
		}
	}
}

// usage is the CPU time of this process so far, and its peak resident bytes since
// the last rest.
func usage() (cpu, peak int64) {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return 0, 0
	}
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, 0
	}
	if _, after, ok := strings.Cut(string(status), "VmHWM:"); ok {
		_, _ = fmt.Sscanf(after, "%d", &peak) // stays 0, which shows in the table
	}
	return u.Utime.Nano() + u.Stime.Nano(), peak << 10
}

// top lists the functions that burn most in a CPU profile.
func top(file string) string {
	out, err := exec.Command("go", "tool", "pprof", "-top", "-nodecount=10", file).CombinedOutput()
	if err != nil {
		return "  " + err.Error()
	}
	return "  " + strings.ReplaceAll(strings.TrimSpace(string(out)), "\n", "\n  ")
}
