package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/tidemark-sync/tidemark/internal/serve"
)

// officeFlags name the hub's data directory for verbs that work on it.
type officeFlags struct{ data string }

func (o *officeFlags) bind(c *cobra.Command) {
	c.PersistentFlags().StringVar(&o.data, "data", serve.DefaultData, "the hub's data directory")
	_ = c.MarkPersistentFlagDirname("data")
}

// with opens the hub's data directory around fn.
func (o *officeFlags) with(ctx context.Context, d *door, fn func(context.Context, *serve.Office) error) (err error) {
	off, err := serve.OpenOffice(ctx, serve.OfficeConfig{Dir: serve.HubDir(o.data), Clock: d.clock, Rand: d.rand, Logger: d.quiet()})
	if err != nil {
		return err
	}
	defer func() {
		if e := off.Close(); e != nil {
			err = errors.Join(err, fmt.Errorf("close hub: %w", e))
		}
	}()
	return fn(ctx, off)
}
