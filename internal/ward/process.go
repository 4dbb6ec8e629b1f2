package ward

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// A Process is one running server of a den. Its command line must name the den's
// directory, for that is how the watchdog knows it. Its methods may be called
// concurrently.
type Process struct {
	den  *Den
	name string
	args []string

	mu   sync.Mutex
	cmd  *exec.Cmd     // guarded by mu; nil when it is not running
	gone chan struct{} // closed when cmd has ended
}

// Start starts a server, and returns when ready says nil.
func (d *Den) Start(ctx context.Context, name string, ready func(context.Context) error, args ...string) (*Process, error) {
	p := &Process{den: d, name: name, args: args}
	return p, p.Start(ctx, ready)
}

// Start starts the server again after Kill or Stop, and returns when ready says nil.
func (p *Process) Start(ctx context.Context, ready func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, Patience)
	defer cancel()
	gone, err := p.launch()
	if err != nil {
		return err
	}
	look := time.NewTicker(10 * time.Millisecond)
	defer look.Stop()
	for {
		err := ready(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-gone:
			return fmt.Errorf("%s ended at once: %s", filepath.Base(p.name), p.Log())
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("%s does not answer: %w: %s", filepath.Base(p.name), err, p.Log()), p.Kill())
		case <-look.C:
		}
	}
}

func (p *Process) launch() (gone chan struct{}, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd != nil {
		return nil, fmt.Errorf("%s is running already", p.name)
	}
	log, err := os.OpenFile(p.logPath(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }() // the server has its own handle
	cmd := exec.Command(p.name, p.args...)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = p.den.Path, environ(), log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: p.den.who, Setsid: true}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	done := make(chan struct{})
	p.cmd, p.gone = cmd, done
	go func() {
		_ = cmd.Wait() // how it ended is in its log
		close(done)
	}()
	return done, os.WriteFile(p.pidPath(), []byte(strconv.Itoa(cmd.Process.Pid)), 0o600)
}

func (p *Process) base() string {
	return filepath.Join(p.den.Path, filepath.Base(p.name)+"-"+strconv.FormatUint(hash(p.args), 36))
}
func (p *Process) pidPath() string { return p.base() + ".pid" }
func (p *Process) logPath() string { return p.base() + ".log" }

// hash tells two servers of one program apart (FNV-1a).
func hash(args []string) uint64 {
	h := uint64(14695981039346656037)
	for _, b := range []byte(strings.Join(args, "\x00")) {
		h = (h ^ uint64(b)) * 1099511628211
	}
	return h
}

// Log is what the server wrote, at most its last 4 KiB.
func (p *Process) Log() string {
	b, err := os.ReadFile(p.logPath())
	if err != nil {
		return err.Error()
	}
	return string(b[max(0, len(b)-4096):])
}

// Pid is the server's process id, 0 when it is not running.
func (p *Process) Pid() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return 0
	}
	return p.cmd.Process.Pid
}

// Kill ends the server and its children at once, as a power cut would, and returns
// when they are gone. One that is not running is left as it is.
func (p *Process) Kill() error { return p.end(syscall.SIGKILL) }

// Stop asks the server to end with a signal and waits until it has.
func (p *Process) Stop(s syscall.Signal) error { return p.end(s) }

func (p *Process) end(s syscall.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return nil
	}
	pid := p.cmd.Process.Pid
	var also []int
	if s == syscall.SIGKILL {
		also = Children(pid)
	}
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	for _, c := range also {
		_ = syscall.Kill(c, s) // it may have gone with its parent
	}
	wait := time.NewTimer(Patience)
	defer wait.Stop()
	select {
	case <-p.gone:
	case <-wait.C:
		return fmt.Errorf("%s, process %d, does not end: %s", filepath.Base(p.name), pid, p.Log())
	}
	p.cmd = nil
	return os.Remove(p.pidPath())
}

// Children are the processes that a process started itself, and that still run.
func Children(pid int) []int {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return nil
	}
	var out []int
	for _, f := range strings.Fields(string(b)) {
		if n, err := strconv.Atoi(f); err == nil {
			out = append(out, n)
		}
	}
	return out
}
