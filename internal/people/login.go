package people

import (
	"context"
	"strings"

	"github.com/tidemark-sync/tidemark/internal/hub"
)

// ErrCode is the code of the fault by which Login asks for a TOTP code: the password was
// right.
const ErrCode = "totp-needed"

func wrongLogin() *Fault {
	return denied("wrong-login", "the name or the password is wrong", "an admin can reset a password that was lost")
}

// Login tries a name and a password and, where the person has TOTP, a code, which counts
// once. It takes as long for a name that nobody has.
func (b *Book) Login(ctx context.Context, name, password, code string) (*Person, error) {
	var r *record
	err := b.cfg.Store.View(ctx, func(v hub.View) (err error) {
		r, err = named(v, strings.TrimSpace(name))
		return err
	})
	if err != nil {
		return nil, err
	}
	hash := b.hasher.nothing()
	if r != nil && r.Password != "" {
		hash = r.Password
	}
	ok, err := b.hasher.try(ctx, password, hash)
	if err != nil {
		return nil, err
	}
	if !ok || r == nil || r.Invited {
		return nil, wrongLogin()
	}
	if len(r.Totp.Secret) > 0 && code == "" {
		return nil, denied(ErrCode, "a code of the authenticator app is needed, too", "give the six digits that it shows")
	}
	return b.enter(ctx, r.ID, func(now *record) error {
		if now.Password != r.Password {
			return wrongLogin()
		}
		return b.useCode(now, code)
	})
}

// enter notes that a person came in, when prove says so on the record as it is now.
func (b *Book) enter(ctx context.Context, id string, prove func(*record) error) (p *Person, err error) {
	err = b.cfg.Store.Update(ctx, func(tx hub.Tx) error {
		r, err := get[record](tx, kindPerson, id)
		if err != nil {
			return err
		}
		if r == nil || r.Invited {
			return wrongLogin()
		}
		if err := prove(r); err != nil {
			return err
		}
		r.Seen = b.cfg.Clock.Now().UTC()
		p = r.view()
		return put(tx, kindPerson, id, r)
	})
	return p, err
}

// SetPassword changes a person's own password, and ends their sessions but the one to
// keep.
func (b *Book) SetPassword(ctx context.Context, id, old, password, keep string) (*Person, error) {
	var r *record
	err := b.cfg.Store.View(ctx, func(v hub.View) (err error) {
		r, err = readPerson(v, id)
		return err
	})
	if err != nil {
		return nil, err
	}
	if r.Password != "" {
		ok, err := b.hasher.try(ctx, old, r.Password)
		if err != nil {
			return nil, err
		}
		if !ok {
			return nil, invalid("wrong-password", "the old password is wrong", "an admin can reset it when it was lost")
		}
	}
	if err := checkPassword(r.Name, password); err != nil {
		return nil, err
	}
	hash, err := b.hashPassword(ctx, password)
	if err != nil {
		return nil, err
	}
	return b.change(ctx, id, "", func(tx hub.Tx, now *record) error {
		if now.Password != r.Password {
			return stale("stale", "the password was changed meanwhile", "log in again")
		}
		now.Password = hash
		return endSessions(tx, id, keep)
	})
}
