package run

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/disk"
	"github.com/tidemark-sync/tidemark/internal/edge"
)

// Detached tells what became of a file that was detached.
type Detached struct {
	File    string          `json:"file"`
	Device  change.DeviceID `json:"device"`
	Rescue  string          `json:"rescue,omitempty"` // where unsafe work was kept
	Rescued int             `json:"rescued_transactions"`
}

// ErrUnsafe says that work would be lost.
var ErrUnsafe = edge.ErrUnsafe

// Detach takes Tidemark out of a file. While the file holds work that is not safe
// at the hub it refuses with ErrUnsafe (trap D20), or with force writes that work
// out first.
func Detach(_ context.Context, e Edge, force bool) (_ *Detached, err error) {
	id, err := ReadIdentity(e.File)
	if err != nil {
		return nil, err
	}
	lock, err := disk.Take(lockPath(e.File))
	if err != nil {
		return nil, err
	}
	defer lock.Release()
	eng, err := e.open()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, eng.Close()) }()
	out := &Detached{File: e.File, Device: id.Device}
	err = eng.Detach(false)
	if force && errors.Is(err, ErrUnsafe) {
		if err := out.rescue(eng, e); err != nil {
			return nil, err
		}
		err = eng.Detach(true)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", e.File, err)
	}
	if err := os.RemoveAll(SideDir(e.File)); err != nil {
		return nil, fmt.Errorf("remove %s: %w", SideDir(e.File), err)
	}
	return out, nil
}

// rescue writes unsafe work to a file that did not exist.
func (d *Detached) rescue(eng *edge.Engine, e Edge) error {
	body, n, err := exportWork(eng, e.File, e.Clock.Now())
	if err != nil {
		return err
	}
	path := e.File + "-rescue.json"
	for i := 2; ; i++ {
		if _, err := os.Lstat(path); err != nil {
			break
		}
		path = fmt.Sprintf("%s-rescue-%d.json", e.File, i)
	}
	if err := disk.WriteFile(path, append(body, '\n')); err != nil {
		return err
	}
	d.Rescue, d.Rescued = path, n
	return nil
}
