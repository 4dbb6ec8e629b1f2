package people_test

import (
	"testing"
	"time"

	"github.com/tidemark-sync/tidemark/internal/people"
)

func TestASetupLinkMakesOneAdminOnce(t *testing.T) {
	w := newWorld(t)
	if yes, err := w.book.Occupied(w.ctx); err != nil || yes {
		t.Fatalf("occupied %v, %v before anybody came", yes, err)
	}
	l, err := w.book.SetUpLink(w.ctx)
	w.must(err)
	second, err := w.another().SetUpLink(w.ctx)
	w.must(err)
	_, err = w.book.SetUp(w.ctx, "no such secret", "Ada", good)
	w.refused(err, "link-unknown")
	_, err = w.book.SetUp(w.ctx, l.Secret, "Ada", "short")
	w.refused(err, "weak-password")
	_, err = w.book.SetUp(w.ctx, l.Secret, " ", good)
	w.refused(err, "name")
	p, err := w.book.SetUp(w.ctx, l.Secret, "Ada", good)
	w.must(err)
	if p.Role != people.Admin || p.Name != "Ada" || p.Invited {
		t.Fatalf("set up %+v, want an admin", p)
	}
	_, err = w.book.SetUp(w.ctx, l.Secret, "Eve", good)
	w.refused(err, "link-unknown")
	_, err = w.book.SetUp(w.ctx, second.Secret, "Eve", good) // of another process
	w.refused(err, "set-up")
	_, err = w.book.SetUpLink(w.ctx)
	w.refused(err, "set-up")
}

func TestALinkExpires(t *testing.T) {
	w := newWorld(t)
	l, err := w.book.SetUpLink(w.ctx)
	w.must(err)
	w.clock.Advance(people.LinkFor + time.Second)
	_, err = w.book.SetUp(w.ctx, l.Secret, "Ada", good)
	w.refused(err, "link-expired")
	w.admin("Ada") // a new one sweeps the old one away
	_, err = w.book.SetUp(w.ctx, l.Secret, "Ada", good)
	w.refused(err, "link-unknown")
}

func TestAnInvitationNamesWhoAndRole(t *testing.T) {
	w := newWorld(t)
	w.admin("Ada")
	l, err := w.book.Invite(w.ctx, "Ben", people.Operator)
	w.must(err)
	if !l.Person.Invited {
		t.Error("who was invited counts as in")
	}
	_, err = w.book.Login(w.ctx, "Ben", "", "")
	w.refused(err, "wrong-login")
	p, err := w.book.SetUp(w.ctx, l.Secret, "Mallory", good)
	w.must(err)
	if p.Name != "Ben" || p.Role != people.Operator {
		t.Errorf("the link let %s in as %s", p.Name, p.Role)
	}
	_, err = w.book.Invite(w.ctx, "BEN", people.Viewer)
	w.refused(err, "name-taken")
	_, err = w.book.Invite(w.ctx, "Cyd\u0007", people.Viewer)
	w.refused(err, "name")
	_, err = w.book.Invite(w.ctx, "Cyd", "owner")
	w.refused(err, "role")
}

func TestTheFirstAdminMayHaveAnInvitedName(t *testing.T) {
	w := newWorld(t)
	l, err := w.book.Invite(w.ctx, "Ada", people.Viewer)
	w.must(err)
	w.admin("ada")
	_, err = w.book.SetUp(w.ctx, l.Secret, "", good)
	w.refused(err, "link-unknown")
	list, err := w.book.People(w.ctx)
	w.must(err)
	if len(list) != 1 || list[0].Role != people.Admin {
		t.Errorf("people are %+v, want one admin", list)
	}
}

func TestResetTakesAllProofsAway(t *testing.T) {
	w := newWorld(t)
	ada := w.admin("Ada")
	ben := w.person("Ben", people.Viewer)
	s := w.session(ben)
	_, err := w.book.Reset(w.ctx, ada.ID, "", false)
	w.refused(err, "last-admin")
	l, err := w.book.Reset(w.ctx, ben.ID, "", false)
	w.must(err)
	w.out(s)
	_, err = w.book.Login(w.ctx, "Ben", good, "")
	w.refused(err, "wrong-login")
	again, err := w.book.Reset(w.ctx, ben.ID, "", false)
	w.must(err)
	_, err = w.book.SetUp(w.ctx, l.Secret, "", good)
	w.refused(err, "link-unknown")
	_, err = w.book.SetUp(w.ctx, again.Secret, "", good+" again")
	w.must(err)
	_, err = w.book.Login(w.ctx, "Ben", good+" again", "")
	w.must(err)
	forced, err := w.book.Reset(w.ctx, ada.ID, "", true) // at the hub's machine
	w.must(err)
	_, err = w.book.SetUp(w.ctx, forced.Secret, "", good)
	w.must(err)
}
