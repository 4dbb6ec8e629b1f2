package edge

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/tidemark-sync/tidemark/change"
)

func TestJournal_WholeRecordsOnly(t *testing.T) {
	path := filepath.Join(t.TempDir(), "j")
	j, err := createJournal(path)
	if err != nil {
		t.Fatal(err)
	}
	var ends []int64
	for i := range 5 {
		if err := j.append('C', bytes.Repeat([]byte{byte(i)}, 10+i)); err != nil {
			t.Fatal(err)
		}
		ends = append(ends, j.size)
	}
	if err := j.close(); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	read := func(b []byte) (n int) {
		t.Helper()
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		j, err := openJournal(path)
		if err != nil {
			t.Fatal(err)
		}
		defer j.close()
		err = j.scan(func(kind byte, body []byte) error {
			if kind != 'C' || !bytes.Equal(body, bytes.Repeat([]byte{byte(n)}, 10+n)) {
				t.Fatalf("record %d reads %q", n, body)
			}
			n++
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := j.append('C', nil); err != nil { // it goes on where the tail was cut
			t.Fatal(err)
		}
		return n
	}
	for cut := range len(whole) + 1 {
		want := 0
		for _, e := range ends {
			if e <= int64(cut) {
				want++
			}
		}
		if n := read(whole[:cut]); n != want {
			t.Fatalf("cut at %d: %d records, want %d", cut, n, want)
		}
		if cut < len(whole) {
			b := bytes.Clone(whole)
			b[cut] ^= 0x40
			if n := read(b); n > 4 {
				t.Fatalf("flipped byte %d went unnoticed", cut)
			}
		}
	}
}

func TestStage_DamagedPlanStartsAnew(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.db")
	s := newStage(path)
	if err := s.begin(&fetchPlan{Full: true}); err != nil {
		t.Fatal(err)
	}
	if err := s.chunk(place{Table: "t", Rows: 3}, nil); err != nil {
		t.Fatal(err)
	}
	if err := s.close(); err != nil {
		t.Fatal(err)
	}
	again := newStage(path)
	if err := again.resume(); err != nil || again.plan == nil || again.at.Rows != 3 {
		t.Fatalf("resumed %+v, %v", again.at, err)
	}
	if err := again.close(); err != nil {
		t.Fatal(err)
	}
	file := again.path(bootstrapFile)
	if err := os.Truncate(file, int64(len(journalMagic))+3); err != nil {
		t.Fatal(err)
	}
	if err := again.resume(); err != nil || again.plan != nil || exists(file) {
		t.Fatalf("plan %+v, %v", again.plan, err)
	}
	// A plan that reads back but is none.
	if err := again.begin(&fetchPlan{}); err != nil {
		t.Fatal(err)
	}
	if err := again.file.append(recordChunk, []byte("no head")); err != nil {
		t.Fatal(err)
	}
	if err := again.close(); err != nil {
		t.Fatal(err)
	}
	if err := again.resume(); err == nil {
		t.Fatal("a chunk without a head was taken")
	}
}

func TestStage_NoRoomForFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.db")
	s := newStage(path)
	if err := os.WriteFile(s.dir, nil, 0o600); err != nil { // a file stands in the way
		t.Fatal(err)
	}
	s.limit = 1
	if err := s.part([]byte("large")); err == nil {
		t.Error("a delta went nowhere")
	}
	if err := s.resume(); err == nil {
		t.Error("nothing was resumed without an error")
	}
	if err := s.begin(&fetchPlan{}); err == nil {
		t.Error("a bootstrap began without a directory")
	}
}

// A hub that knows no parts takes nothing larger than a frame: what follows waits,
// downloads go on, and the reason is told.
func TestTrapD14_TooLargeForAFrameOfAnOldHub(t *testing.T) {
	c := enrolled(t)
	c.h.frame = 6 << 10
	c.tx("INSERT INTO patient VALUES ('small', 1, 'x', 0, NULL)")
	c.tx("INSERT INTO patient VALUES ('big', 1, hex(randomblob(20000)), 0, NULL)")
	c.tx("INSERT INTO patient VALUES ('later', 1, 'x', 0, NULL)")
	l := c.dial()
	l.sync()
	if len(c.h.received) != 1 {
		t.Fatalf("received %v", c.h.received)
	}
	c.h.put("patient", text("hub"), num(1), text("x"), num(0), change.Null)
	l.sync()
	c.want("SELECT count(*) FROM patient", "4") // downloads go on
	if q := c.queue(); len(q) != 2 || q[0].Reason == "" || q[1].Reason != "" || c.status().OldestUnsafe == 0 {
		t.Fatalf("queue %+v", q)
	}
	c.h.frame = 1 << 20
	c.dial().sync()
	c.agree(true)
}

func TestSettle_RedoRingIsBounded(t *testing.T) {
	c := enrolled(t)
	c.e.cfg.RedoBytes = 2000
	for i := range 40 {
		c.tx(fmt.Sprintf("INSERT INTO patient VALUES ('p%d', 1, 'some name of a person', 0, NULL)", i))
	}
	c.dial().sync()
	c.agree(true)
	c.want("SELECT sum(length(body)) <= 2000, sum(length(body)) > 1000, max(seq) FROM _tidemark_outbox", "1|1|40")
	c.tx("INSERT INTO patient VALUES ('next', 1, 'x', 0, NULL)")
	c.dial().sync()
	c.agree(true)

	// A hub that lost more than the ring holds meets a new incarnation.
	_, inc := c.e.Identity()
	c.h.progress[inc] = &fakeProgress{}
	c.dial().sync()
	if _, now := c.e.Identity(); now == inc {
		t.Fatal("the chain has a hole and goes on")
	}
	c.agree(true)
}

func TestEngine_NotEnrolled(t *testing.T) {
	c := newClinic(t)
	if st, err := c.e.Status(); err != nil || st.Installed {
		t.Errorf("status %+v, %v", st, err)
	}
	if q, err := c.e.Queue(0, 1); err != nil || q != nil {
		t.Errorf("queue %v, %v", q, err)
	}
	if r, err := c.e.Rescues(0, 1); err != nil || r != nil {
		t.Errorf("rescues %v, %v", r, err)
	}
	if g, err := c.e.Grants(); err != nil || g != nil {
		t.Errorf("grants %v, %v", g, err)
	}
	if _, err := c.e.Queued(change.TxID{1}); err == nil {
		t.Error("a transaction was found")
	}
	if _, err := c.e.Digest("patient"); err == nil {
		t.Error("a table was summed")
	}
	l := c.dial()
	if err := l.s.Verify(t.Context(), l.send, nil, false); err == nil {
		t.Error("verified before Welcome")
	}
	if ok, err := l.s.Synced(); ok || err != nil {
		t.Errorf("synced %v, %v", ok, err)
	}
	if err := errors.Join(l.s.Nudge(t.Context(), l.send), l.s.Tick(t.Context(), l.send)); err != nil {
		t.Error(err)
	}
	for s := waiting; s <= settled+1; s++ {
		if s.String() == "" {
			t.Errorf("state %d has no name", s)
		}
	}
}
