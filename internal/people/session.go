package people

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"slices"
	"strings"
	"time"

	"github.com/tidemark-sync/tidemark/internal/hub"
)

// mostSessions is how many sessions a person has at once; the oldest ends for another.
const mostSessions = 20

// session is a browser that is logged in.
type session struct {
	Person  string    `json:"person"`
	Created time.Time `json:"created"`
	Seen    time.Time `json:"seen"`
	From    string    `json:"from,omitempty"`
}

// An Identity is who asks.
type Identity struct {
	ID      string // of the person or the token
	Name    string
	Role    Role
	Session string // names the session, when it is one of a browser
	CSRF    string // what requests of that session show that change something
	Token   bool   // a token's, not a person's
}

func denyLogin() *Fault {
	return denied("login", "nobody is logged in, or no longer", "log in again")
}

// Begin begins a session of a person, and returns its secret.
func (b *Book) Begin(ctx context.Context, person, from string) (secret string, err error) {
	raw, err := b.newSecret()
	if err != nil {
		return "", err
	}
	now := b.cfg.Clock.Now().UTC()
	err = b.cfg.Store.Update(ctx, func(tx hub.Tx) error {
		if _, err := readPerson(tx, person); err != nil {
			return err
		}
		if err := b.makeRoom(tx, person); err != nil {
			return err
		}
		return put(tx, kindSession, person+"/"+hashed(raw), session{Person: person, Created: now, Seen: now, From: from})
	})
	return person + "." + raw, err
}

// makeRoom ends sessions that are over, and the oldest ones beyond what there may be.
func (b *Book) makeRoom(tx hub.Tx, person string) error {
	type one struct {
		id   string
		seen time.Time
	}
	var alive []one
	var over []string
	err := each(tx, kindSession, person+"/", func(id string, s *session) error {
		if b.over(s) {
			over = append(over, id)
		} else {
			alive = append(alive, one{id, s.Seen})
		}
		return nil
	})
	if err != nil {
		return err
	}
	slices.SortFunc(alive, func(x, y one) int { return cmp.Or(x.seen.Compare(y.seen), strings.Compare(x.id, y.id)) })
	for len(alive) >= mostSessions {
		over, alive = append(over, alive[0].id), alive[1:]
	}
	for _, id := range over {
		if err := drop(tx, kindSession, id); err != nil {
			return err
		}
	}
	return nil
}

// over reports whether a session ended by itself. A clock that was set back ends it, too,
// when that was by more than a session lasts.
func (b *Book) over(s *session) bool {
	now := b.cfg.Clock.Now()
	return now.Sub(s.Seen) > IdleFor || now.Sub(s.Created) > SessionFor || s.Created.Sub(now) > SessionFor
}

// csrf is bound to the session: who has it has its secret, or read a page of it.
func csrf(secret string) string {
	m := hmac.New(sha256.New, []byte(secret))
	m.Write([]byte("tidemark csrf"))
	return base64.RawURLEncoding.EncodeToString(m.Sum(nil))
}

// Session says who a session's secret belongs to.
func (b *Book) Session(ctx context.Context, secret string) (*Identity, error) {
	person, raw, ok := strings.Cut(secret, ".")
	if !ok || len(secret) > 256 {
		return nil, denyLogin()
	}
	id := person + "/" + hashed(raw)
	var r *record
	var s *session
	look := func(v hub.View) (err error) {
		if s, err = get[session](v, kindSession, id); err != nil {
			return err
		}
		if s == nil || b.over(s) {
			return denyLogin()
		}
		r, err = get[record](v, kindPerson, person)
		if err == nil && (r == nil || r.Invited) {
			err = denyLogin()
		}
		return err
	}
	if err := b.cfg.Store.View(ctx, look); err != nil {
		return nil, err
	}
	now := b.cfg.Clock.Now().UTC()
	if now.Sub(s.Seen) >= seenEvery {
		err := b.cfg.Store.Update(ctx, func(tx hub.Tx) error {
			if err := look(tx); err != nil { // it may have ended meanwhile
				return err
			}
			s.Seen = now
			return put(tx, kindSession, id, s)
		})
		if err != nil {
			return nil, err
		}
	}
	return &Identity{ID: r.ID, Name: r.Name, Role: r.Role, Session: id, CSRF: csrf(secret)}, nil
}

// End ends a session, by its name; one that is over is none the worse.
func (b *Book) End(ctx context.Context, name string) error {
	return b.cfg.Store.Update(ctx, func(tx hub.Tx) error { return drop(tx, kindSession, name) })
}

// EndAll ends all sessions of a person but the one to keep; "" keeps none.
func (b *Book) EndAll(ctx context.Context, person, keep string) error {
	return b.cfg.Store.Update(ctx, func(tx hub.Tx) error { return endSessions(tx, person, keep) })
}

func endSessions(tx hub.Tx, person, keep string) error {
	var ids []string
	err := each(tx, kindSession, person+"/", func(id string, _ *session) error {
		if id != keep {
			ids = append(ids, id)
		}
		return nil
	})
	for _, id := range ids {
		if err == nil {
			err = drop(tx, kindSession, id)
		}
	}
	return err
}
