package fleet

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/tidemark-sync/tidemark/internal/serve"
)

// A process is one hub: its directory, and what serves that.
type process struct {
	name  string
	dir   serve.HubDir
	cmd   *exec.Cmd     // nil unless started
	ended chan struct{} // closed when it has ended
	err   error         // why; valid after ended
}

// newProcess is the hub of a number, from 0, that was not started yet.
func newProcess(dir string, i int) *process {
	name := "hub"
	if i > 0 {
		name = fmt.Sprint("hub-", i+1)
	}
	return &process{name: name, dir: serve.HubDir(filepath.Join(dir, name))}
}

// goodbye is how long a hub may take to stop before it is killed.
const goodbye = time.Minute

// serve starts the hubs' processes. Each after the first has the keys of the first.
func (f *fleet) serve(ctx context.Context) error {
	for i, h := range f.hubs {
		if i > 0 {
			if err := twin(string(f.hubs[0].dir), string(h.dir)); err != nil {
				return fmt.Errorf("copy the keys of the first hub: %w", err)
			}
		}
		if err := h.start(ctx, f.Program, f.base.address()); err != nil {
			return err
		}
	}
	return nil
}

// twin makes a directory for one more hub on the database of the first.
func twin(first, dir string) error {
	for _, part := range []string{"tls", "seal.key", "parcel.key", "tidemark.yaml"} {
		err := filepath.WalkDir(filepath.Join(first, part), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			rel, err := filepath.Rel(first, path)
			if err != nil {
				return err
			}
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			to := filepath.Join(dir, rel)
			return errors.Join(os.MkdirAll(filepath.Dir(to), 0o700), os.WriteFile(to, text, 0o600))
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// start starts the hub, and waits until it is ready for devices. The address of its
// database goes by the environment, which other users of the machine do not see.
func (p *process) start(ctx context.Context, program, database string) error {
	log, err := os.Create(p.log())
	if err != nil {
		return err
	}
	c := exec.Command(program, "hub", "--data", string(p.dir))
	c.Stdout, c.Stderr, c.Dir = log, log, filepath.Dir(string(p.dir))
	if database != "" {
		c.Env = append(os.Environ(), serve.EnvDatabase+"="+database)
	}
	if err := c.Start(); err != nil {
		return errors.Join(err, log.Close())
	}
	p.cmd, p.ended = c, make(chan struct{})
	go func() {
		p.err = errors.Join(c.Wait(), log.Close())
		close(p.ended)
	}()
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	for !p.dir.Serving() {
		select {
		case <-p.ended:
			p.cmd = nil
			return fmt.Errorf("the %s ended: %w: %s", p.name, p.err, p.lastWords())
		case <-ctx.Done():
			return ctx.Err() // whoever started it stops it
		case <-look.C:
		}
	}
	return nil
}

func (p *process) log() string { return string(p.dir) + ".log" }

// lastWords is the end of what the hub wrote.
func (p *process) lastWords() string {
	text, err := os.ReadFile(p.log())
	if err != nil {
		return err.Error()
	}
	const enough = 1000
	return p.name + ".log ends with: " + strings.TrimSpace(string(text[max(0, len(text)-enough):]))
}

// stop ends the hub in order. It is safe to call twice.
func (p *process) stop() error {
	if p.cmd == nil {
		return nil
	}
	c := p.cmd
	p.cmd = nil
	err := c.Process.Signal(os.Interrupt)
	if errors.Is(err, os.ErrProcessDone) {
		err = nil // what Wait said tells why
	}
	late := time.AfterFunc(goodbye, func() { _ = c.Process.Kill() })
	defer late.Stop()
	<-p.ended
	if err := errors.Join(err, p.err); err != nil {
		return fmt.Errorf("the %s ended: %w: %s", p.name, err, p.lastWords())
	}
	return nil
}

// stop ends all hubs that run.
func (f *fleet) stop() error {
	var errs []error
	for _, h := range f.hubs {
		errs = append(errs, h.stop())
	}
	return errors.Join(errs...)
}

// memory is the most that any one of the hubs ever took, in bytes.
func (f *fleet) memory() (most int64) {
	for _, h := range f.hubs {
		if h.cmd != nil {
			most = max(most, peak(h.cmd.Process.Pid))
		}
	}
	return most
}
