package run

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/tidemark-sync/tidemark/internal/checkup"
	"github.com/tidemark-sync/tidemark/internal/edge"
	"github.com/tidemark-sync/tidemark/internal/wire"
	"github.com/tidemark-sync/tidemark/internal/wire/transport"
)

// offsetMuch is from when on a clock is worth a warning; the hub believes no
// device that is further ahead than a minute.
const offsetMuch = 30 * time.Second

// An exam looks at what Tidemark itself knows, too.
type exam struct{ checkup.List }

// CheckFile looks at an edge's file, its machine, and its way to the hub.
func CheckFile(ctx context.Context, e Edge) []checkup.Finding {
	c := &exam{}
	c.File(e.File)
	c.Disk(e.File)
	c.Engines(ctx)
	id, err := ReadIdentity(e.File)
	switch {
	case errors.Is(err, ErrNotJoined):
		if !errors.Is(NamesFile(e.File), ErrDir) { // else nothing but the path is worth a word
			c.Add("enrolled", checkup.Note, "tidemark join TOKEN "+e.File, "the file is not enrolled with a hub")
		}
		return c.Found
	case err != nil:
		c.Add("enrolled", checkup.Bad, "", "%v", err)
		return c.Found
	}
	c.Add("enrolled", checkup.Good, "", "as %s with %s", id.Name, id.URL)
	c.capture(ctx, e)
	c.hub(ctx, e, id)
	return c.Found
}

// capture looks at what Tidemark keeps in the file.
func (c *exam) capture(ctx context.Context, e Edge) {
	s, err := FileStatus(ctx, e)
	if err != nil {
		c.Add("capture", checkup.Bad, judge(err).hint, "%v", err)
		return
	}
	if s.Agent.Running {
		c.Add("agent", checkup.Good, "", "%s", s.Agent.State)
	} else {
		c.Add("agent", checkup.Note, "tidemark edge "+e.File, "no agent is running")
	}
	if s.OutboxDepth > 0 {
		c.Add("unsafe", checkup.Note, "", "transactions that are not at the hub yet: %d, the oldest %s old", s.OutboxDepth, time.Duration(s.OldestUnsafe*float64(time.Second)).Round(time.Second))
	}
	if o := time.Duration(s.ClockOffset * float64(time.Second)); o.Abs() > offsetMuch {
		c.Add("clock", checkup.Warn, "set the clock, or run an NTP client; the hub corrects for it as far as it can", "this machine's clock is %s off the hub's", o.Round(time.Second))
	} else {
		c.Add("clock", checkup.Good, "", "within %s of the hub's", offsetMuch)
	}
	c.drift(e)
}

// drift asks whether the tables still are what capture was built for.
func (c *exam) drift(e Edge) {
	var d *edge.Drift
	err := e.Inside(func(eng *edge.Engine) (err error) {
		d, err = eng.CheckDrift()
		return err
	})
	if err != nil {
		c.Add("drift", checkup.Bad, judge(err).hint, "%v", err)
		return
	}
	if len(d.Missing) > 0 {
		c.Add("drift", checkup.Bad, "restore the tables, or take them out of tidemark.yaml at the hub", "synced tables are missing: %s", strings.Join(d.Missing, ", "))
	}
	if len(d.Gap) > 0 {
		c.Add("drift", checkup.Warn, "a running agent compares them with the hub and hands in what nobody captured; without one: tidemark sync --once "+e.File, "some writes may not have been captured in: %s", strings.Join(d.Gap, ", "))
	}
	if len(d.Repaired) > 0 {
		c.Add("drift", checkup.Note, "", "capture was made anew: %s", strings.Join(d.Repaired, ", "))
	}
	for _, n := range d.Notes {
		c.Add("drift", checkup.Note, "", "%s", n)
	}
	if len(d.Missing)+len(d.Gap)+len(d.Repaired)+len(d.Notes) == 0 {
		c.Add("drift", checkup.Good, "", "the tables are what capture was built for")
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
func (c *exam) hub(ctx context.Context, e Edge, id *Identity) {
	ctx, stop := context.WithTimeout(ctx, reachTimeout)
	defer stop()
	g := &greeting{}
	err := e.Inside(func(eng *edge.Engine) (err error) {
		g.hello, err = eng.Hello(e.Agent, id.Device)
		return err
	})
	if err != nil {
		return // capture told of it
	}
	o, err := e.options(id)
	if err != nil {
		c.Add("key", checkup.Bad, "restore "+SideDir(e.File)+", or detach and join again", "%v", err)
		return
	}
	o.DialTimeout = reachTimeout
	err = transport.Dial(ctx, o, g)
	var f *wire.Fault
	switch {
	case errors.Is(err, errDone):
		c.Add("hub", checkup.Good, "", "%s answers and lets this device in", g.welcome.Hub)
	case judge(err).state == StateRefused:
		c.Add("hub", checkup.Bad, judge(err).hint, "%v", err)
	case err == nil:
		c.Add("hub", checkup.Warn, "work is kept until it answers", "%s does not answer within %s", id.URL, reachTimeout)
	case errors.As(err, &f) && f.Hint != "":
		c.Add("hub", checkup.Warn, f.Hint+"; work is kept until then", "%v", err)
	default:
		c.Add("hub", checkup.Warn, "check that the hub runs, its address, and what is in between ("+checkup.Host(id.URL)+"); work is kept until then", "%v", err)
	}
}
