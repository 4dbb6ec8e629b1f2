package main

import (
	"errors"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/api"
	"github.com/tidemark-sync/tidemark/internal/api/pb"
)

func TestTheMostPressingNoteIsShown(t *testing.T) {
	day := time.Date(2026, 3, 1, 12, 0, 0, 0, time.Local)
	for want, r := range map[string]deviceRow{
		"":                                    {Name: "a", State: "active"},
		"held: tidemark device allow 'a b'":   {Name: "a b", State: "active", Held: 1, standing: standing{Paused: true}},
		"paused: tidemark device resume a":    {Name: "a", State: "active", standing: standing{Paused: true, Isolated: true}},
		"isolated: tidemark device release a": {Name: "a", State: "active", standing: standing{Isolated: true}, CopyOf: "x"},
		"copy of first":                       {Name: "a", State: "revoked", standing: standing{Paused: true}, CopyOf: "x", Restored: day},
		"restored 2026-03-01":                 {Name: "a", Restored: day},
	} {
		if got := r.noteText("first"); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestLevelsAndStatesAreWords(t *testing.T) {
	f := &deviceFilter{states: []string{"Active", "invited"}, levels: []string{"alarm"}}
	req, err := f.request()
	if err != nil || len(req.GetStates()) != 2 || req.GetStates()[0] != pb.DeviceState_DEVICE_STATE_ACTIVE || req.GetLevels()[0] != pb.Level_LEVEL_ALARM {
		t.Errorf("%v %v", req, err)
	}
	for _, bad := range []*deviceFilter{{states: []string{"unspecified"}}, {levels: []string{"awful"}}} {
		if _, err := bad.request(); err == nil || !strings.Contains(err.Error(), "known are") {
			t.Errorf("%v", err)
		}
	}
	if _, err := (&deviceFilter{levels: []string{"awful"}}).request(); !strings.HasSuffix(err.Error(), "known are ok, notice, warning, alarm") {
		t.Error(err)
	}
}

func TestLivesThatWentOnElsewhere(t *testing.T) {
	at := timestamppb.New(time.Unix(1_700_000_000, 0))
	rows := lifeRows([]*pb.Life{
		{Incarnation: "1", Began: at, Held: true},
		{Incarnation: "2", Began: at, Ended: "the operator shut it out"},
		{Incarnation: "3", Began: at, Ended: "its file is device d from then on", Split: "d"},
		{Incarnation: "4", Began: at, Seen: at, Continues: "1"},
		{Incarnation: "5"},
	})
	for i, want := range []string{"held", "refused: the operator shut it out", "is device d now", "went on from 1", ""} {
		if got := rows[i].note(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	if rows[2].Ended != "" || !rows[4].First.IsZero() || !rows[3].Seen.Equal(at.AsTime()) {
		t.Errorf("%+v", rows)
	}
}

func TestVerifyReportsAreSentences(t *testing.T) {
	at := timestamppb.New(time.Date(2026, 3, 1, 12, 0, 0, 0, time.Local))
	for want, v := range map[string]*pb.VerifyReport{
		"2026-03-01 12:00:00: 1 row, all as at the hub":                    {At: at, Equal: true, Rows: 1},
		"2026-03-01 12:00:00: 2,000 rows, 2 differences: patient, invoice": {At: at, Rows: 2000, Differing: 2, Tables: []string{"patient", "invoice"}},
	} {
		if got := newVerifyRow(v).String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	if newVerifyRow(nil) != nil {
		t.Error("nothing became a report")
	}
}

func TestEditsOfOneOperationGoTogether(t *testing.T) {
	list, err := parseEdits([]string{"1.note=x", "0.number=18", "1.total=NULL"}, []int{2})
	if err != nil || len(list) != 3 || list[0].GetPlace() != 1 || len(list[0].GetSet()) != 2 || !list[2].GetLeaveOut() {
		t.Fatalf("%v %v", list, err)
	}
	if v := api.Value(list[1].GetSet()["number"]); v != change.Int(18) {
		t.Errorf("%v", v)
	}
	if v := api.Value(list[0].GetSet()["total"]); v != change.Null {
		t.Errorf("%v", v)
	}
	for _, bad := range [][]string{{"-1.a=1"}, {"a=1"}, {"1.=1"}, {"1.a=x'0'"}} {
		if _, err := parseEdits(bad, nil); err == nil {
			t.Errorf("%q passed", bad)
		}
	}
	var f *failure
	if _, err := parseEdits(nil, []int{-1}); !errors.As(err, &f) || f.code != exitUsage {
		t.Errorf("%v", err)
	}
}

func TestVersionsWithoutValues(t *testing.T) {
	v := newVersionRow(&pb.Version{Kind: "update", DeviceName: "the hub", Columns: []*pb.VersionColumn{{Name: "phone"},
		{Name: "note", Base: api.ValueOf(change.Text("a")), New: api.ValueOf(change.Null)}}})
	if v.Who != "hub" || v.Columns[0].Known || v.Columns[0].text != "phone" || v.Columns[1].text != "note: 'a' → NULL" {
		t.Errorf("%+v", v)
	}
	v = newVersionRow(&pb.Version{Kind: "insert", Columns: []*pb.VersionColumn{{Name: "n", New: api.ValueOf(change.Int(1))}}})
	if v.Who != "unknown" || v.Columns[0].text != "n: 1" {
		t.Errorf("%+v", v)
	}
	r := newTableRow(&pb.Table{Name: "t", Columns: []*pb.Column{{Name: "id", Key: true}, {Name: "n", Policy: "counter"}}})
	if got := r.columnText(); got != "id*, n (counter)" {
		t.Error(got)
	}
}
