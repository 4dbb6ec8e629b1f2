package demo

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"time"
)

// How much each branch does while the network is cut, and how quickly.
const (
	workQuick = 25 // transactions
	workFull  = 120
	workEvery = 15 * time.Millisecond
	newNote   = "allergic to penicillin"
)

// offlineWork lets both branches work while the network is cut.
func (t *story) offlineWork(ctx context.Context) error {
	t.s.Act("Both branches go on working, in plain SQL")
	n := workFull
	if t.cfg.Quick {
		n = workQuick
	}
	r := rand.New(rand.NewPCG(clinicStory, uint64(n)))
	known := [2][]string{}
	for i, a := range t.branches() {
		list, err := a.read(ctx, "SELECT id FROM patient ORDER BY id")
		if err != nil {
			return err
		}
		known[i] = list
	}
	t.s.Say("Each transaction is a visit and the %s it used up, one process each:", hotItem)
	for k := range n {
		for i, a := range t.branches() {
			boxes := int64(1 + r.IntN(3+i))
			sql := visitSQL(i, k, known[i][r.IntN(len(known[i]))], t.cfg.Clock.Now().Format(time.DateOnly), reasons[r.IntN(len(reasons))], boxes)
			if k == 0 && i == 0 {
				t.s.SQL(branchName(i), sql)
			}
			if err := a.write(ctx, sql); err != nil {
				return err
			}
			t.done[i].tx++
			t.done[i].sold += boxes
		}
		t.s.Live("%s", t.progress())
		if err := t.beat(ctx, workEvery); err != nil {
			return err
		}
	}
	t.s.End("%s", t.progress())
	if err := t.collide(ctx); err != nil {
		return err
	}
	return errors.Join(t.unsafe(ctx), t.beat(ctx, readingTime))
}

// progress says how much the branches have done.
func (t *story) progress() string {
	n, s := &t.done[0], &t.done[1]
	return fmt.Sprintf("committed: north %3d, %3d %s    south %3d, %3d %s", n.tx, n.sold, hotItem, s.tx, s.sold, hotItem)
}

func (t *story) branches() []*app { return []*app{t.north, t.south} }

func branchName(i int) string { return [...]string{"north", "south"}[i] }

// visitSQL is one transaction of a branch's application. The second statement
// makes it one for Tidemark too; without it, what is written at about the same
// time travels as one.
func visitSQL(branch, k int, patient, day, reason string, boxes int64) string {
	return strings.Join([]string{
		"BEGIN IMMEDIATE;",
		"UPDATE _tidemark_tx SET id=id+1; -- tells Tidemark: a transaction",
		fmt.Sprintf("INSERT INTO visit\n VALUES('%s-%03d','%s','%s','%s');", branchName(branch), k, patient, day, reason),
		fmt.Sprintf("UPDATE stock SET qty=qty-%d WHERE item='%s';", boxes, hotItem),
		"COMMIT;",
	}, "\n")
}

// collide lets both branches edit one patient.
func (t *story) collide(ctx context.Context) error {
	name, err := t.north.text(ctx, "SELECT name FROM patient WHERE id='"+hotPatient+"'")
	if err != nil {
		return err
	}
	if t.phone, err = t.north.text(ctx, phoneSQL); err != nil {
		return err
	}
	t.s.Say("Both edit the same patient, %s, phone %s:", name, t.phone)
	t.done[0].phone, t.done[1].phone = "555-0100", "555-0199"
	for i, edit := range []string{
		fmt.Sprintf("UPDATE patient SET phone='%s', note='%s'\n WHERE id='%s'", t.done[0].phone, newNote, hotPatient),
		fmt.Sprintf("UPDATE patient SET phone='%s' WHERE id='%s'", t.done[1].phone, hotPatient),
	} {
		sql := "BEGIN IMMEDIATE; UPDATE _tidemark_tx SET id=id+1;\n" + edit + "; COMMIT;"
		t.s.SQL(branchName(i), sql)
		if err := t.branches()[i].write(ctx, sql); err != nil {
			return err
		}
		t.done[i].tx++
		if i > 0 {
			break
		}
		if err := t.pause(ctx, glance); err != nil { // south's edit is the later one, by any clock
			return err
		}
	}
	return nil
}

const phoneSQL = "SELECT phone FROM patient WHERE id='" + hotPatient + "'"

// unsafe shows the work that only the branches hold.
func (t *story) unsafe(ctx context.Context) error {
	var n, s fileState
	err := t.until(ctx, "every transaction is in the outbox", func() (_ bool, err error) {
		n, s, err = t.status(ctx)
		return n.OutboxDepth == t.done[0].tx && s.OutboxDepth == t.done[1].tx, err
	})
	if err != nil {
		return err
	}
	oldest := time.Duration(max(n.OldestUnsafe, s.OldestUnsafe) * float64(time.Second))
	err = t.s.Claim(n.OutboxDepth == t.done[0].tx && s.OutboxDepth == t.done[1].tx,
		"outbox: %d transactions at north, %d at south; the oldest waits for %s", n.OutboxDepth, s.OutboxDepth, span(oldest))
	if err != nil {
		return err
	}
	visits, err := t.hub.number(ctx, "SELECT count(*) FROM visit")
	if err != nil {
		return err
	}
	up, down := t.link.Bytes()
	return t.s.Claim(visits == t.visits && up+down == t.bytes, "the hub knows of none: still %s visits, and %s came through", count(visits), size(up+down-t.bytes))
}

// restore brings the network back and watches the outboxes drain.
func (t *story) restore(ctx context.Context) error {
	t.s.Act("The network returns")
	up, down := t.link.Bytes()
	t.link.Restore()
	start := t.cfg.Clock.Now()
	var drains [2]drain
	var now [2]fileState
	err := t.until(ctx, "both outboxes are empty", func() (_ bool, err error) {
		if now[0], now[1], err = t.status(ctx); err != nil {
			return false, err
		}
		at := t.cfg.Clock.Now()
		t.s.Live("outbox: %s", t.outboxes(now, at))
		n, s := drains[0].see(&now[0], at), drains[1].see(&now[1], at)
		return n && s, nil
	})
	if err != nil {
		return err
	}
	t.s.End("outbox: %s", t.outboxes(now, t.cfg.Clock.Now()))
	for i, d := range drains {
		err := t.s.Claim(now[i].OutboxDepth == 0, "%s: agent back after %s, its %d transactions handed in %s", branchName(i),
			span(d.back.Sub(start)), t.done[i].tx, within(d.empty.Sub(d.back)))
		if err != nil {
			return err
		}
	}
	if err := t.s.Claim(now[0].Quarantined+now[1].Quarantined == 0, "none was refused: the quarantine is empty"); err != nil {
		return err
	}
	visits, err := t.hub.number(ctx, "SELECT count(*) FROM visit")
	if err != nil {
		return err
	}
	n, s := t.done[0].tx-1, t.done[1].tx-1 // all but the edit of the patient
	err = t.s.Claim(visits == t.visits+n+s, "nothing lost, nothing twice: %s visits at the hub, %s + %d + %d", count(visits), count(t.visits), n, s)
	if err != nil {
		return err
	}
	nowUp, nowDown := t.link.Bytes()
	t.s.Say("%s went up, %s came down, with all that TLS adds", size(nowUp-up), size(nowDown-down))
	return t.beat(ctx, readingTime)
}

// A drain is when a branch's agent was back, and when its outbox was empty.
type drain struct{ back, empty time.Time }

// see takes a look at a branch, and reports whether its outbox is empty.
func (d *drain) see(f *fileState, at time.Time) bool {
	if d.back.IsZero() && f.Agent.State == "online" {
		d.back = at
	}
	if d.empty.IsZero() && !d.back.IsZero() && f.OutboxDepth+f.Unsettled == 0 {
		d.empty = at
	}
	return !d.empty.IsZero()
}

// within says how long something took that is looked at now and then.
func within(d time.Duration) string {
	if d < pollEvery {
		return "at once"
	}
	return "within " + span(d)
}

func (t *story) outboxes(f [2]fileState, at time.Time) string {
	return fmt.Sprintf("north %3d (%s)   south %3d (%s)", f[0].OutboxDepth, agentText(f[0], at), f[1].OutboxDepth, agentText(f[1], at))
}

// agentText says what an agent does.
func agentText(f fileState, now time.Time) string {
	if f.Agent.State != "offline" {
		return f.Agent.State
	}
	if left := f.Agent.Next.Sub(now); left > 0 {
		return fmt.Sprintf("next try in %.0f s", math.Ceil(left.Seconds()))
	}
	return "trying now"
}
