package ward

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Patience is how long a server may take to start or to stop.
const Patience = 60 * time.Second

// watch waits until its input ends and then ends what the pid files name, if it is
// still what it was: a process that has the directory on its command line. The number is
// a file's first line, so that PostgreSQL's own file will do.
const watch = `cat >/dev/null
for f in "$1"/*.pid; do
	[ -f "$f" ] || continue
	pid=$(head -n 1 "$f")
	grep -qsF "$1" "/proc/$pid/cmdline" || continue
	kill -QUIT "$pid"
	for i in 1 2 3 4 5 6 7 8 9 10; do kill -0 "$pid" 2>/dev/null || break; sleep 0.2; done
	grep -qsF "$1" "/proc/$pid/cmdline" && kill -KILL "$pid"
done
rm -rf "$1"`

// A Den is a directory in which servers of one test binary, or of one test, live.
type Den struct {
	Path string // in memory where the machine allows it and nobody chose; short, as socket names must be
	who  *syscall.Credential
	pipe io.Closer
	dog  *exec.Cmd
	once sync.Once
}

// Open makes a den. Servers in it run as the named user when the caller is root,
// whom some servers refuse, and as the caller otherwise.
func Open(name string) (*Den, error) {
	base := "/dev/shm"
	if s, err := os.Stat(base); err != nil || !s.IsDir() {
		base = os.TempDir()
	}
	return OpenIn(base, name)
}

// OpenIn is Open below a directory of the caller's choice, which the named user must be
// able to reach: for whom it matters what disk the servers write to.
func OpenIn(base, name string) (*Den, error) {
	path, err := os.MkdirTemp(base, "tidemark-")
	if err != nil {
		return nil, fmt.Errorf("make a directory for a test's servers: %w", err)
	}
	d := &Den{Path: path}
	if err := d.settle(name); err != nil {
		return nil, errors.Join(err, os.RemoveAll(path))
	}
	return d, nil
}

func (d *Den) settle(name string) error {
	if os.Getuid() == 0 {
		u, err := user.Lookup(name)
		if err != nil {
			return fmt.Errorf("%w: run scripts/setup, which installs the servers that tests need", err)
		}
		uid, err := strconv.ParseUint(u.Uid, 10, 32)
		if err != nil {
			return err
		}
		gid, err := strconv.ParseUint(u.Gid, 10, 32)
		if err != nil {
			return err
		}
		d.who = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		if err := os.Chown(d.Path, int(uid), int(gid)); err != nil {
			return err
		}
	}
	d.dog = exec.Command("/bin/sh", "-c", watch, "ward", d.Path)
	d.dog.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // a signal to the tests' group is not for it
	in, err := d.dog.StdinPipe()
	if err != nil {
		return err
	}
	d.pipe = in
	return d.dog.Start()
}

// Close ends every server in the den, and removes it. It is safe to call twice.
func (d *Den) Close() error {
	var err error
	d.once.Do(func() { err = errors.Join(d.pipe.Close(), d.dog.Wait()) })
	return err
}

// File writes a file that the servers can read, and returns its path.
func (d *Den) File(name, text string) (string, error) {
	path := filepath.Join(d.Path, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return "", err
	}
	if d.who != nil {
		return path, os.Chown(path, int(d.who.Uid), int(d.who.Gid))
	}
	return path, nil
}

// Run runs a command to its end as the den's user, and returns what it said when it
// went wrong.
func (d *Den) Run(ctx context.Context, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Env = d.Path, environ()
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: d.who}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", filepath.Base(name), err, out)
	}
	return nil
}

// environ is the environment without what would point a client or a server elsewhere.
func environ() []string {
	var out []string
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, "PG") {
			out = append(out, e)
		}
	}
	return out
}

// Find returns the path of a server's program: the first of the names that exists.
func Find(names ...string) (string, error) {
	for _, n := range names {
		list, err := filepath.Glob(n)
		if err == nil && len(list) > 0 {
			return list[len(list)-1], nil
		}
		if path, err := exec.LookPath(n); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("%s is not installed: run scripts/setup, which installs the servers that tests need", names[len(names)-1])
}
