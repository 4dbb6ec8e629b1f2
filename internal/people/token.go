package people

import (
	"cmp"
	"context"
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tidemark-sync/tidemark/internal/hub"
)

// tokenMark begins each token, so that a leaked one is recognised by those who look.
const tokenMark = "tidemark_"

// A Token lets a script or the CLI in.
type Token struct {
	ID      string    `json:"id"`
	Name    string    `json:"name"`
	Role    Role      `json:"role"`
	By      string    `json:"by"` // who made it
	Created time.Time `json:"created"`
	Seen    time.Time `json:"seen,omitzero"`
}

// tokenRecord is a token as the store has it.
type tokenRecord struct {
	Token
	Hash string `json:"hash"`
}

// AddToken makes a token; the secret is shown once.
func (b *Book) AddToken(ctx context.Context, name string, role Role, by string) (t *Token, secret string, err error) {
	if name, err = checkName("a token", name); err != nil {
		return nil, "", err
	}
	if role.rank() < 1 {
		_, err := ParseRole(string(role))
		return nil, "", err
	}
	id, err := b.newID()
	if err != nil {
		return nil, "", err
	}
	raw, err := b.newSecret()
	if err != nil {
		return nil, "", err
	}
	secret = tokenMark + id + "_" + raw
	rec := tokenRecord{Token: Token{ID: id, Name: name, Role: role, By: by, Created: b.cfg.Clock.Now().UTC()}, Hash: hashed(secret)}
	err = b.cfg.Store.Update(ctx, func(tx hub.Tx) error {
		var other bool
		err := each(tx, kindToken, "", func(_ string, r *tokenRecord) error {
			other = other || strings.EqualFold(r.Name, name)
			return nil
		})
		if err != nil {
			return err
		}
		if other {
			return invalid("name-taken", fmt.Sprintf("there is a token called %q already", name), "give another name, or remove that one")
		}
		return put(tx, kindToken, id, rec)
	})
	if err != nil {
		return nil, "", err
	}
	return &rec.Token, secret, nil
}

// Tokens lists all tokens, by name.
func (b *Book) Tokens(ctx context.Context) ([]Token, error) {
	var out []Token
	err := b.cfg.Store.View(ctx, func(v hub.View) error {
		out = nil
		return each(v, kindToken, "", func(_ string, r *tokenRecord) error {
			out = append(out, r.Token)
			return nil
		})
	})
	if err != nil {
		return nil, fmt.Errorf("list tokens: %w", err)
	}
	slices.SortFunc(out, func(x, y Token) int { return cmp.Or(strings.Compare(x.Name, y.Name), strings.Compare(x.ID, y.ID)) })
	return out, nil
}

// RemoveToken ends a token, by id or name.
func (b *Book) RemoveToken(ctx context.Context, id string) (was *Token, err error) {
	err = b.cfg.Store.Update(ctx, func(tx hub.Tx) error {
		was = nil
		err := each(tx, kindToken, "", func(_ string, r *tokenRecord) error {
			if r.ID == id || was == nil && strings.EqualFold(r.Name, id) {
				was = &r.Token
			}
			return nil
		})
		if err != nil {
			return err
		}
		if was == nil {
			return unknown("no-such-token", fmt.Sprintf("there is no token %q", id), "look at the list of tokens")
		}
		return drop(tx, kindToken, was.ID)
	})
	return was, err
}

// Bearer says whose a token's secret is.
func (b *Book) Bearer(ctx context.Context, secret string) (*Identity, error) {
	bad := denied("token", "this token is not known here, or was removed", "make another one: tidemark people token add NAME")
	rest, ok := strings.CutPrefix(secret, tokenMark)
	id, _, cut := strings.Cut(rest, "_")
	if !ok || !cut || len(secret) > 256 {
		return nil, bad
	}
	var rec *tokenRecord
	look := func(v hub.View) (err error) {
		if rec, err = get[tokenRecord](v, kindToken, id); err != nil {
			return err
		}
		if rec == nil || subtle.ConstantTimeCompare([]byte(rec.Hash), []byte(hashed(secret))) != 1 {
			return bad
		}
		return nil
	}
	if err := b.cfg.Store.View(ctx, look); err != nil {
		return nil, err
	}
	now := b.cfg.Clock.Now().UTC()
	if now.Sub(rec.Seen) >= seenEvery {
		err := b.cfg.Store.Update(ctx, func(tx hub.Tx) error {
			if err := look(tx); err != nil {
				return err
			}
			rec.Seen = now
			return put(tx, kindToken, id, rec)
		})
		if err != nil {
			return nil, err
		}
	}
	return &Identity{ID: rec.ID, Name: rec.Name, Role: rec.Role, Token: true}, nil
}

// JSON is what the audit keeps of something: never a secret.
func JSON(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return ""
	}
	return string(b)
}
