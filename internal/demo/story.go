package demo

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/tidemark-sync/tidemark/internal/cable"
)

// A story is one telling of the demo.
type story struct {
	cfg   Config
	dir   string
	shell string
	s     *Screen
	cast  *cast
	link  *cable.Link
	begin time.Time

	hub, north, south *app

	visits  int64      // at the hub before the network was cut
	stock   int64      // of the hot item, likewise
	bytes   int64      // that had passed the network when it was cut
	done    [2]offline // at north and at south
	phone   string     // of the hot patient, before
	held    bool       // everything was left running
	receipt string     // of the conflict
}

// offline is what one branch did while the network was cut.
type offline struct {
	tx    int64 // transactions
	sold  int64 // of the hot item
	phone string
}

const (
	readingTime = 2500 * time.Millisecond // after each act
	glance      = 500 * time.Millisecond
)

// serve makes a clinic's database and starts a hub with it.
func (t *story) serve(ctx context.Context) error {
	t.s.Act("An ordinary SQLite file becomes a hub")
	if err := makeClinic(t.dir); err != nil {
		return err
	}
	if err := t.write(rulesFile, rules); err != nil {
		return err
	}
	if err := os.Symlink(t.cfg.Program, filepath.Join(t.dir, "tidemark")); err != nil {
		return fmt.Errorf("put tidemark beside the files: %w", err)
	}
	clinic := &app{dir: t.dir, file: clinicFile, shell: t.shell}
	before, err := counts(ctx, clinic)
	if err != nil {
		return err
	}
	t.s.Say("%s: %s patients, %s visits, %s stock items, in %s branches", clinicFile,
		count(before.patients), count(before.visits), count(before.items), count(before.branches))
	t.s.Say("%s:", rulesFile)
	t.s.Block(rules)
	t.s.Command("tidemark hub --config tidemark.yaml --import clinic.db --data hub", "--listen 127.0.0.1:0")
	if err := t.cast.start("hub", "hub", "--config", rulesFile, "--import", clinicFile, "--data", "hub", "--listen", "127.0.0.1:0"); err != nil {
		return err
	}
	var h hubState
	err = t.until(ctx, "the hub serves", func() (bool, error) {
		if _, err := os.Stat(filepath.Join(t.dir, "hub", "endpoint.json")); err != nil {
			return false, nil //nolint:nilerr // not there yet: asked again
		}
		err := t.ask(ctx, &h, "status", "--data", "hub")
		return h.State == "listening", err
	})
	if err != nil {
		return err
	}
	t.hub = &app{dir: t.dir, file: filepath.Join("hub", "hub.db"), shell: t.shell}
	after, err := counts(ctx, t.hub)
	if err != nil {
		return err
	}
	if err := t.s.Claim(after == before, "it serves at %s, with all %s rows of %s", h.URL, count(after.rows()), clinicFile); err != nil {
		return err
	}
	at, err := url.Parse(h.URL)
	if err != nil {
		return fmt.Errorf("read where the hub listens: %w", err)
	}
	t.link, err = cable.New(at.Host)
	return errors.Join(err, t.beat(ctx, readingTime))
}

func (t *story) write(name, text string) error {
	if err := os.WriteFile(filepath.Join(t.dir, name), []byte(text), 0o600); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}

// tally is how many rows a file holds.
type tally struct{ branches, patients, visits, items int64 }

func (n tally) rows() int64 { return n.branches + n.patients + n.visits + n.items }

func counts(ctx context.Context, a *app) (n tally, err error) {
	for _, c := range []struct {
		table string
		n     *int64
	}{{"branch", &n.branches}, {"patient", &n.patients}, {"visit", &n.visits}, {"stock", &n.items}} {
		if *c.n, err = a.number(ctx, "SELECT count(*) FROM "+c.table); err != nil {
			return n, err
		}
	}
	return n, nil
}

// enrol lets two branches join, and starts their agents.
func (t *story) enrol(ctx context.Context) error {
	t.s.Act("Two branches join; each gets its own patients and the shared ones")
	t.s.Say("They reach the hub over a network that this demo can cut: %s", t.link.Addr())
	t.north = &app{dir: t.dir, file: "north.db", shell: t.shell}
	t.south = &app{dir: t.dir, file: "south.db", shell: t.shell}
	for i, b := range []struct {
		name   string
		branch int
		a      *app
	}{{"north", north, t.north}, {"south", south, t.south}} {
		if err := t.join(ctx, b.name, b.branch, b.a, i == 0); err != nil {
			return err
		}
	}
	t.s.Command("tidemark edge north.db")
	t.s.Command("tidemark edge south.db")
	if err := t.agents(ctx); err != nil {
		return err
	}
	if err := t.s.Claim(true, "both agents say: online"); err != nil {
		return err
	}
	return errors.Join(t.live(ctx), t.beat(ctx, readingTime))
}

// agents starts the agents of both files, and waits until both are online.
func (t *story) agents(ctx context.Context) error {
	err := errors.Join(t.cast.start("north", "edge", t.north.file), t.cast.start("south", "edge", t.south.file))
	if err != nil {
		return err
	}
	return t.until(ctx, "both agents are online", func() (bool, error) {
		n, s, err := t.status(ctx)
		return n.Agent.State == "online" && s.Agent.State == "online", err
	})
}

func (t *story) join(ctx context.Context, name string, branch int, a *app, show bool) error {
	add := []string{"device", "add", name, "--scope", fmt.Sprintf("branch/%d", branch), "--scope", fmt.Sprintf("branch/%d", centre),
		"--scope", "all", "--data", "hub", "--url", "https://" + t.link.Addr()}
	if show {
		t.s.Command(append([]string{"tidemark"}, append(add, ">token")...)...)
		t.s.Command("tidemark join - north.db <token")
		t.s.Say("(and the same for south, which is branch %d)", south)
	}
	token, err := t.cast.run(ctx, "", add...)
	if err != nil {
		return err
	}
	start := t.cfg.Clock.Now()
	if _, err := t.cast.run(ctx, string(token), "join", "-", a.file); err != nil {
		return err
	}
	took := t.cfg.Clock.Now().Sub(start)
	has, err := counts(ctx, a)
	if err != nil {
		return err
	}
	// What it ought to have, asked of the hub's own database.
	mine := fmt.Sprintf("(SELECT id FROM patient WHERE branch_id IN (%d,%d))", branch, centre)
	want := tally{}
	for sql, n := range map[string]*int64{
		"SELECT count(*) FROM branch": &want.branches, "SELECT count(*) FROM stock": &want.items,
		"SELECT count(*) FROM " + mine: &want.patients, "SELECT count(*) FROM visit WHERE patient_id IN " + mine: &want.visits,
	} {
		if *n, err = t.hub.number(ctx, sql); err != nil {
			return err
		}
	}
	return t.s.Claim(has == want, "%s filled in %s: %s of %s patients, %s visits, stock", a.file, span(took),
		count(has.patients), count(patients), count(has.visits))
}

// live shows how long an edit takes from one branch to the other.
func (t *story) live(ctx context.Context) error {
	const note = "prefers mornings"
	sql := fmt.Sprintf("UPDATE patient SET note='%s' WHERE id='%s'", note, hotPatient)
	t.s.SQL("north", sql)
	if err := t.north.write(ctx, sql); err != nil {
		return err
	}
	start := t.cfg.Clock.Now()
	var seen time.Duration
	err := t.until(ctx, "south reads what north wrote", func() (bool, error) {
		got, err := t.south.text(ctx, "SELECT coalesce(note,'') FROM patient WHERE id='"+hotPatient+"'")
		seen = t.cfg.Clock.Now().Sub(start)
		return got == note, err
	})
	if err != nil {
		return err
	}
	return t.s.Claim(true, "south read it in its own file %s later", span(seen))
}

// cut cuts the network.
func (t *story) cut(ctx context.Context) (err error) {
	t.s.Act("The network is cut")
	if t.visits, err = t.hub.number(ctx, "SELECT count(*) FROM visit"); err != nil {
		return err
	}
	if t.stock, err = t.hub.number(ctx, stockSQL); err != nil {
		return err
	}
	t.link.Cut()
	start := t.cfg.Clock.Now()
	err = t.until(ctx, "both agents notice", func() (bool, error) {
		n, s, err := t.status(ctx)
		return n.Agent.State == "offline" && s.Agent.State == "offline", err
	})
	if err != nil {
		return err
	}
	up, down := t.link.Bytes()
	t.bytes = up + down
	err = t.s.Claim(true, "both agents say: offline, %s later", span(t.cfg.Clock.Now().Sub(start)))
	return errors.Join(err, t.beat(ctx, glance))
}

const stockSQL = "SELECT qty FROM stock WHERE item='" + hotItem + "'"
