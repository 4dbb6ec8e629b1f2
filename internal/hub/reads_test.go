package hub_test

import (
	"testing"

	"github.com/tidemark-sync/tidemark/change"
)

// Devices that read the same scopes go by one name at the gate, whoever they are.
func TestSessionsThatReadTheSameGoByOneName(t *testing.T) {
	w := newWorld(t)
	north, wind := w.device("north", branchGrant("north")), w.device("wind", branchGrant("north"))
	south := w.device("south", branchGrant("south"))
	if north.session.Reads() != wind.session.Reads() {
		t.Error("two devices of the north read different scopes")
	}
	if north.session.Reads() == south.session.Reads() {
		t.Error("the north and the south read the same")
	}
	if w.hub.NewSession(north.id).Reads() != (change.Hash{}) {
		t.Error("who did not say hello reads something")
	}
}
