package people_test

import (
	"strings"
	"testing"
	"time"

	"github.com/tidemark-sync/tidemark/internal/people"
)

func TestRolesMayWhatThoseBeforeThemMay(t *testing.T) {
	order := []people.Role{people.Nobody, people.Viewer, people.Operator, people.Admin}
	for i, have := range order {
		for j, least := range order {
			if have.May(least) != (i >= j) {
				t.Errorf("%s may what %s may: %v", have, least, have.May(least))
			}
		}
	}
	for _, odd := range []people.Role{"", "owner"} {
		if odd.May(people.Nobody) || people.Admin.May(odd) {
			t.Errorf("the role %q means something", odd)
		}
	}
	if r, err := people.ParseRole(" Admin "); err != nil || r != people.Admin {
		t.Errorf("admin is read as %q, %v", r, err)
	}
	if _, err := people.ParseRole("nobody"); err == nil {
		t.Error("a person could be nobody")
	}
}

func TestAChangedRoleEndsSessionsEverywhere(t *testing.T) {
	w := newWorld(t)
	w.admin("Ada")
	ben := w.person("Ben", people.Operator)
	s := w.session(ben)
	w.in(s)
	_, same, err := w.book.SetRole(w.ctx, ben.ID, people.Operator, "")
	w.must(err)
	w.in(s)
	before, after, err := w.book.SetRole(w.ctx, ben.ID, people.Viewer, same.Version)
	w.must(err)
	if before.Role != people.Operator || after.Role != people.Viewer {
		t.Errorf("the role went from %s to %s", before.Role, after.Role)
	}
	w.out(s)
	_, _, err = w.book.SetRole(w.ctx, ben.ID, people.Admin, same.Version)
	w.refused(err, "stale")
	_, err = w.book.Remove(w.ctx, ben.ID, same.Version)
	w.refused(err, "stale")
	_, _, err = w.book.SetRole(w.ctx, ben.ID, "owner", "")
	w.refused(err, "role")
	_, _, err = w.book.SetRole(w.ctx, "nobody", people.Admin, "")
	w.refused(err, "no-such-person")
}

func TestARemovedPersonIsOutAtOnce(t *testing.T) {
	w := newWorld(t)
	w.admin("Ada")
	ben := w.person("Ben", people.Operator)
	s := w.session(ben)
	_, err := w.book.Remove(w.ctx, ben.ID, ben.Version)
	w.must(err)
	w.out(s)
	_, err = w.book.Login(w.ctx, "Ben", good, "")
	w.refused(err, "wrong-login")
	_, err = w.book.Person(w.ctx, "Ben")
	w.refused(err, "no-such-person")
	l, err := w.book.Invite(w.ctx, "Cyd", people.Viewer)
	w.must(err)
	_, err = w.book.Remove(w.ctx, l.Person.ID, "")
	w.must(err)
	_, err = w.book.SetUp(w.ctx, l.Secret, "", good)
	w.refused(err, "link-unknown")
}

func TestTheLastAdminStays(t *testing.T) {
	w := newWorld(t)
	ada := w.admin("Ada")
	_, err := w.book.Remove(w.ctx, ada.ID, "")
	w.refused(err, "last-admin")
	_, _, err = w.book.SetRole(w.ctx, ada.ID, people.Viewer, "")
	w.refused(err, "last-admin")
	l, err := w.book.Invite(w.ctx, "Ben", people.Admin) // who has not come yet does not count
	w.must(err)
	_, err = w.book.Remove(w.ctx, ada.ID, "")
	w.refused(err, "last-admin")
	_, err = w.book.SetUp(w.ctx, l.Secret, "", good)
	w.must(err)
	_, err = w.book.Remove(w.ctx, ada.ID, "")
	w.must(err)
}

func TestSessionsEnd(t *testing.T) {
	w := newWorld(t)
	ada := w.admin("Ada")
	s := w.session(ada)
	for _, bad := range []string{"", "x", s + "x", ada.ID + ".", "." + s, strings.Repeat("x", 300) + "."} {
		if _, err := w.book.Session(w.ctx, bad); err == nil {
			t.Errorf("the session %q is good", bad)
		}
	}
	w.clock.Advance(people.IdleFor - time.Minute)
	w.in(s) // and is noted
	w.clock.Advance(people.IdleFor - time.Minute)
	w.in(s)
	w.clock.Advance(people.IdleFor + time.Minute)
	w.out(s)
	s = w.session(ada)
	for range 15 { // used all the time
		w.clock.Advance(people.SessionFor / 16)
		w.in(s)
	}
	w.clock.Advance(people.SessionFor/16 + time.Minute)
	w.out(s)
	s = w.session(ada)
	other := w.session(ada)
	who, err := w.book.Session(w.ctx, s)
	w.must(err)
	w.must(w.book.End(w.ctx, who.Session))
	w.out(s)
	w.in(other)
	w.must(w.book.EndAll(w.ctx, ada.ID, ""))
	w.out(other)
}

func TestAPersonHasFewSessions(t *testing.T) {
	w := newWorld(t)
	ada := w.admin("Ada")
	first := w.session(ada)
	for range 20 {
		w.clock.Advance(time.Second)
		w.session(ada)
	}
	w.out(first)
}

func TestEachSessionHasItsOwnCSRF(t *testing.T) {
	w := newWorld(t)
	ada := w.admin("Ada")
	a, err := w.book.Session(w.ctx, w.session(ada))
	w.must(err)
	b, err := w.book.Session(w.ctx, w.session(ada))
	w.must(err)
	if a.CSRF == "" || a.CSRF == b.CSRF || a.Session == b.Session {
		t.Errorf("two sessions have %q and %q", a.CSRF, b.CSRF)
	}
}

func TestTokensLetScriptsIn(t *testing.T) {
	w := newWorld(t)
	tok, secret, err := w.book.AddToken(w.ctx, "nightly", people.Viewer, "Ada")
	w.must(err)
	who, err := w.another().Bearer(w.ctx, secret)
	w.must(err)
	if who.Role != people.Viewer || !who.Token || who.Name != "nightly" || who.Session != "" {
		t.Errorf("the token is %+v", who)
	}
	for _, bad := range []string{"", "tidemark_", "tidemark_" + tok.ID + "_x", secret + "x", "x" + secret} {
		_, err := w.book.Bearer(w.ctx, bad)
		w.refused(err, "token")
	}
	list, err := w.book.Tokens(w.ctx)
	w.must(err)
	if len(list) != 1 || list[0].Seen.IsZero() || list[0].By != "Ada" {
		t.Errorf("tokens are %+v", list)
	}
	_, _, err = w.book.AddToken(w.ctx, "NIGHTLY", people.Viewer, "")
	w.refused(err, "name-taken")
	_, _, err = w.book.AddToken(w.ctx, "", people.Viewer, "")
	w.refused(err, "name")
	_, _, err = w.book.AddToken(w.ctx, "x", "owner", "")
	w.refused(err, "role")
	_, err = w.book.RemoveToken(w.ctx, "nightly")
	w.must(err)
	_, err = w.book.Bearer(w.ctx, secret)
	w.refused(err, "token")
	_, err = w.book.RemoveToken(w.ctx, "nightly")
	w.refused(err, "no-such-token")
}

func TestABookNeedsWhatItNeeds(t *testing.T) {
	w := newWorld(t)
	for _, c := range []people.Config{{}, {Store: w.store, Clock: w.clock, Rand: strings.NewReader(""), Key: []byte("short")}} {
		if _, err := people.New(c); err == nil {
			t.Errorf("a book of %+v", c)
		}
	}
	b, err := people.New(people.Config{Store: w.store, Clock: w.clock, Rand: strings.NewReader(""), Key: make([]byte, 32), Cost: cheap})
	w.must(err)
	if _, err := b.SetUpLink(w.ctx); err == nil {
		t.Error("a secret without randomness")
	}
}
