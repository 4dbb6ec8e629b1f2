package serve

import (
	"fmt"
	"strings"
	"testing"

	"github.com/tidemark-sync/tidemark/internal/checkup"
	"github.com/tidemark-sync/tidemark/internal/pgtest"
	"github.com/tidemark-sync/tidemark/internal/run"
)

// newReplicated is a hub on a primary whose bootstraps come from its standby, with many
// rows.
func newReplicated(t *testing.T) *pair {
	t.Helper()
	p := &pair{primary: pgtest.Own(t, pgtest.Options{Durable: true})}
	dsn := p.primary.Database(t)
	p.name = strings.TrimPrefix(strings.Split(dsn, "?")[0], "postgres:///")
	p.standby = p.primary.Standby(t, pgtest.Options{})
	p.before, p.after = &server{t, dsn}, &server{t, p.standby.DSN(p.name)}
	p.world = p.before.world()
	p.yaml("hub: {replicas: ['" + p.after.dsn + "']}\n" + shopYAML)
	p.up()
	p.before.sql("INSERT INTO item SELECT 'm' || i, 1, 1000 + i, repeat('x', 2000) FROM generate_series(1, 1500) i")
	p.standby.Follow(t, p.primary)
	return p
}

func (p *pair) reads() int64 { return p.hub.office.server.ReplicaStates()[0].Reads }

// A device's first rows come from the replica, while others write, and are the truth;
// and they come when the replica dies under way, or another one takes its place.
func TestReplica_DevicesAreFilledFromIt(t *testing.T) {
	p := newReplicated(t)
	if level(t, CheckHub(t.Context(), p.hub.Dir(), p.config().Clock), "replica") != checkup.Good {
		t.Error("the doctor does not see that it follows")
	}
	stop, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
				p.before.sql(fmt.Sprintf("UPDATE item SET note = 'w%d' WHERE id IN ('m%d', 'm%d')", i, 1+i%1500, 1+(i*7)%1500))
			}
		}
	}()
	one := p.join("one.db", "branch/1")
	if p.reads() == 0 {
		t.Error("nothing was read from the replica")
	}
	if list := p.hub.Load().Replicas; len(list) != 1 || list[0].Reads != p.reads() || list[0].Fault != "" || strings.Contains(list[0].Address, "password") {
		t.Errorf("the hub's load says %+v of it", list)
	}
	after := p.reads()
	killed := false
	two := p.edge("two.db")
	token := p.token("two.db", "branch/1")
	_, err := run.Join(t.Context(), run.JoinConfig{Edge: two, Token: token})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		_, err := run.Once(t.Context(), run.OnceConfig{Edge: two})
		done <- err
	}()
	for !killed {
		select {
		case err := <-done:
			done <- err
			killed = true
		default:
			killed = p.reads() > after
		}
	}
	p.standby.Kill(t)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	three := p.join("three.db", "branch/1")
	close(stop)
	<-ended
	want := p.before.sql("SELECT string_agg(id || n || coalesce(note, ''), ',' ORDER BY id COLLATE \"C\") FROM item WHERE branch = 1")
	for _, e := range []run.Edge{one, two, three} {
		p.sync(e)
		if got := strings.TrimSpace(sh(t, e.File, "SELECT group_concat(id || n || coalesce(note, ''), ',') FROM (SELECT * FROM item ORDER BY id)")); got != want {
			t.Errorf("%s differs from the hub", e.File)
		}
	}
	if level(t, CheckHub(t.Context(), p.hub.Dir(), p.config().Clock), "replica") != checkup.Warn {
		t.Error("the doctor does not see that it is gone")
	}
}

// A hub with a replica that never serves is a hub without one; the doctor says why.
func TestReplica_OneThatIsNoneCostsTimeOnly(t *testing.T) {
	p := newReplicated(t)
	p.standby.Promote(t)
	p.after.sql("UPDATE item SET note = 'stranger'")
	e := p.join("one.db", "branch/1")
	if got := strings.TrimSpace(sh(t, e.File, "SELECT count(*) FROM item WHERE note = 'stranger'")); got != "0" {
		t.Errorf("%s rows of a server that went its own way", got)
	}
	reads(t, e.File, "SELECT count(*) FROM item", "1502")
	found := false
	for _, f := range CheckHub(t.Context(), p.hub.Dir(), p.config().Clock) {
		found = found || f.Check == "replica" && f.Level == checkup.Warn && strings.Contains(f.Text, "no standby")
	}
	if !found {
		t.Error("the doctor does not say why")
	}
}
