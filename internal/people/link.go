package people

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/tidemark-sync/tidemark/internal/hub"
)

// A Link lets somebody in once, to choose their own password.
type Link struct {
	Secret  string  // shown once
	Person  *Person // whose it is; nil: of the first admin
	Expires time.Time
}

// link is a Link as the store has it.
type link struct {
	Person  string    `json:"person,omitempty"` // id; "" makes the first admin
	Expires time.Time `json:"expires"`
}

func (b *Book) addLink(tx hub.Tx, person, secret string) (time.Time, error) {
	l := link{Person: person, Expires: b.cfg.Clock.Now().Add(LinkFor).UTC()}
	return l.Expires, put(tx, kindLink, hashed(secret), l)
}

// SetUpLink makes a link for the first admin, while nobody was set up.
func (b *Book) SetUpLink(ctx context.Context) (*Link, error) {
	secret, err := b.newSecret()
	if err != nil {
		return nil, err
	}
	out := &Link{Secret: secret}
	err = b.cfg.Store.Update(ctx, func(tx hub.Tx) error {
		if yes, err := occupied(tx); err != nil || yes {
			return or(err, alreadySetUp())
		}
		if err := b.sweepLinks(tx); err != nil {
			return err
		}
		out.Expires, err = b.addLink(tx, "", secret)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("make a setup link: %w", err)
	}
	return out, nil
}

func or(err error, f *Fault) error {
	if err != nil {
		return err
	}
	return f
}

func alreadySetUp() *Fault {
	return unfit("set-up", "somebody was set up already", "ask an admin for an invitation; if all admins lost theirs: tidemark people reset NAME")
}

// sweepLinks removes links that expired.
func (b *Book) sweepLinks(tx hub.Tx) error {
	now := b.cfg.Clock.Now()
	var old []string
	err := each(tx, kindLink, "", func(id string, l *link) error {
		if now.After(l.Expires) {
			old = append(old, id)
		}
		return nil
	})
	for _, id := range old {
		if err == nil {
			err = drop(tx, kindLink, id)
		}
	}
	return err
}

// Invite makes a person, and the link by which they come in first.
func (b *Book) Invite(ctx context.Context, name string, role Role) (*Link, error) {
	name, err := checkName("a person", name)
	if err != nil {
		return nil, err
	}
	if role.rank() < 1 {
		_, err := ParseRole(string(role))
		return nil, err
	}
	id, err := b.newID()
	if err != nil {
		return nil, err
	}
	secret, err := b.newSecret()
	if err != nil {
		return nil, err
	}
	out := &Link{Secret: secret}
	err = b.cfg.Store.Update(ctx, func(tx hub.Tx) error {
		other, err := named(tx, name)
		if err != nil {
			return err
		}
		if other != nil {
			return invalid("name-taken", fmt.Sprintf("there is a person called %q already", other.Name), "give another name, or reset that person")
		}
		r := &record{Person: Person{ID: id, Name: name, Role: role, Created: b.cfg.Clock.Now().UTC(), Invited: true}, Link: hashed(secret)}
		out.Person = r.view()
		if out.Expires, err = b.addLink(tx, id, secret); err != nil {
			return err
		}
		return put(tx, kindPerson, id, r)
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// Reset takes a person's password, TOTP and passkeys away, ends their sessions, and
// makes a link by which they choose new ones. The last admin is refused, unless force:
// who has the data directory in hand needs no other way in.
func (b *Book) Reset(ctx context.Context, id, version string, force bool) (*Link, error) {
	secret, err := b.newSecret()
	if err != nil {
		return nil, err
	}
	out := &Link{Secret: secret}
	out.Person, err = b.change(ctx, id, version, func(tx hub.Tx, r *record) error {
		if !force {
			if err := spared(tx, r); err != nil {
				return err
			}
		}
		if err := r.shutOut(tx); err != nil {
			return err
		}
		r.Password, r.Totp, r.Passkeys, r.Invited, r.Link = "", totpState{}, nil, true, hashed(secret)
		var err error
		out.Expires, err = b.addLink(tx, id, secret)
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// SetUp uses a link: it makes the first admin, or lets in whom the link names, under the
// name they have. A link is used once.
func (b *Book) SetUp(ctx context.Context, secret, name, password string) (*Person, error) {
	var who *record
	look := func(v hub.View) (err error) {
		who, err = b.useful(v, secret)
		return err
	}
	if err := b.cfg.Store.View(ctx, look); err != nil {
		return nil, err
	}
	if who != nil {
		name = who.Name
	} else {
		var err error
		if name, err = checkName("a person", name); err != nil {
			return nil, err
		}
	}
	if err := checkPassword(name, password); err != nil {
		return nil, err
	}
	id, err := b.newID()
	if err != nil {
		return nil, err
	}
	hash, err := b.hashPassword(ctx, password)
	if err != nil {
		return nil, err
	}
	var out *Person
	err = b.cfg.Store.Update(ctx, func(tx hub.Tx) error {
		if err := look(tx); err != nil { // somebody may have been faster
			return err
		}
		if who == nil {
			if err := b.vacate(tx, name); err != nil {
				return err
			}
			who = &record{Person: Person{ID: id, Name: name, Role: Admin, Created: b.cfg.Clock.Now().UTC()}}
		}
		if err := drop(tx, kindLink, hashed(secret)); err != nil {
			return err
		}
		who.Invited, who.Link, who.Password, who.Seen = false, "", hash, b.cfg.Clock.Now().UTC()
		out = who.view()
		return put(tx, kindPerson, who.ID, who)
	})
	return out, err
}

// vacate removes who has the first admin's name and never came in.
func (b *Book) vacate(tx hub.Tx, name string) error {
	other, err := named(tx, name)
	if err != nil || other == nil {
		return err
	}
	if other.Link != "" {
		if err := drop(tx, kindLink, other.Link); err != nil {
			return err
		}
	}
	return drop(tx, kindPerson, other.ID)
}

// useful returns whose a link is that may be used; nil: it makes the first admin.
func (b *Book) useful(v hub.View, secret string) (*record, error) {
	l, err := get[link](v, kindLink, hashed(strings.TrimSpace(secret)))
	if err != nil {
		return nil, err
	}
	if l == nil {
		return nil, denied("link-unknown", "this link was used already, or never was one", "ask an admin for another one; for the first admin: tidemark people setup-link")
	}
	if b.cfg.Clock.Now().After(l.Expires) {
		return nil, denied("link-expired", "this link expired at "+l.Expires.Format(time.RFC3339), "ask an admin for another one; for the first admin: tidemark people setup-link")
	}
	if l.Person == "" {
		yes, err := occupied(v)
		if err != nil || yes {
			return nil, or(err, alreadySetUp())
		}
		return nil, nil //nolint:nilnil // nobody's yet
	}
	return readPerson(v, l.Person)
}

func (b *Book) hashPassword(ctx context.Context, password string) (string, error) {
	salt, err := b.draw(saltSize)
	if err != nil {
		return "", err
	}
	return b.hasher.hash(ctx, password, salt)
}
