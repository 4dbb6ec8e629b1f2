package tidemark

import (
	"context"
	"errors"
	"fmt"

	"github.com/tidemark-sync/tidemark/internal/disk"
	"github.com/tidemark-sync/tidemark/internal/edge"
	"github.com/tidemark-sync/tidemark/internal/run"
	"github.com/tidemark-sync/tidemark/internal/wire"
	"github.com/tidemark-sync/tidemark/internal/wire/transport"
)

// What can go wrong, for errors.Is. Each error's text names the file, and ends
// with the cause.
var (
	// ErrNotJoined means that the file is not enrolled with a hub, and no token was
	// given.
	ErrNotJoined = run.ErrNotJoined
	// ErrToken means that the text is no join token, or was cut short.
	ErrToken = run.ErrToken
	// ErrUnsafe means that work would be lost which the hub is not known to have.
	ErrUnsafe = run.ErrUnsafe
	// ErrUnreachable means that the hub is not there now. Work is kept.
	ErrUnreachable = transport.ErrUnreachable
	// ErrRefused means that the hub does not let this device in: it was revoked, its
	// token was used or has expired, or whoever answered is not the hub this file
	// joined. Trying again without a person's action is pointless. Work is kept.
	ErrRefused = transport.ErrRefused
	// ErrInUse means that another process keeps the file in sync: an agent beside
	// it, or a sync run.
	ErrInUse = disk.ErrLocked
	// ErrClosed means that the DB was closed.
	ErrClosed = errors.New("the database was closed")
	// ErrGone means that a rescue copy does not exist any more, or that the row
	// which it would change does not.
	ErrGone = errors.New("not there any more")
	// ErrDriver means that the application's own connection uses another SQLite
	// library.
	ErrDriver = errors.New("another SQLite library in this process")
)

// Hint tells what a person can do about an error of this package, as the hub
// worded it; "" when there is nothing to add to the error's text.
func Hint(err error) string {
	var f *wire.Fault
	if errors.As(err, &f) {
		return f.Hint
	}
	return ""
}

// class gives an error of the rooms below its class.
func class(err error) error {
	var f *wire.Fault
	fault := errors.As(err, &f)
	switch {
	case err == nil || errors.Is(err, ErrRefused) || errors.Is(err, ErrUnreachable) || errors.Is(err, context.Canceled):
		return err
	case errors.Is(err, transport.ErrPin) || fault && f.Fatal:
		return fmt.Errorf("%w: %w", ErrRefused, err)
	case errors.Is(err, edge.ErrSilent) || fault && f.RetryAfter > 0:
		return fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	return err
}
