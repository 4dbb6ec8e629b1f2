package run

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/tidemark-sync/tidemark/internal/clock"
	"github.com/tidemark-sync/tidemark/internal/config"
	"github.com/tidemark-sync/tidemark/internal/edge"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
	"github.com/tidemark-sync/tidemark/internal/wire"
	"github.com/tidemark-sync/tidemark/internal/wire/transport"
)

// offsetMuch is from when on a clock is worth a warning; the hub believes no
// device that is further ahead than a minute.
const offsetMuch = 30 * time.Second

// CheckFile looks at an edge's file, its machine, and its way to the hub.
func CheckFile(ctx context.Context, e Edge) []Finding {
	c := &checkup{}
	c.file(e.File)
	c.disk(e.File)
	c.engines(ctx)
	id, err := ReadIdentity(e.File)
	switch {
	case errors.Is(err, ErrNotJoined):
		c.add("enrolled", Note, "tidemark join TOKEN "+e.File, "the file is not enrolled with a hub")
		return c.list
	case err != nil:
		c.add("enrolled", Bad, "", "%v", err)
		return c.list
	}
	c.add("enrolled", Good, "", "as %s with %s", id.Name, id.URL)
	c.capture(ctx, e)
	c.hub(ctx, e, id)
	return c.list
}

// capture looks at what Tidemark keeps in the file.
func (c *checkup) capture(ctx context.Context, e Edge) {
	s, err := FileStatus(ctx, e)
	if err != nil {
		c.add("capture", Bad, judge(err).hint, "%v", err)
		return
	}
	if s.Agent.Running {
		c.add("agent", Good, "", "%s", s.Agent.State)
	} else {
		c.add("agent", Note, "tidemark edge "+e.File, "no agent is running")
	}
	if s.OutboxDepth > 0 {
		c.add("unsafe", Note, "", "%d transactions are not at the hub yet, the oldest %s old", s.OutboxDepth, time.Duration(s.OldestUnsafe*float64(time.Second)).Round(time.Second))
	}
	if o := time.Duration(s.ClockOffset * float64(time.Second)); o.Abs() > offsetMuch {
		c.add("clock", Warn, "set the clock, or run an NTP client; the hub corrects for it as far as it can", "this machine's clock is %s off the hub's", o.Round(time.Second))
	} else {
		c.add("clock", Good, "", "within %s of the hub's", offsetMuch)
	}
	c.drift(e)
}

// drift asks whether the tables still are what capture was built for.
func (c *checkup) drift(e Edge) {
	var d *edge.Drift
	err := e.inside(func(eng *edge.Engine) (err error) {
		d, err = eng.CheckDrift()
		return err
	})
	if err != nil {
		c.add("drift", Bad, judge(err).hint, "%v", err)
		return
	}
	if len(d.Missing) > 0 {
		c.add("drift", Bad, "restore the tables, or take them out of tidemark.yaml at the hub", "synced tables are missing: %s", strings.Join(d.Missing, ", "))
	}
	if len(d.Gap) > 0 {
		c.add("drift", Warn, "tidemark verify "+e.File+" compares them with the hub", "some writes may not have been captured in: %s", strings.Join(d.Gap, ", "))
	}
	if len(d.Repaired) > 0 {
		c.add("drift", Note, "", "capture was made anew: %s", strings.Join(d.Repaired, ", "))
	}
	for _, n := range d.Notes {
		c.add("drift", Note, "", "%s", n)
	}
	if len(d.Missing)+len(d.Gap)+len(d.Repaired)+len(d.Notes) == 0 {
		c.add("drift", Good, "", "the tables are what capture was built for")
	}
}

// greeting is a session that ends with the hub's first word.
type greeting struct {
	hello   *wire.Hello
	welcome *wire.Welcome
}

func (g *greeting) Start(_ context.Context, emit func(wire.Message) error) error {
	return emit(g.hello)
}

func (g *greeting) Receive(_ context.Context, m wire.Message, _ func(wire.Message) error) error {
	switch m := m.(type) {
	case *wire.Welcome:
		g.welcome = m
		return errDone
	case *wire.Fault:
		return m
	}
	return nil
}

const reachTimeout = 10 * time.Second

// hub asks whether the hub answers, and lets this device in.
func (c *checkup) hub(ctx context.Context, e Edge, id *Identity) {
	ctx, stop := context.WithTimeout(ctx, reachTimeout)
	defer stop()
	g := &greeting{}
	err := e.inside(func(eng *edge.Engine) error {
		dev, inc := eng.Identity()
		g.hello = &wire.Hello{Min: wire.MinProtocol, Max: wire.MaxProtocol, Agent: e.Agent, Device: dev, Incarnation: inc, Clock: e.Clock.Now()}
		if s := eng.Setup(); s != nil {
			g.hello.Schema, g.hello.Rules = s.Schema.Hash(), s.Hash
		}
		return nil
	})
	if err != nil {
		return // capture told of it
	}
	o, err := e.options(id)
	if err != nil {
		c.add("key", Bad, "restore "+SideDir(e.File)+", or detach and join again", "%v", err)
		return
	}
	o.DialTimeout = reachTimeout
	err = transport.Dial(ctx, o, g)
	switch {
	case errors.Is(err, errDone):
		c.add("hub", Good, "", "%s answers and lets this device in", g.welcome.Hub)
	case judge(err).state == StateRefused:
		c.add("hub", Bad, judge(err).hint, "%v", err)
	case err == nil:
		c.add("hub", Warn, "work is kept until it answers", "%s does not answer within %s", id.URL, reachTimeout)
	default:
		c.add("hub", Warn, "check that the hub runs, its address, and what is in between ("+hostOf(id.URL)+"); work is kept until then", "%v", err)
	}
}

func hostOf(s string) string {
	u, err := url.Parse(s)
	if err != nil {
		return s
	}
	return u.Host
}

// CheckHub looks at a hub's data directory.
func CheckHub(ctx context.Context, dir HubDir, now clock.Clock) []Finding {
	c := &checkup{}
	if err := dir.exists(); err != nil {
		c.add("data", Bad, "tidemark hub --config tidemark.yaml --import APP.db makes one", "%v", err)
		return c.list
	}
	c.file(dir.DB())
	c.disk(dir.DB())
	c.engines(ctx)
	conf, err := loadConfig(dir.Config())
	if err == nil {
		err = CheckConfig(conf, dir.DB())
	}
	if err != nil {
		c.add("config", Bad, "tidemark config reference explains every key", "%v", err)
	} else {
		c.add("config", Good, "", "%d tables sync", len(conf.Tables.Tables))
	}
	at, err := dir.ReadEndpoint()
	switch {
	case !dir.Serving():
		c.add("serving", Note, "tidemark hub --data "+string(dir), "nobody serves this directory now")
	case err != nil:
		c.add("serving", Bad, "", "%v", err)
	default:
		c.reach(ctx, at.URL)
	}
	return c.list
}

// reach asks whether a hub's own address leads to anything.
func (c *checkup) reach(ctx context.Context, at string) {
	d := net.Dialer{Timeout: reachTimeout}
	conn, err := d.DialContext(ctx, "tcp", hostOf(at))
	if err != nil {
		c.add("serving", Bad, "hub.url of tidemark.yaml must lead here, from where the devices are", "%s cannot be reached from here: %v", at, err)
		return
	}
	_ = conn.Close()
	c.add("serving", Good, "", "at %s", at)
}

// CheckConfig compares a configuration with the tables of a SQLite file. Faults
// come as config.Faults.
func CheckConfig(conf *config.Config, file string) (err error) {
	conn, err := sqlite.Open(file, sqlite.Options{ReadOnly: true, MustExist: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	names, _, err := sqlite.TableNames(conn)
	if err != nil {
		return fmt.Errorf("look at %s: %w", file, err)
	}
	schema, err := sqlite.Describe(conn, names)
	if err != nil {
		return fmt.Errorf("look at %s: %w", file, err)
	}
	return conf.ValidateAgainst(&schema)
}
