package main

import (
	"slices"
	"testing"
	"time"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/clock"
	"github.com/tidemark-sync/tidemark/internal/hub"
)

// A hub that was set back has no ranges of the life that it lost; devices still have
// them, and the list says so.
func TestNumbersOfALostLifeAreListed(t *testing.T) {
	d := &door{clock: clock.System{}}
	at := d.clock.Now().Add(-time.Minute)
	kept, lost, grown, none := change.DeviceID{1}, change.DeviceID{2}, change.DeviceID{3}, change.DeviceID{4}
	names := map[change.DeviceID]string{kept: "kept", lost: "lost", grown: "grown", none: "none"}
	rows := numberRows(d, &hub.SeriesReport{
		Name:   "invoice.no",
		Ranges: []hub.NumberGrant{{Device: kept, First: 1, Last: 20}, {Device: grown, First: 21, Last: 40}},
		Left: []hub.NumberReport{{Device: kept, Left: 5, Highest: 20, At: at}, {Device: lost, Left: 7, Highest: 1060, At: at},
			{Device: grown, Left: 30, Highest: 80, At: at}, {Device: none, At: at}},
	}, names)
	want := [][]string{
		{"invoice.no", "kept", "1", "1-20", "5"},
		{"invoice.no", "grown", "1", "21-40 and up to 80, of a lost life", "30"},
		{"invoice.no", "lost", "0", "- and up to 1060, of a lost life", "7"},
	}
	if len(rows) != len(want) {
		t.Fatalf("%q", rows)
	}
	for i := range want {
		if !slices.Equal(rows[i][:5], want[i]) || rows[i][5] != d.ago(at) {
			t.Errorf("%q, want %q", rows[i], want[i])
		}
	}
}
