package people

import (
	"context"
	"crypto/subtle"
	"encoding/base32"
	"fmt"
	"net/url"
	"strings"

	"github.com/pquerna/otp"
	"github.com/pquerna/otp/hotp"

	"github.com/tidemark-sync/tidemark/internal/hub"
)

// totpState is a person's authenticator app: RFC 6238 as all of them have it, SHA-1, six
// digits, thirty seconds.
type totpState struct {
	Secret  []byte `json:"secret,omitempty"`  // sealed
	Pending []byte `json:"pending,omitempty"` // sealed: one that no code proved yet
	Step    int64  `json:"step,omitempty"`    // of the last code that was taken: it counts once
}

const (
	totpStep = 30 // seconds
	totpSize = 20 // bytes
)

// A TOTP is what an authenticator app must know.
type TOTP struct {
	Secret string // base32
	URI    string // otpauth://
}

// BeginTOTP proposes a secret, which counts once a code of it was given. Who has one
// already proves with it, and with the password, that it is really them.
func (b *Book) BeginTOTP(ctx context.Context, id, password, code string) (*TOTP, error) {
	if err := b.reallyOwner(ctx, id, password); err != nil {
		return nil, err
	}
	raw, err := b.draw(totpSize)
	if err != nil {
		return nil, err
	}
	text := base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(raw)
	var name string
	err = b.cfg.Store.Update(ctx, func(tx hub.Tx) error {
		r, err := readPerson(tx, id)
		if err != nil {
			return err
		}
		if err := b.useCode(r, code); err != nil {
			return err
		}
		name, r.Totp.Pending = r.Name, b.sealer.seal([]byte(text), "totp "+id)
		return put(tx, kindPerson, id, r)
	})
	if err != nil {
		return nil, err
	}
	uri := fmt.Sprintf("otpauth://totp/%s:%s?algorithm=SHA1&digits=6&issuer=%s&period=%d&secret=%s", escape(b.cfg.Hub), escape(name), escape(b.cfg.Hub), totpStep, text)
	return &TOTP{Secret: text, URI: uri}, nil
}

// FinishTOTP takes the first code of the proposed secret: logins need one from now on.
// Other sessions of the person end.
func (b *Book) FinishTOTP(ctx context.Context, id, code, keep string) (*Person, error) {
	return b.change(ctx, id, "", func(tx hub.Tx, r *record) error {
		if len(r.Totp.Pending) == 0 {
			return unfit("no-totp", "no secret was proposed", "begin again")
		}
		step, err := b.step(r.ID, r.Totp.Pending, code, 0)
		if err != nil {
			return err
		}
		r.Totp = totpState{Secret: r.Totp.Pending, Step: step}
		return endSessions(tx, id, keep)
	})
}

// RemoveTOTP ends that logins need a code. Other sessions of the person end.
func (b *Book) RemoveTOTP(ctx context.Context, id, password, code, keep string) (*Person, error) {
	if err := b.reallyOwner(ctx, id, password); err != nil {
		return nil, err
	}
	return b.change(ctx, id, "", func(tx hub.Tx, r *record) error {
		if len(r.Totp.Secret) == 0 {
			return unfit("no-totp", "logins need no code", "there is nothing to remove")
		}
		if err := b.useCode(r, code); err != nil {
			return err
		}
		r.Totp = totpState{Step: r.Totp.Step}
		return endSessions(tx, id, keep)
	})
}

// reallyOwner tries the password of a person who has TOTP: whoever came by a session must
// not be able to take that away.
func (b *Book) reallyOwner(ctx context.Context, id, password string) error {
	var r *record
	err := b.cfg.Store.View(ctx, func(v hub.View) (err error) {
		r, err = readPerson(v, id)
		return err
	})
	if err != nil || len(r.Totp.Secret) == 0 || r.Password == "" {
		return err
	}
	ok, err := b.hasher.try(ctx, password, r.Password)
	if err == nil && !ok {
		err = invalid("wrong-password", "the password is wrong", "an admin can reset it when it was lost")
	}
	return err
}

// useCode takes a code of a person who has TOTP.
func (b *Book) useCode(r *record, code string) error {
	if len(r.Totp.Secret) == 0 {
		return nil
	}
	step, err := b.step(r.ID, r.Totp.Secret, code, r.Totp.Step)
	if err != nil {
		return err
	}
	r.Totp.Step = step
	return nil
}

// step finds the step, after the last one that was taken, that a code belongs to. The
// clocks may differ by one.
func (b *Book) step(id string, sealed []byte, code string, after int64) (int64, error) {
	secret, err := b.sealer.open(sealed, "totp "+id)
	if err != nil {
		return 0, fmt.Errorf("read the secret of TOTP: %w", err)
	}
	code = strings.ReplaceAll(strings.TrimSpace(code), " ", "")
	now := b.cfg.Clock.Now().Unix() / totpStep
	for s := max(now-1, after+1); s <= now+1; s++ {
		want, err := hotp.GenerateCodeCustom(string(secret), uint64(s), hotp.ValidateOpts{Digits: otp.DigitsSix, Algorithm: otp.AlgorithmSHA1}) //nolint:gosec // the clock stands after 1970
		if err != nil {
			return 0, fmt.Errorf("compute the code of TOTP: %w", err)
		}
		if subtle.ConstantTimeCompare([]byte(want), []byte(code)) == 1 {
			return s, nil
		}
	}
	return 0, denied("wrong-code", "the code is wrong, or was used already", "wait for the next one; look whether the clock of the phone is right")
}

// escape writes a text into an otpauth address: apps do not take + for a blank.
func escape(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") }
