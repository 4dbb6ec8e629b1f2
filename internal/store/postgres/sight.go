package postgresstore

import (
	"fmt"
	"strconv"
)

// Every transaction looks whether another program changed the tables. That takes longer
// than all else that it asks when it begins, and the answer hardly ever changes. It cannot
// change without a transaction that commits, and that shows in the snapshot: what the
// catalogue says to statements of two transactions with one snapshot is the same. (What it
// says to the server itself, which plans by the newest state, it may say differently a
// moment later to either of them.) So one transaction of many that begin between two
// commits looks, and the others know.
//
// A snapshot names transactions by number, and a server that loses commits gives their
// numbers out again: one that was started again, or that took over. All its backends are
// new then. So each remembers since when this process knows it, by a count of this
// process's own, in a setting of its session: through a pooler, too, it is the backend that
// remembers. What was seen since then by whatever backend was seen without such a loss.

// A sight is a state of the database in which the plan was seen to fit.
type sight struct {
	state string // timeline and snapshot
	tick  int64  // drawn before it was looked for
}

// gazeSQL is whether the state is $1, one that was seen at $2, since when the backend is
// known by its setting $3; and since when that is, NULL for unknown. The look itself is a
// statement of its own: the server would plan it each time, which takes it ten times as long
// as all the rest.
const gazeSQL = `timeline || ' ' || shown = $1::text AND $2::int8 > known, known`

// gazeFrom is what gazeSQL goes by.
const gazeFrom = ` FROM (SELECT ` + timelineSQL + ` AS timeline, pg_current_snapshot()::text AS shown,
	nullif(current_setting($3::text, true), '')::int8 AS known OFFSET 0) AS here`

// A gaze is one transaction's at the catalogue.
type gaze struct {
	v     *view
	known string // a state in which the plan fits
	tick  int64  // of known
	name  string // of the backend's setting

	now        int64 // drawn before it looks
	seen       bool  // it looks itself
	acquainted bool  // the backend is known
}

func (v *view) gaze() *gaze {
	l := &gaze{v: v, now: v.s.ticks.Add(1), name: "tidemark.since_" + v.s.me}
	if k := v.p.seen.Load(); k != nil && v.pinned == nil { // a standby's snapshot lacks transactions in progress
		l.known, l.tick = k.state, k.tick
	}
	return l
}

// read takes the answer to gazeSQL.
func (l *gaze) read(r *row) {
	l.seen, l.acquainted = r.null(0) || !r.bool(0), !r.null(1)
}

// done looks, unless others did, and lets others go by what was seen; errStale when that
// was another state than the plan's.
func (l *gaze) done(timeline string) error {
	v := l.v
	if l.seen {
		now, err := version(v.ctx, v.c, v.p)
		if err != nil {
			return fmt.Errorf("begin snapshot: %w", err)
		}
		if now != v.p.version {
			return errStale
		}
	}
	if v.pinned != nil {
		return nil
	}
	if !l.acquainted { // drawn now: the backend was there already
		_, err := exec(v.ctx, v.c, `SELECT set_config($1::text, $2::text, false)`, l.name, strconv.FormatInt(v.s.ticks.Add(1), 10))
		if err != nil {
			return fmt.Errorf("begin snapshot: %w", err)
		}
	}
	if l.seen {
		v.p.seen.Store(&sight{timeline + " " + v.shown, l.now})
	}
	return nil
}
