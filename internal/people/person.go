package people

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/tidemark-sync/tidemark/internal/hub"
)

// A Person is somebody who may come in. Times are by the hub's clock.
type Person struct {
	ID       string    `json:"id"`
	Name     string    `json:"name"` // no two have one, in any case of letters
	Role     Role      `json:"role"`
	Created  time.Time `json:"created"`
	Invited  bool      `json:"invited,omitempty"` // the link was not used yet
	Passkeys []Passkey `json:"passkeys,omitempty"`

	Seen    time.Time `json:"-"` // last login; zero: never
	TOTP    bool      `json:"-"`
	Version string    `json:"-"` // of what people decided about it
}

// record is a person as the store has it.
type record struct {
	Person
	Seen     time.Time `json:"seen,omitzero"`
	Password string    `json:"password,omitempty"` // "" none
	Link     string    `json:"link,omitempty"`     // the one that is out: its hash
	Totp     totpState `json:"totp,omitzero"`
}

// view is what others may see of a record.
func (r *record) view() *Person {
	p := r.Person
	p.Seen, p.TOTP, p.Version = r.Seen, len(r.Totp.Secret) > 0, r.version()
	p.Passkeys = slices.Clone(p.Passkeys)
	return &p
}

// version names what people decided about a person: what changes by itself does not
// count.
func (r *record) version() string {
	c := *r
	c.Seen, c.Totp.Step = time.Time{}, 0
	c.Passkeys = slices.Clone(c.Passkeys)
	for i := range c.Passkeys {
		c.Passkeys[i].Used, c.Passkeys[i].Count = time.Time{}, 0
	}
	b, _ := json.Marshal(c) //nolint:errchkjson // plain fields
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:8])
}

// active reports whether the person can come in.
func (r *record) active() bool { return !r.Invited && (r.Password != "" || len(r.Passkeys) > 0) }

const peopleHint = "look at the list of people"

func readPerson(v hub.View, id string) (*record, error) {
	r, err := get[record](v, kindPerson, id)
	if err == nil && r == nil {
		err = unknown("no-such-person", fmt.Sprintf("there is no person %q", id), peopleHint)
	}
	return r, err
}

func eachPerson(v hub.View, fn func(*record) error) error {
	return each(v, kindPerson, "", func(_ string, r *record) error { return fn(r) })
}

// named finds a person by name; nil when there is none.
func named(v hub.View, name string) (found *record, err error) {
	err = eachPerson(v, func(r *record) error {
		if strings.EqualFold(r.Name, name) {
			found = r
		}
		return nil
	})
	return found, err
}

func checkName(what, name string) (string, error) {
	name = strings.TrimSpace(name)
	switch {
	case name == "" || utf8.RuneCountInString(name) > 64 || !utf8.ValidString(name):
		return "", invalid("name", what+" needs a name of 1 to 64 characters", "give another name")
	case strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }):
		return "", invalid("name", "the name of "+what+" holds characters that cannot be seen", "give another name")
	}
	return name, nil
}

// People lists everybody, by name.
func (b *Book) People(ctx context.Context) ([]Person, error) {
	var out []Person
	err := b.cfg.Store.View(ctx, func(v hub.View) error {
		out = nil
		return eachPerson(v, func(r *record) error {
			out = append(out, *r.view())
			return nil
		})
	})
	if err != nil {
		return nil, fmt.Errorf("list people: %w", err)
	}
	slices.SortFunc(out, func(x, y Person) int {
		return cmp.Or(strings.Compare(strings.ToLower(x.Name), strings.ToLower(y.Name)), strings.Compare(x.ID, y.ID))
	})
	return out, nil
}

// Person returns one, by id or name.
func (b *Book) Person(ctx context.Context, id string) (p *Person, err error) {
	err = b.cfg.Store.View(ctx, func(v hub.View) error {
		r, err := get[record](v, kindPerson, id)
		if err == nil && r == nil {
			r, err = named(v, id)
		}
		if err == nil && r == nil {
			_, err = readPerson(v, id)
		}
		if err == nil {
			p = r.view()
		}
		return err
	})
	return p, err
}

// Occupied reports whether anybody was set up yet.
func (b *Book) Occupied(ctx context.Context) (yes bool, err error) {
	err = b.cfg.Store.View(ctx, func(v hub.View) error {
		yes, err = occupied(v)
		return err
	})
	return yes, err
}

func occupied(v hub.View) (yes bool, err error) {
	err = eachPerson(v, func(r *record) error {
		yes = yes || r.active()
		return nil
	})
	return yes, err
}

// asSeen reads a person as somebody saw it; version "" is whatever it is now.
func asSeen(v hub.View, id, version string) (*record, error) {
	r, err := readPerson(v, id)
	if err == nil && version != "" && version != r.version() {
		return nil, stale("stale", "somebody else changed "+r.Name+" meanwhile", "look again, then decide")
	}
	return r, err
}

// shutOut ends a person's sessions, and takes back the link that is out.
func (r *record) shutOut(tx hub.Tx) error {
	if r.Link != "" {
		if err := drop(tx, kindLink, r.Link); err != nil {
			return err
		}
	}
	return endSessions(tx, r.ID, "")
}

// change runs fn on a person as somebody saw it, see asSeen.
func (b *Book) change(ctx context.Context, id, version string, fn func(hub.Tx, *record) error) (p *Person, err error) {
	err = b.cfg.Store.Update(ctx, func(tx hub.Tx) error {
		r, err := asSeen(tx, id, version)
		if err != nil {
			return err
		}
		if err := fn(tx, r); err != nil {
			return err
		}
		p = r.view()
		return put(tx, kindPerson, id, r)
	})
	return p, err
}

// reigns reports whether a person can act as an admin.
func (r *record) reigns() bool { return r.Role == Admin && r.active() }

// spared returns nil when an admin remains without r, or r is none.
func spared(v hub.View, r *record) error {
	if !r.reigns() {
		return nil
	}
	left := 0
	err := eachPerson(v, func(p *record) error {
		if p.ID != r.ID && p.reigns() {
			left++
		}
		return nil
	})
	if err == nil && left == 0 {
		err = unfit("last-admin", "this is the last admin", "make somebody else an admin first")
	}
	return err
}

// SetRole says what a person may do from now on. Their sessions end: the next login
// has the new role.
func (b *Book) SetRole(ctx context.Context, id string, role Role, version string) (before, after *Person, err error) {
	if role.rank() < 1 {
		_, err := ParseRole(string(role))
		return nil, nil, err
	}
	after, err = b.change(ctx, id, version, func(tx hub.Tx, r *record) error {
		before = r.view()
		if r.Role == role {
			return nil
		}
		if err := spared(tx, r); err != nil {
			return err
		}
		r.Role = role
		return endSessions(tx, id, "")
	})
	return before, after, err
}

// Remove forgets a person. Their sessions end, and a link that is out.
func (b *Book) Remove(ctx context.Context, id, version string) (was *Person, err error) {
	err = b.cfg.Store.Update(ctx, func(tx hub.Tx) error {
		r, err := asSeen(tx, id, version)
		if err != nil {
			return err
		}
		was = r.view()
		if err := spared(tx, r); err != nil {
			return err
		}
		if err := r.shutOut(tx); err != nil {
			return err
		}
		return drop(tx, kindPerson, id)
	})
	return was, err
}
