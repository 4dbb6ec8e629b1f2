package postgresstore

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/hub"
)

// A moment is what a snapshot shows of the change log: the entries of all
// transactions below max but those in open. max is one more than the number of a
// transaction that is visible in the log, whose newest entry is at pos with nonce.
// The zero moment shows nothing.
//
// PostgreSQL's own snapshots also count transactions that wrote no entry. Leaving
// those out makes a quiet hub's cursor stay the same, whatever else happens in the
// cluster, and keeps it from promising to know transactions whose numbers are given
// out again after a failover.
type moment struct {
	max        uint64
	open       []uint64 // in ascending order, all below max
	pos, nonce int64
	from       int64 // Unix seconds: no entry that is not shown is older; see near. 0: no telling
}

// token is the moment as text: max, pos, nonce and open, in hexadecimal.
//
// Its form never changes. Processes of two versions serve the same devices while a hub is
// upgraded, and after that was taken back: one that cannot read a text which its seal
// proves was given out takes it for a state that the database lost, and stops the hub.
func (m *moment) token() string {
	b := make([]byte, 0, 48)
	b = strconv.AppendUint(b, m.max, 16)
	b = append(b, '.')
	b = strconv.AppendInt(b, m.pos, 16)
	b = append(b, '.')
	b = strconv.AppendInt(b, m.nonce, 16)
	sep := byte('.')
	for _, x := range m.open {
		b = append(b, sep)
		b = strconv.AppendUint(b, x, 16)
		sep = ','
	}
	return string(b)
}

// readToken is the opposite of token.
func readToken(s string) (m moment, err error) {
	bad := func() (moment, error) {
		return moment{}, fmt.Errorf("read cursor %q: %w", s, hub.ErrOtherHistory)
	}
	parts := strings.Split(s, ".")
	if len(parts) < 3 || len(parts) > 4 {
		return bad()
	}
	var e1, e2, e3 error
	m.max, e1 = strconv.ParseUint(parts[0], 16, 64)
	m.pos, e2 = strconv.ParseInt(parts[1], 16, 64)
	m.nonce, e3 = strconv.ParseInt(parts[2], 16, 64)
	if e1 != nil || e2 != nil || e3 != nil || m.pos < 0 {
		return bad()
	}
	if len(parts) == 4 {
		for _, p := range strings.Split(parts[3], ",") {
			x, err := strconv.ParseUint(p, 16, 64)
			if err != nil || x >= m.max {
				return bad()
			}
			m.open = append(m.open, x)
		}
	}
	return m, nil
}

// covers reports whether m shows all that o shows.
func (m *moment) covers(o *moment) bool {
	if o.max > m.max { // o shows the transaction just below its max
		return false
	}
	for _, x := range m.open {
		if x < o.max && !slices.Contains(o.open, x) {
			return false
		}
	}
	return true
}

// beyond is the SQL condition that a log entry is not shown, as PostgreSQL's
// planner takes it for two index conditions.
func (m *moment) beyond(prefix string, a *args) string {
	s := prefix + "xid >= " + a.add(strconv.FormatUint(m.max, 10)) + "::text::xid8"
	if len(m.open) > 0 {
		s = "(" + s + " OR " + prefix + "xid = ANY(" + a.add(m.openList()) + "::text::xid8[]))"
	}
	return m.since(prefix, a) + s
}

// entries is the part of the log that is not shown, for FROM: each arm of it is one range,
// or some points, of an index. Of an OR of the two the planner makes a scan of the whole
// log while it knows little of its newest part, which is nearly always. For the same reason
// the range has an end, which no transaction is beyond: without one it takes a third of the
// log for newer than m. where narrows both, by the columns as they are called there.
func (m *moment) entries(where string, a *args) string {
	from := "SELECT * FROM tidemark.log WHERE " + m.since("", a) + where
	s := from + "xid >= " + a.add(strconv.FormatUint(m.max, 10)) + "::text::xid8 AND xid <= '18446744073709551615'::xid8"
	if len(m.open) > 0 {
		s += " UNION ALL " + from + "xid = ANY(" + a.add(m.openList()) + "::text::xid8[])"
	}
	return "(" + s + ")"
}

func (m *moment) openList() string {
	parts := make([]string, len(m.open))
	for i, x := range m.open {
		parts[i] = strconv.FormatUint(x, 10)
	}
	return "{" + strings.Join(parts, ",") + "}"
}

// cut makes a moment of a snapshot, as pg_current_snapshot writes it, and the
// newest log entry it shows. own is the number of the transaction itself, which
// sees what it wrote; 0 when it wrote nothing yet.
func cut(snapshot string, own, newest uint64, pos, nonce int64) (moment, error) {
	parts := strings.Split(snapshot, ":")
	if len(parts) != 3 {
		return moment{}, fmt.Errorf("read snapshot %q", snapshot)
	}
	end, err := strconv.ParseUint(parts[1], 10, 64)
	if err != nil {
		return moment{}, fmt.Errorf("read snapshot %q: %w", snapshot, err)
	}
	m := moment{max: newest + 1, pos: pos, nonce: nonce}
	add := func(x uint64) {
		if x < m.max && x != own {
			m.open = append(m.open, x)
		}
	}
	if parts[2] != "" {
		for _, p := range strings.Split(parts[2], ",") {
			x, err := strconv.ParseUint(p, 10, 64)
			if err != nil {
				return moment{}, fmt.Errorf("read snapshot %q: %w", snapshot, err)
			}
			add(x)
		}
	}
	for x := end; x < m.max; x++ { // begun after the snapshot, and before the transaction wrote
		add(x)
	}
	slices.Sort(m.open)
	return m, nil
}

// momentSQL reads what cut takes; where narrows the entries.
func momentSQL(where string) string {
	return `SELECT pg_current_snapshot()::text, coalesce(pg_current_xact_id_if_assigned()::text, '0'),
	coalesce(l.xid::text, '0'), coalesce(l.pos, 0), coalesce(l.nonce, 0) FROM (SELECT 1) AS one
	LEFT JOIN LATERAL (SELECT xid, pos, nonce FROM tidemark.log WHERE ` + where + `true ORDER BY xid DESC, pos DESC LIMIT 1) AS l ON true`
}

// now is the moment of the snapshot.
func (v *view) now() (m moment, err error) {
	if v.pinned != nil { // a standby's snapshot lacks transactions in progress
		return v.pinned.shows, nil
	}
	if err := v.sync(); err != nil {
		return m, err
	}
	// The newest entry is hardly ever of a day that is over.
	var past seal
	if n := len(v.sealed); n > 0 {
		past = v.sealed[n-1]
	}
	if m, err = v.newest(past.end); err == nil && past.end > 0 && m.max <= past.newest+1 {
		m, err = v.newest(0)
	}
	if err != nil {
		return m, fmt.Errorf("mint cursor: %w", err)
	}
	floor, err := v.floor()
	if err == nil && floor.max > m.max { // the entry at the floor was dropped, and nothing newer is there
		return floor, nil
	}
	return m, err
}

// newest is the moment as the entries from a time on tell it, in Unix seconds.
func (v *view) newest(from int64) (m moment, err error) {
	var a args
	since := moment{from: from}
	err = v.query(momentSQL(since.since("", &a)), func(r *row) error {
		own, err := strconv.ParseUint(r.text(1), 10, 64)
		if err != nil {
			return err
		}
		newest, err := strconv.ParseUint(r.text(2), 10, 64)
		if err != nil || newest == 0 {
			return err
		}
		m, err = cut(r.text(0), own, newest, r.int(3), r.int(4))
		return err
	}, a.list...)
	return m, err
}

// Cursor implements hub.View.
func (v *view) Cursor() (change.Cursor, error) {
	m, err := v.now()
	if err != nil {
		return change.Cursor{}, err
	}
	return v.mint(&m)
}

func (v *view) mint(m *moment) (change.Cursor, error) {
	list, err := v.lineage()
	if err != nil {
		return change.Cursor{}, err
	}
	return change.Cursor{Epoch: present(list), Token: m.token()}, nil
}

// parse reads a cursor of one of the hub's lives; the zero cursor is the zero
// moment. What an earlier life wrote after the next one left it is in no log.
func parse(lives []life, c change.Cursor) (moment, error) {
	if c.IsZero() {
		return moment{}, nil
	}
	for i := range lives {
		if lives[i].Epoch != c.Epoch {
			continue
		}
		m, err := readToken(c.Token)
		if err == nil && lives[i].end != nil && !lives[i].end.covers(&m) {
			err = hub.ErrOtherHistory
		}
		return m, err
	}
	return moment{}, hub.ErrOtherHistory
}

// Check implements hub.View. The zero cursor is below the floor unless the log
// tells all that ever was.
func (v *view) Check(since change.Cursor) error {
	_, err := v.check(since)
	return err
}

// check returns the cursor's moment.
func (v *view) check(since change.Cursor) (moment, error) {
	if a, ok := v.checked[since]; ok {
		return a.m, a.verdict()
	}
	if err := v.sync(); err != nil {
		return moment{}, err
	}
	a, ask, err := v.claim(since)
	if err != nil {
		return moment{}, err
	}
	if ask {
		var list args
		if err := v.query(v.nonceSQL(&a.m, &list), func(r *row) error {
			a.known = r.int(0)
			return nil
		}, list.list...); err != nil {
			return moment{}, fmt.Errorf("check cursor: %w", err)
		}
	}
	v.note(since, a)
	return a.m, a.verdict()
}

// A claim is what a cursor says of the log, and what the log says to it. It stays so as
// long as the snapshot does.
type claim struct {
	m     moment
	known int64 // the nonce of the entry that m names; -1: there is none
}

func (a *claim) verdict() error {
	if a.m.max > 0 && a.known != a.m.nonce {
		return hub.ErrOtherHistory
	}
	return nil
}

// claim reads a cursor. ask is whether the log is to be asked for what is known.
func (v *view) claim(since change.Cursor) (a *claim, ask bool, err error) {
	lives, err := v.lineage()
	if err != nil {
		return nil, false, err
	}
	m, err := parse(lives, since)
	if err != nil {
		return nil, false, err
	}
	floor, err := v.floor()
	if err != nil {
		return nil, false, err
	}
	if !m.covers(&floor) || v.before(lives, since) {
		return nil, false, hub.ErrBelowFloor
	}
	a = &claim{m: m, known: -1}
	if m.max == 0 {
		return a, false, nil
	}
	a.m = v.near(m)
	if m.max == floor.max && m.pos == floor.pos {
		a.known = floor.nonce
		return a, false, nil
	}
	return a, true, nil
}

// nonceSQL reads the nonce of the entry that a moment names.
func (v *view) nonceSQL(m *moment, a *args) string {
	last := v.near(moment{max: m.max - 1})
	return "SELECT nonce FROM tidemark.log WHERE " + last.since("", a) + "xid = " + a.add(strconv.FormatUint(last.max, 10)) + "::text::xid8 AND pos = " + a.add(m.pos) + "::int8"
}

func (v *view) note(since change.Cursor, a *claim) {
	if v.checked == nil {
		v.checked = map[change.Cursor]*claim{}
	}
	v.checked[since] = a
}

// before reports whether a cursor is from before transactions were counted anew.
func (v *view) before(lives []life, since change.Cursor) bool {
	for i := 0; i < v.reset && i < len(lives); i++ {
		if lives[i].Epoch == since.Epoch {
			return true
		}
	}
	return false
}

// floor is the moment below which nothing is known; the zero one while the log
// tells everything.
func (v *view) floor() (moment, error) {
	if v.low != nil {
		return *v.low, nil
	}
	s, err := meta(v.ctx, v.c, metaFloor)
	if err != nil || s == "" {
		return moment{}, err
	}
	m, err := readToken(s)
	if err != nil {
		return moment{}, err
	}
	v.low = &m
	return m, nil
}
