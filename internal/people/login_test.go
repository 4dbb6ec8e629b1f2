package people_test

import (
	"context"
	"encoding/base32"
	"errors"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"

	"github.com/tidemark-sync/tidemark/internal/people"
)

func TestLoginSaysNotWhatWasWrong(t *testing.T) {
	w := newWorld(t)
	w.admin("Ada")
	_, err := w.book.Login(w.ctx, "ada", good, "")
	w.must(err)
	_, wrong := w.book.Login(w.ctx, "Ada", "another long sentence", "")
	_, unknown := w.book.Login(w.ctx, "Bob", good, "")
	w.refused(wrong, "wrong-login")
	w.refused(unknown, "wrong-login")
	if wrong.Error() != unknown.Error() {
		t.Errorf("%q and %q tell who is known here", wrong, unknown)
	}
	_, err = w.book.Login(w.ctx, "Ada", strings.Repeat("x", 1<<20), "")
	w.refused(err, "wrong-login")
}

func TestWeakPasswordsAreRefused(t *testing.T) {
	w := newWorld(t)
	ada := w.admin("Ada Lovelace")
	for _, weak := range []string{"", "eleven char", "aaaaaaaaaaaaaaaa", "Ada Lovelace 1", strings.Repeat("long enough? ", 100)} {
		_, err := w.book.SetPassword(w.ctx, ada.ID, good, weak, "")
		w.refused(err, "weak-password")
	}
}

func TestAChangedPasswordEndsOtherSessions(t *testing.T) {
	w := newWorld(t)
	ada := w.admin("Ada")
	mine, other := w.session(ada), w.session(ada)
	who, err := w.book.Session(w.ctx, mine)
	w.must(err)
	_, err = w.book.SetPassword(w.ctx, ada.ID, "not the old one", good+"!", who.Session)
	w.refused(err, "wrong-password")
	_, err = w.book.SetPassword(w.ctx, ada.ID, good, good+"!", who.Session)
	w.must(err)
	w.in(mine)
	w.out(other)
	_, err = w.book.Login(w.ctx, "Ada", good, "")
	w.refused(err, "wrong-login")
	_, err = w.book.Login(w.ctx, "Ada", good+"!", "")
	w.must(err)
	_, err = w.book.SetPassword(w.ctx, "nobody", good, good, "")
	w.refused(err, "no-such-person")
}

// code is what an authenticator app shows at a time.
func code(t *testing.T, secret string, at time.Time) string {
	t.Helper()
	c, err := totp.GenerateCode(secret, at)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// withTOTP gives a person an authenticator app, and returns its secret.
func (w *world) withTOTP(p *people.Person) string {
	w.t.Helper()
	q, err := w.book.BeginTOTP(w.ctx, p.ID, "", "")
	w.must(err)
	_, err = w.book.FinishTOTP(w.ctx, p.ID, code(w.t, q.Secret, w.clock.Now()), "")
	w.must(err)
	w.clock.Advance(2 * time.Minute)
	return q.Secret
}

func TestACodeCountsOnceInAllProcesses(t *testing.T) {
	w := newWorld(t)
	ada := w.admin("Ada")
	secret := w.withTOTP(ada)
	_, err := w.book.Login(w.ctx, "Ada", good, "")
	w.refused(err, people.ErrCode)
	_, err = w.book.Login(w.ctx, "Ada", "another long sentence", code(t, secret, w.clock.Now()))
	w.refused(err, "wrong-login") // and the code is still good
	now := code(t, secret, w.clock.Now())
	p, err := w.book.Login(w.ctx, "Ada", good, now[:3]+" "+now[3:])
	w.must(err)
	if !p.TOTP {
		t.Error("the person has no TOTP")
	}
	_, err = w.another().Login(w.ctx, "Ada", good, now)
	w.refused(err, "wrong-code")
	_, err = w.book.Login(w.ctx, "Ada", good, code(t, secret, w.clock.Now().Add(-30*time.Second))) // older than what was taken
	w.refused(err, "wrong-code")
	_, err = w.book.Login(w.ctx, "Ada", good, code(t, secret, w.clock.Now().Add(30*time.Second))) // a clock that is ahead
	w.must(err)
	w.clock.Advance(10 * time.Minute)
	_, err = w.book.Login(w.ctx, "Ada", good, code(t, secret, w.clock.Now().Add(-30*time.Second))) // one that is behind
	w.must(err)
	for _, d := range []time.Duration{-60 * time.Second, 60 * time.Second, time.Hour} {
		_, err = w.book.Login(w.ctx, "Ada", good, code(t, secret, w.clock.Now().Add(d)))
		w.refused(err, "wrong-code")
	}
}

func TestOneOfManyLoginsTakesTheCode(t *testing.T) {
	w := newWorld(t)
	secret := w.withTOTP(w.admin("Ada"))
	c := code(t, secret, w.clock.Now())
	var wait sync.WaitGroup
	in := make(chan bool, 8)
	for range 8 {
		book := w.another()
		wait.Go(func() {
			_, err := book.Login(w.ctx, "Ada", good, c)
			in <- err == nil
		})
	}
	wait.Wait()
	close(in)
	n := 0
	for ok := range in {
		if ok {
			n++
		}
	}
	if n != 1 {
		t.Errorf("%d of 8 logins took one code", n)
	}
}

func TestTOTPMustBeProvenFirst(t *testing.T) {
	w := newWorld(t)
	ada := w.admin("Ada")
	s := w.session(ada)
	_, err := w.book.FinishTOTP(w.ctx, ada.ID, "123456", "")
	w.refused(err, "no-totp")
	q, err := w.book.BeginTOTP(w.ctx, ada.ID, "", "")
	w.must(err)
	if raw, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(q.Secret); err != nil || len(raw) != 20 {
		t.Errorf("the secret %q has %d bytes: %v", q.Secret, len(raw), err)
	}
	u, err := url.Parse(q.URI)
	w.must(err)
	if u.Scheme != "otpauth" || u.Query().Get("secret") != q.Secret || u.Path != "/test hub:Ada" || u.Query().Get("issuer") != "test hub" {
		t.Errorf("the address is %s", q.URI)
	}
	_, err = w.book.Login(w.ctx, "Ada", good, "") // not asked for yet
	w.must(err)
	_, err = w.book.FinishTOTP(w.ctx, ada.ID, "12345", "")
	w.refused(err, "wrong-code")
	_, err = w.book.FinishTOTP(w.ctx, ada.ID, code(t, q.Secret, w.clock.Now()), "")
	w.must(err)
	w.out(s)
	_, err = w.book.BeginTOTP(w.ctx, "nobody", "", "")
	w.refused(err, "no-such-person")
}

func TestTOTPIsTakenAwayByItsOwnerAlone(t *testing.T) {
	w := newWorld(t)
	ada := w.admin("Ada")
	_, err := w.book.RemoveTOTP(w.ctx, ada.ID, good, "123456", "")
	w.refused(err, "no-totp")
	secret := w.withTOTP(ada)
	other, own := w.session(ada), w.session(ada)
	now := func() string { return code(t, secret, w.clock.Now()) }
	for what, try := range map[string]func(password, code string) error{
		"replace": func(password, code string) error {
			_, err := w.book.BeginTOTP(w.ctx, ada.ID, password, code)
			return err
		},
		"remove": func(password, code string) error {
			_, err := w.book.RemoveTOTP(w.ctx, ada.ID, password, code, "")
			return err
		},
	} {
		if err := try("not the password", now()); err == nil {
			t.Errorf("%s without the password", what)
		}
		w.refused(try("not the password", now()), "wrong-password")
		w.refused(try(good, ""), "wrong-code")
		w.refused(try(good, "000000"), "wrong-code")
	}
	q, err := w.book.BeginTOTP(w.ctx, ada.ID, good, now())
	w.must(err)
	w.clock.Advance(2 * time.Minute)
	_, err = w.book.FinishTOTP(w.ctx, ada.ID, code(t, q.Secret, w.clock.Now()), own)
	w.must(err)
	secret = q.Secret
	w.out(other)
	w.clock.Advance(2 * time.Minute)
	p, err := w.book.RemoveTOTP(w.ctx, ada.ID, good, now(), own)
	w.must(err)
	if p.TOTP {
		t.Error("it is still on")
	}
	if _, err := w.book.Login(w.ctx, "Ada", good, ""); err != nil {
		t.Errorf("a login without a code: %v", err)
	}
	if !w.book.Spent() || w.book.Spent() {
		t.Error("the memory of passwords is told once")
	}
}

func TestFewPasswordsAreTriedAtOnce(t *testing.T) {
	w := newWorld(t)
	w.admin("Ada")
	b, err := people.New(people.Config{Store: w.store, Clock: w.clock, Rand: strings.NewReader(strings.Repeat("x", 1000)), Key: make([]byte, 32),
		Cost: people.Cost{Time: 1, Memory: 4 << 10, Threads: 1}})
	w.must(err)
	var wait sync.WaitGroup
	busy := make(chan error, 80)
	ctx, stop := context.WithCancel(t.Context())
	for range 80 {
		wait.Go(func() {
			_, err := b.Login(ctx, "nobody", good, "")
			busy <- err
			var f *people.Fault
			if errors.As(err, &f) && f.Code == "busy" {
				stop() // those that wait need not go on
			}
		})
	}
	wait.Wait()
	stop()
	close(busy)
	n := 0
	for err := range busy {
		var f *people.Fault
		if errors.As(err, &f) && f.Code == "busy" {
			n++
			if f.After <= 0 {
				t.Error("it does not say how long to wait")
			}
		}
	}
	if n == 0 {
		t.Error("80 passwords were tried at once")
	}
}

func TestABrakeSlowsDownWhoFails(t *testing.T) {
	w := newWorld(t)
	b := people.NewBrake(w.clock, 3, time.Second, time.Minute)
	for range 3 {
		w.must(b.Allow("x"))
		b.Failed("x")
	}
	w.must(b.Allow("x"))
	waits := []time.Duration{}
	for range 12 {
		b.Failed("x")
		var f *people.Fault
		if err := b.Allow("x"); !errors.As(err, &f) || f.Kind != people.Busy {
			t.Fatalf("it went on: %v", err)
		}
		waits = append(waits, f.After)
		w.clock.Advance(f.After)
		w.must(b.Allow("x"))
	}
	if waits[0] != time.Second || waits[1] != 2*time.Second || waits[11] != time.Minute {
		t.Errorf("waits are %v", waits)
	}
	w.must(b.Allow("y"))
	b.Failed("x")
	w.clock.Advance(-24 * time.Hour) // a clock that is set back locks nobody out
	w.must(b.Allow("x"))
	b.Done("x")
	b.Failed("x")
	w.must(b.Allow("x"))
	w.clock.Advance(time.Hour)
	for i := range 20_000 {
		b.Failed(time.Duration(i).String())
	}
}
