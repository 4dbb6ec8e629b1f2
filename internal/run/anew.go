package run

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
	"github.com/tidemark-sync/tidemark/internal/wire"
	"github.com/tidemark-sync/tidemark/internal/wire/transport"
)

// ErrOtherHub says that a file is enrolled with another hub than the token's.
var ErrOtherHub = errors.New("the file is enrolled with another hub")

// newcomer checks that a file may join: that it is not enrolled, or is to be enrolled
// anew, with the same hub.
func (cfg JoinConfig) newcomer(token transport.Token) error {
	id, err := ReadIdentity(cfg.File)
	switch {
	case errors.Is(err, ErrNotJoined):
		return nil
	case err != nil:
		return err
	case !cfg.Anew:
		return fmt.Errorf("%s as %s at %s: %w", cfg.File, id.Name, id.URL, ErrJoined)
	case id.Pin != token.Pin:
		return fmt.Errorf("%s, at %s: %w", cfg.File, id.URL, ErrOtherHub)
	}
	return nil
}

// joinKey is where the key is made that goes to the hub with the token. A file that
// is enrolled keeps the key it has until it is the new device's.
func (cfg JoinConfig) joinKey() string {
	if _, err := ReadIdentity(cfg.File); err == nil {
		return newKeyPath(cfg.File)
	}
	return keyPath(cfg.File)
}

// enlist takes the token to the hub, and gives the file to the device that it is for.
func (cfg JoinConfig) enlist(ctx context.Context, token transport.Token) (*Identity, error) {
	id, err := cfg.enrol(ctx, token, cfg.key)
	if err != nil {
		return nil, err
	}
	return id, cfg.adopt(id.Device)
}

// adopt makes a file that was enrolled before, here or where it was copied from, the
// new device's. Unsent work goes along.
func (cfg JoinConfig) adopt(device change.DeviceID) error {
	if was, err := cfg.enrolled(); err != nil || !was {
		return err
	}
	e, err := cfg.open()
	if err != nil {
		return err
	}
	if err := errors.Join(e.Adopt(device), e.Close()); err != nil {
		return fmt.Errorf("enrol %s anew: %w", cfg.File, err)
	}
	return nil
}

// settle writes down beside the file whom it belongs to. The new key comes last: as
// long as it has its own name, the same token finds it again.
func (cfg JoinConfig) settle(id *Identity) error {
	if err := writeIdentity(cfg.File, id); err != nil {
		return err
	}
	if cfg.key == keyPath(cfg.File) {
		return nil
	}
	if err := os.Rename(cfg.key, keyPath(cfg.File)); err != nil {
		return fmt.Errorf("put the new key in place: %w", err)
	}
	return nil
}

// halfway says of a refusal what to do when the file is the new device's already, and
// the new key not in its place: a join anew was interrupted.
func (e Edge) halfway(err error) error {
	f, ok := errors.AsType[*wire.Fault](err)
	if !ok || f.Code != "forged" {
		return err
	}
	if _, e := os.Stat(newKeyPath(e.File)); e != nil {
		return err
	}
	g := *f
	g.Message = "the file was to be another device, and its join was interrupted: " + f.Message
	g.Hint = "run it again with the same token, which goes on: tidemark join --anew TOKEN " + e.File
	return &g
}

// enrolled reports whether a file was enrolled once, whatever lies beside it.
func (e Edge) enrolled() (was bool, err error) {
	if _, err := os.Stat(e.File); errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	c, err := sqlite.Open(e.File, sqlite.Options{ReadOnly: true, MustExist: true})
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	_, was, err = sqlite.One(c, "SELECT 1 FROM sqlite_schema WHERE name='_tidemark_meta'")
	return was, err
}

// passing reports whether the hub ended a session only so that another one begins:
// there is no reason to wait, nor to tell anybody.
func passing(err error) bool {
	f, ok := errors.AsType[*wire.Fault](err)
	return ok && !f.Fatal && (f.Code == "copied" || f.Code == "setup-changed" || f.Code == "restored")
}

// passes is how many sessions in a row one visit takes to be passing.
const passes = 5
