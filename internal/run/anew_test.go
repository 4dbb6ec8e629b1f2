package run

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tidemark-sync/tidemark/internal/wire"
	"github.com/tidemark-sync/tidemark/internal/wire/transport"
)

// clone copies a file to another name, with what lies beside it when side is set.
func (w *world) clone(from Edge, name string, side bool) Edge {
	w.t.Helper()
	to := w.edge(name)
	list := []string{"", "-wal"}
	if side {
		list = append(list, "-tidemark")
	}
	for _, suffix := range list {
		if !exists(from.File + suffix) {
			continue
		}
		if out, err := exec.Command("cp", "-r", from.File+suffix, to.File+suffix).CombinedOutput(); err != nil {
			w.t.Fatalf("%v: %s", err, out)
		}
	}
	return to
}

// A copy of an enrolled file becomes a device of its own, and takes its unsent work
// along: the hub takes it once.
func TestJoinAnew(t *testing.T) {
	for _, side := range []bool{true, false} {
		t.Run(fmt.Sprint("side ", side), func(t *testing.T) {
			w := newWorld(t)
			w.up()
			one := w.join("one.db", "branch/1")
			sh(t, one.File, "INSERT INTO item VALUES('both',1,11,'in both')")
			two := w.clone(one, "two.db", side)
			sh(t, one.File, "INSERT INTO item VALUES('left',1,12,'')")
			sh(t, two.File, "INSERT INTO item VALUES('right',1,13,'')")
			w.sync(one)

			token := w.token("other", "branch/1")
			if side {
				if _, err := Join(context.Background(), JoinConfig{Edge: two, Token: token}); !errors.Is(err, ErrJoined) {
					t.Fatalf("without a word: %v", err)
				}
				// A token that the hub refuses leaves the file what it was.
				used := w.token("used", "branch/1")
				if _, err := Join(context.Background(), JoinConfig{Edge: w.edge("three.db"), Token: used}); err != nil {
					t.Fatal(err)
				}
				var f *wire.Fault
				if _, err := Join(context.Background(), JoinConfig{Edge: two, Token: used, Anew: true}); !errors.As(err, &f) || f.Code != "token-used" {
					t.Fatalf("a used token: %v", err)
				}
				if id, err := ReadIdentity(two.File); err != nil || id.Name != "one.db" {
					t.Fatalf("after the refusal: %+v, %v", id, err)
				}
			}
			j, err := Join(context.Background(), JoinConfig{Edge: two, Token: token, Anew: side})
			if err != nil {
				t.Fatal(err)
			}
			if id, err := ReadIdentity(two.File); err != nil || id.Device != j.Device || id.Name != "other" || exists(keyPath(two.File)+".new") {
				t.Errorf("beside the file: %+v, %v", id, err)
			}
			// The same token again, after an answer that got lost.
			if side {
				if err := os.Rename(keyPath(two.File), keyPath(two.File)+".new"); err != nil {
					t.Fatal(err)
				}
				if _, err := Join(context.Background(), JoinConfig{Edge: two, Token: token, Anew: true}); err != nil {
					t.Errorf("again: %v", err)
				}
			}
			w.sync(two)
			w.sync(one)
			for _, e := range []Edge{one, two} {
				reads(t, e.File, "SELECT group_concat(id) FROM (SELECT id FROM item ORDER BY id)", "a,both,c,left,right")
			}
			s, err := FileStatus(context.Background(), two)
			if err != nil || s.Device != j.Device || s.OutboxDepth != 0 || s.Quarantined != 0 {
				t.Errorf("%+v, %v", s, err)
			}
		})
	}
}

// A join anew that stops anywhere after the hub took the token goes on with the same
// one, and until then a sync says so.
func TestJoinAnewGoesOnAfterACut(t *testing.T) {
	for what, cut := range map[string]func(JoinConfig, *Identity) error{
		"before the session":    func(JoinConfig, *Identity) error { return nil },
		"before the key's move": func(cfg JoinConfig, id *Identity) error { return writeIdentity(cfg.File, id) },
	} {
		t.Run(what, func(t *testing.T) {
			w := newWorld(t)
			w.up()
			one := w.join("one.db", "branch/1")
			sh(t, one.File, "INSERT INTO item VALUES('both',1,11,'')")
			two := w.clone(one, "two.db", true)
			secret := w.token("other", "branch/1")
			token, err := transport.ParseToken(secret)
			if err != nil {
				t.Fatal(err)
			}
			cfg := JoinConfig{Edge: two, Token: secret, Anew: true}
			cfg.key = cfg.joinKey()
			id, err := cfg.enlist(t.Context(), token)
			if err == nil {
				err = cut(cfg, id)
			}
			if err != nil {
				t.Fatal(err)
			}
			var f *wire.Fault
			if _, err := Once(t.Context(), OnceConfig{Edge: two}); !errors.As(err, &f) || !f.Fatal || !strings.Contains(f.Hint, "join --anew TOKEN "+two.File) {
				t.Fatalf("a sync before it goes on: %v, %+v", err, f)
			}
			a := w.agent(two)
			eventually(t, "the agent says it, too", func() bool { return strings.Contains(a.Status()[0].Hint, "join --anew") })
			if err := a.Stop(); err != nil {
				t.Fatal(err)
			}
			j, err := Join(t.Context(), JoinConfig{Edge: two, Token: secret, Anew: true})
			if err != nil || j.Device != id.Device || exists(newKeyPath(two.File)) {
				t.Fatalf("again: %+v, %v", j, err)
			}
			w.sync(two)
			w.sync(one)
			reads(t, w.path("hub/hub.db"), "SELECT count(*) FROM item WHERE id='both'", "1")
		})
	}
}

// A refusal that has nothing to do with a join anew stays what it is.
func TestRefusalWithoutAJoin(t *testing.T) {
	e := Edge{File: filepath.Join(t.TempDir(), "x.db")}
	for _, err := range []error{nil, errors.New("forged"), &wire.Fault{Code: "forged", Hint: "h"}, &wire.Fault{Code: "revoked"}} {
		if got := e.halfway(err); !errors.Is(got, err) {
			t.Errorf("%v became %v", err, got)
		}
	}
}

func TestJoinAnewWantsTheSameHub(t *testing.T) {
	w, other := newWorld(t), newWorld(t)
	w.up()
	other.up()
	e := w.join("one.db", "branch/1")
	if _, err := Join(context.Background(), JoinConfig{Edge: e, Token: other.token("x", "branch/1"), Anew: true}); !errors.Is(err, ErrOtherHub) {
		t.Fatalf("another hub's token: %v", err)
	}
	w.sync(e)
}

func TestPassing(t *testing.T) {
	for _, tc := range []struct {
		err  error
		want bool
	}{
		{&wire.Fault{Code: "copied"}, true},
		{fmt.Errorf("session: %w", &wire.Fault{Code: "setup-changed"}), true},
		{&wire.Fault{Code: "copied", Fatal: true}, false},
		{&wire.Fault{Code: "copy-held"}, false},
		{errors.New("copied"), false},
		{nil, false},
	} {
		if got := passing(tc.err); got != tc.want {
			t.Errorf("%v: %v", tc.err, got)
		}
		if tc.want && judge(tc.err).state != StateConnecting {
			t.Errorf("%v is shown as %s", tc.err, judge(tc.err).state)
		}
	}
}
