package fleet

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/rule"
	"github.com/tidemark-sync/tidemark/internal/serve"
	"github.com/tidemark-sync/tidemark/internal/wire/transport"
)

const (
	perBranch = 10 // how many devices share a scope
	note      = "written without a network"

	tableSQL = "CREATE TABLE entry (id TEXT PRIMARY KEY NOT NULL, branch TEXT NOT NULL, note TEXT, n INTEGER);"
	rulesFmt = "hub:\n  listen: 127.0.0.1:0\n%stables:\n  entry: {scope: \"branch/{branch}\"}\n"
)

// enrol makes the hub, and its devices known to it.
func (f *fleet) enrol(ctx context.Context) error {
	redis := ""
	if f.Redis != "" {
		redis = fmt.Sprintf("  redis: %q\n", f.Redis)
	}
	rules, table := filepath.Join(f.Dir, "tidemark.yaml"), filepath.Join(f.Dir, "table.sql")
	if err := errors.Join(os.WriteFile(rules, fmt.Appendf(nil, rulesFmt, redis), 0o600), os.WriteFile(table, []byte(tableSQL), 0o600)); err != nil {
		return err
	}
	h, err := serve.NewHub(serve.HubConfig{Dir: f.hubs[0].dir, ConfigFile: rules, Schema: table, Database: f.base.hasty(), Clock: f.Clock, Rand: f.Rand, NoSync: true})
	if err != nil {
		return err
	}
	if err := h.Start(ctx); err != nil {
		return err
	}
	for first := 0; first < f.Devices && err == nil; first += perBranch {
		err = f.branch(ctx, h.Core(), first, min(first+perBranch, f.Devices))
	}
	return errors.Join(err, h.Stop())
}

// branch adds devices that share a scope, lets each say hello once, and do its work.
func (f *fleet) branch(ctx context.Context, core *hub.Hub, first, end int) error {
	name := branchOf(first)
	scope := rule.ScopeID("branch/" + name)
	for i := first; i < end; i++ {
		if err := f.add(ctx, core, i, scope); err != nil {
			return err
		}
	}
	cursor, _, err := core.Digests(ctx, []rule.ScopeID{scope})
	if err != nil {
		return err
	}
	met := make([]error, end-first)
	var wait sync.WaitGroup
	for i, d := range f.devices[first:end] {
		wait.Go(func() { met[i] = d.greet(ctx, core) })
	}
	wait.Wait()
	if err := errors.Join(met...); err != nil {
		return err
	}
	for i := first; i < end; i++ {
		d := f.devices[i]
		d.cursor = cursor
		if err := f.write(d, i, name); err != nil {
			return err
		}
	}
	return nil
}

func branchOf(device int) string { return fmt.Sprint(device / perBranch) }

func (f *fleet) add(ctx context.Context, core *hub.Hub, i int, scope rule.ScopeID) error {
	inv, err := core.AddDevice(ctx, fmt.Sprint("device-", i), []rule.Grant{{Scope: scope, Verbs: rule.Every}}, 0)
	if err != nil {
		return err
	}
	key, err := transport.NewKey(f.Rand)
	if err != nil {
		return err
	}
	spki, err := x509.MarshalPKIXPublicKey(key.Signer().Public())
	if err != nil {
		return err
	}
	if _, _, err := core.Join(ctx, inv.Secret, spki); err != nil {
		return err
	}
	d := &device{clock: f.Clock, id: inv.Device, key: key, setup: core.Setup()}
	if d.inc, err = change.NewIncarnation(f.Rand); err != nil {
		return err
	}
	f.devices = append(f.devices, d)
	return nil
}

// write is what the device did while it was away.
func (f *fleet) write(d *device, i int, branch string) error {
	var prev change.Hash
	for n := range f.Changes {
		id, err := change.NewTxID(f.Rand)
		if err != nil {
			return err
		}
		row := fmt.Sprintf("%d-%d", i, n)
		t := &change.Transaction{ID: id, Device: d.id, Incarnation: d.inc, Seq: uint64(n + 1), Prev: prev, Bases: []change.Cursor{d.cursor},
			HLC: change.NewHLC(f.Clock.Now().UnixMilli(), uint16(n)), Ops: []change.Op{{Table: "entry", Kind: change.Insert, Key: change.Key{change.Text(row)},
				Columns: []string{"id", "branch", "note", "n"}, Rows: []uint64{uint64(n + 1)},
				New: []change.Value{change.Text(row), change.Text(branch), change.Text(note), change.Int(int64(n))}}}}
		prev = t.Sum()
		d.txs = append(d.txs, t)
	}
	return nil
}
