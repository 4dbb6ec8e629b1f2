package serve

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/parcel"
)

// Parcel opens a sealed outbox with the hub's key around fn, all of it verified.
// Refusals are *wire.Fault.
func (o *Office) Parcel(path string, fn func(*parcel.Parcel) error) (err error) {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("open sealed outbox: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	s, err := f.Stat()
	if err != nil {
		return fmt.Errorf("open sealed outbox: %w", err)
	}
	p, err := o.Core.OpenParcel(f, s.Size(), parcel.Limits())
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return fn(p)
}

// TakeParcel takes in the work of a sealed outbox, exactly once. A hub may serve the
// directory meanwhile.
func (o *Office) TakeParcel(ctx context.Context, path string, terms hub.ParcelTerms) (out *hub.ParcelTaken, err error) {
	err = o.Parcel(path, func(p *parcel.Parcel) (err error) {
		out, err = o.Core.TakeParcel(ctx, p, terms)
		return err
	})
	return out, err
}
