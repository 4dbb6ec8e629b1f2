package demo

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/tidemark-sync/tidemark/internal/clock"
)

// Config says how the story is told.
type Config struct {
	Program string      // the tidemark binary; required
	Dir     string      // where everything is made, kept afterwards; "" means a temporary directory, removed afterwards
	Quick   bool        // no pauses for reading, and less work while offline
	Stay    bool        // afterwards the hub and the agents go on until the context ends
	Out     io.Writer   // the screen; required
	In      io.Reader   // each line cuts or restores the network after the story; nil for none
	Style   Style       // of the screen
	Clock   clock.Clock // required
	// Told is called with the outcome when the story has been told, before the hub
	// is left running. May be nil.
	Told func(*Report) error
}

// A Report is what came of the story.
type Report struct {
	Claims  []Claim `json:"claims"`
	True    bool    `json:"true"` // every claim was checked and is true
	Seconds float64 `json:"seconds"`
}

// ErrNotEmpty refuses a directory that holds something already.
var ErrNotEmpty = errors.New("the directory is not empty")

// Run tells the story. The end of ctx is an error while the story is told, and
// none while everything is left running after it. In any case no process of the
// story is left when Run returns.
func Run(ctx context.Context, cfg Config) (err error) {
	dir, clean, err := place(cfg.Dir)
	if err != nil {
		return err
	}
	t := &story{cfg: cfg, dir: dir, s: NewScreen(cfg.Out, cfg.Clock, cfg.Style),
		cast: &cast{program: cfg.Program, dir: dir, patience: endPatience}, shell: findShell(), begin: cfg.Clock.Now()}
	defer func() {
		if t.link != nil {
			t.link.Close()
		}
		err = errors.Join(err, t.cast.stopAll())
		if err != nil && !errors.Is(err, context.Canceled) {
			t.s.Say("")
			t.s.Say("Everything is kept for a look, with the logs of the hub and the agents, in %s", dir)
			return
		}
		err = errors.Join(err, clean())
		if t.held && err == nil {
			t.s.line("The hub and the agents are stopped.")
		}
	}()
	if err := t.tell(ctx); err != nil {
		return err
	}
	if !cfg.Stay {
		return nil
	}
	return t.hold(ctx)
}

// place makes the directory of the story, and says how to clean it up.
func place(dir string) (string, func() error, error) {
	if dir == "" {
		dir, err := os.MkdirTemp("", "tidemark-demo-")
		if err != nil {
			return "", nil, fmt.Errorf("make a directory for the demo: %w", err)
		}
		return dir, func() error { return os.RemoveAll(dir) }, nil
	}
	dir, err := filepath.Abs(dir)
	if err == nil {
		err = os.MkdirAll(dir, 0o700)
	}
	if err != nil {
		return "", nil, fmt.Errorf("make a directory for the demo: %w", err)
	}
	list, err := os.ReadDir(dir)
	if err != nil {
		return "", nil, fmt.Errorf("make a directory for the demo: %w", err)
	}
	if len(list) > 0 {
		return "", nil, fmt.Errorf("%s: %w", dir, ErrNotEmpty)
	}
	return dir, func() error { return nil }, nil
}

// tell tells the acts in their order.
func (t *story) tell(ctx context.Context) error {
	t.s.line(t.s.paint(bold, "Tidemark: two clinics, one hub, and a network that fails"))
	t.s.Say("Real processes, files and sockets, in %s", t.dir)
	if t.shell == "" {
		t.s.Say("(There is no sqlite3 shell here: the applications are built in.)")
	}
	for _, act := range []func(context.Context) error{t.serve, t.enrol, t.cut, t.offlineWork, t.restore, t.conflict, t.counter, t.compare} {
		if err := act(ctx); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return err
		}
	}
	took := t.cfg.Clock.Now().Sub(t.begin)
	r := &Report{Claims: t.s.Claims(), True: true, Seconds: took.Seconds()}
	t.s.line("")
	t.s.line(t.s.paint(bold, fmt.Sprintf("%d claims, each checked and true, in %s", len(r.Claims), span(took))))
	if t.cfg.Told == nil {
		return nil
	}
	return t.cfg.Told(r)
}

// hold leaves everything running until ctx ends.
func (t *story) hold(ctx context.Context) error {
	if err := t.agents(ctx); err != nil {
		return err
	}
	t.invite()
	lines := make(chan struct{})
	if t.cfg.In != nil {
		go func() { // ends with its input, or with the process
			for in := bufio.NewScanner(t.cfg.In); in.Scan(); {
				select {
				case lines <- struct{}{}:
				case <-ctx.Done():
					return
				}
			}
		}()
	}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			t.s.line("")
			t.held = true
			return nil
		case <-lines:
			t.toggle()
		case <-tick.C:
			if err := t.cast.alive(); err != nil {
				return err
			}
		}
	}
}

// toggle cuts or restores the network.
func (t *story) toggle() {
	if t.link.IsCut() {
		t.link.Restore()
		t.s.Say("The network is back; the agents find it at their next try.")
		return
	}
	t.link.Cut()
	t.s.Say("The network is cut. Enter restores it.")
}

// invite says what to try next.
func (t *story) invite() {
	t.s.line("")
	t.s.Say("The hub and both agents go on. Try, in another terminal:")
	t.s.line("")
	list := []string{
		"cd " + quoted(t.dir),
		"./tidemark status --data hub",
		"./tidemark status north.db",
		"./tidemark conflicts list --data hub",
		"./tidemark conflicts undo " + t.receipt + " --data hub",
	}
	if t.shell != "" {
		list = append(list,
			`sqlite3 north.db "UPDATE stock SET qty=qty-10 WHERE item='`+hotItem+`'"`,
			`sqlite3 south.db "SELECT qty FROM stock WHERE item='`+hotItem+`'"`)
	}
	for _, l := range list {
		t.s.line("     " + t.s.paint(cyan, l))
	}
	t.s.line("")
	t.s.Say("A third branch, filled and compared with the hub:")
	t.s.line("")
	for _, l := range []string{
		"./tidemark device add centre --scope branch/3 --scope all --data hub >token",
		"./tidemark join - centre.db <token",
		"./tidemark verify centre.db",
	} {
		t.s.line("     " + t.s.paint(cyan, l))
	}
	t.s.line("")
	if t.cfg.In != nil {
		t.s.Say("Enter cuts the network, and restores it.")
	}
	t.s.Say("Ctrl-C stops everything%s.", map[bool]string{true: " and removes the directory"}[t.cfg.Dir == ""])
}

// quoted is a path as a shell takes it.
func quoted(path string) string {
	if !strings.ContainsAny(path, " \t'\"\\$`&;|<>()*?[]#~!{}") {
		return path
	}
	return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
}
