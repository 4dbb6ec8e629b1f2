package hub

import (
	"testing"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/rule"
)

func TestSessionHeedsWhatItWaitsFor(t *testing.T) {
	s := &Session{}
	north := &Stir{Scopes: map[rule.ScopeID]bool{"region/north": true}}
	mine := &Stir{Authors: map[change.Incarnation]bool{{1}: true}}
	if !s.Heeds(north) {
		t.Error("until it is known what a session waits for, everything counts")
	}
	s.heed.only([]rule.ScopeID{"all", "region/south"}, change.Incarnation{1})
	if s.Heeds(north) || s.Heeds(&Stir{}) {
		t.Error("the north does not concern the south")
	}
	if !s.Heeds(mine) || !s.Heeds(&Stir{All: true}) || !s.Heeds(&Stir{Scopes: map[rule.ScopeID]bool{"region/south": true}}) {
		t.Error("a session missed what concerns it")
	}
	s.heed.anything()
	if !s.Heeds(north) {
		t.Error("while it looks, everything counts")
	}
}
