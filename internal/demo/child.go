package demo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// endPatience is how long a process may take to end in order.
const endPatience = 5 * time.Second

// A cast starts this binary's verbs as processes in one directory, and ends
// those that go on.
type cast struct {
	program  string
	dir      string
	patience time.Duration // how long a process may take to end in order
	list     []*child      // that go on, in the order of their start
}

// A child is a process that goes on until it is stopped.
type child struct {
	name string
	verb []string
	log  string
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
	err  error         // how it ended; read after done
}

// start starts a process that goes on. Its output goes to NAME.log.
func (c *cast) start(name string, verb ...string) error {
	k := &child{name: name, verb: verb, log: filepath.Join(c.dir, name+".log"), done: make(chan struct{})}
	out, err := os.OpenFile(k.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("start %s: %w", name, err)
	}
	k.cmd = exec.Command(c.program, verb...)
	k.cmd.Dir, k.cmd.Stdout, k.cmd.Stderr = c.dir, out, out
	started := make(chan error)
	go func() {
		k.err = live(k.cmd, started)
		_ = out.Close() // only the child wrote to it
		close(k.done)
	}()
	if err := <-started; err != nil {
		<-k.done
		return fmt.Errorf("start %s: %w", name, err)
	}
	c.list = append(c.list, k)
	return nil
}

// live runs a process from its start to its end. On Linux a child is bound to
// the life of the thread that started it, so that thread stays until the child
// has ended.
func live(cmd *exec.Cmd, started chan<- error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd.SysProcAttr = bound()
	err := cmd.Start()
	started <- err
	if err != nil {
		return err
	}
	return cmd.Wait()
}

// run runs one verb to its end and returns its standard output. An exit code
// other than 0 is an error that holds what the verb said.
func (c *cast) run(ctx context.Context, input string, verb ...string) ([]byte, error) {
	return run(ctx, c.dir, input, c.program, verb...)
}

func run(ctx context.Context, dir, input, program string, args ...string) ([]byte, error) {
	var out, said bytes.Buffer
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir, cmd.Stdin, cmd.Stdout, cmd.Stderr = dir, strings.NewReader(input), &out, &said
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGINT) }
	cmd.WaitDelay = endPatience
	started, ended := make(chan error, 1), make(chan error, 1)
	go func() { ended <- live(cmd, started) }()
	err := <-ended
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil {
		name := filepath.Base(program)
		return out.Bytes(), fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, tail(said.String()+out.String(), 12))
	}
	return out.Bytes(), nil
}

// alive returns an error when a process that should go on has ended.
func (c *cast) alive() error {
	for _, k := range c.list {
		select {
		case <-k.done:
			raw, _ := os.ReadFile(k.log) // the end itself is the news
			return fmt.Errorf("tidemark %s ended by itself: %w\n%s", strings.Join(k.verb, " "), errors.Join(k.err, errEnded), tail(string(raw), 12))
		default:
		}
	}
	return nil
}

var errEnded = errors.New("it should have gone on")

// stop ends one process in order.
func (c *cast) stop(name string) error {
	for i := len(c.list) - 1; i >= 0; i-- {
		if k := c.list[i]; k.name == name {
			c.list = append(c.list[:i], c.list[i+1:]...)
			return k.stop(c.patience)
		}
	}
	return nil
}

// stopAll ends every process, the last started first: agents before their hub.
func (c *cast) stopAll() error {
	var errs []error
	for len(c.list) > 0 {
		errs = append(errs, c.stop(c.list[len(c.list)-1].name))
	}
	return errors.Join(errs...)
}

// stop asks the process to end, and ends it when it does not.
func (k *child) stop(patience time.Duration) error {
	_ = k.cmd.Process.Signal(syscall.SIGINT) // it may have ended already
	t := time.NewTimer(patience)
	defer t.Stop()
	select {
	case <-k.done:
	case <-t.C:
		_ = k.cmd.Process.Kill()
		<-k.done
		return fmt.Errorf("stop %s: it did not end within %v, and was killed", k.name, patience)
	}
	var exit *exec.ExitError
	if errors.As(k.err, &exit) {
		// It had not come so far as to listen to signals: nothing had begun.
		if w, ok := exit.Sys().(syscall.WaitStatus); ok && w.Signaled() && w.Signal() == syscall.SIGINT {
			return nil
		}
	}
	if k.err != nil {
		return fmt.Errorf("stop %s: %w", k.name, k.err)
	}
	return nil
}

// tail is the last n lines of a text, indented.
func tail(text string, n int) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return "  " + strings.Join(lines[max(len(lines)-n, 0):], "\n  ")
}
