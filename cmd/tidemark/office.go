package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/api"
	"github.com/tidemark-sync/tidemark/internal/serve"
)

// What verbs take from the environment where no flag says otherwise.
const (
	envHub   = "TIDEMARK_HUB"
	envToken = "TIDEMARK_TOKEN" //nolint:gosec // a name, not a token
	envPin   = "TIDEMARK_PIN"
)

// officeFlags name the hub for verbs that work on it: by its data directory, or across a
// network.
type officeFlags struct {
	data    string
	address string // of its console
	token   string // a file
	ca      string // likewise
	pin     string
	url     string // how devices reach it, for join tokens
}

// bind is for verbs that need the data directory itself.
func (o *officeFlags) bind(c *cobra.Command) {
	c.PersistentFlags().StringVar(&o.data, "data", serve.DefaultData, "the hub's data directory")
	_ = c.MarkPersistentFlagDirname("data")
}

// bindEither is for verbs that a hub across a network answers as well.
func (o *officeFlags) bindEither(c *cobra.Command) {
	o.bind(c)
	f := c.PersistentFlags()
	f.StringVar(&o.address, "hub", "", "in place of --data: a hub's console, like https://hub.example.org:8440 (default: $"+envHub+")")
	f.StringVar(&o.token, "token", "", "with --hub: the file that holds the token of tidemark people token add, - for standard input (default: $"+envToken+", the token itself)")
	f.StringVar(&o.ca, "ca", "", "with --hub: a file of certificates to trust, PEM (default: those of the machine)")
	f.StringVar(&o.pin, "pin", "", "with --hub: the SHA-256 of the hub's key, whatever its certificate says (default: $"+envPin+")")
	_ = c.MarkPersistentFlagFilename("token")
	_ = c.MarkPersistentFlagFilename("ca", "pem", "crt")
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

// A bureau is the hub that a verb works on, through its admin API: the same one in this
// process, over the data directory, and across a network.
type bureau struct {
	*api.Clients
	off *serve.Office // nil: across a network
	at  string        // its address; "" for the data directory
}

// withAPI reaches the hub around fn.
func (o *officeFlags) withAPI(cmd *cobra.Command, d *door, fn func(context.Context, *bureau) error) error {
	at, err := o.where(cmd)
	if err != nil {
		return err
	}
	if at != "" {
		c, err := o.dial(d, at)
		if err != nil {
			return err
		}
		return explainRemote(at, fn(cmd.Context(), &bureau{Clients: c, at: at}))
	}
	return o.with(cmd.Context(), d, func(ctx context.Context, off *serve.Office) error {
		s, err := off.API(o.url)
		if err != nil {
			return err
		}
		defer s.Stop()
		return explainAPI(fn(ctx, &bureau{Clients: s.Local(), off: off}))
	})
}

// where is the address of the hub that is meant; "" for the data directory.
func (o *officeFlags) where(cmd *cobra.Command) (string, error) {
	set := cmd.Flags().Changed
	switch {
	case o.address != "" && set("data"):
		return "", usage("--hub and --data exclude each other: the one is a hub across a network, the other a directory of this machine")
	case o.address != "":
		return o.address, nil
	case set("data") || os.Getenv(envHub) == "":
		for _, f := range []string{"token", "ca", "pin"} {
			if set(f) {
				return "", fail(exitUsage, fmt.Errorf("--%s without --hub: a data directory needs none", f), "name the hub: --hub https://HOST:8440")
			}
		}
		return "", nil
	}
	return os.Getenv(envHub), nil
}

// maxToken is more than any token has, in bytes.
const maxToken = 4 << 10

// errWhere makes what is wrong with a flag a failure of the command line.
func errWhere(flag string, err error, hint string) error {
	return fail(exitUsage, fmt.Errorf("%s: %w", flag, err), hint)
}

func (o *officeFlags) dial(d *door, at string) (*api.Clients, error) {
	r := api.Remote{URL: at, Token: os.Getenv(envToken)}
	var err error
	switch o.token {
	case "":
	case "-":
		var b []byte
		b, err = io.ReadAll(io.LimitReader(d.in, maxToken))
		r.Token = string(b)
	default:
		var b []byte
		b, err = os.ReadFile(o.token)
		r.Token = string(b)
	}
	if err != nil {
		return nil, errWhere("--token", err, "the file holds what tidemark people token add printed")
	}
	if r.Token = strings.TrimSpace(r.Token); r.Token == "" || strings.ContainsAny(r.Token, " \t\r\n") {
		return nil, fail(exitUsage, fmt.Errorf("no token for the hub at %s", at), "make one at the hub: tidemark people token add NAME --role operator; give it with --token FILE, or in $"+envToken)
	}
	if o.ca != "" {
		if r.CA, err = os.ReadFile(o.ca); err != nil {
			return nil, errWhere("--ca", err, "the hub's own certificate is console-tls/cert.pem in its data directory")
		}
	}
	pin := o.pin
	if pin == "" && o.ca == "" {
		pin = os.Getenv(envPin)
	}
	if r.Pin, err = parsePin(pin); err != nil {
		return nil, errWhere("--pin", err, "tidemark hub prints it at its start: 64 hexadecimal digits")
	}
	c, err := api.Dial(r)
	if err != nil {
		return nil, errWhere("--hub", err, "tidemark hub prints the console's address at its start")
	}
	return c, nil
}

// parsePin reads the hash of a key; none is zero.
func parsePin(text string) (pin change.Hash, err error) {
	text = strings.ReplaceAll(strings.TrimPrefix(strings.ToLower(strings.TrimSpace(text)), "sha256:"), ":", "")
	if text == "" {
		return pin, nil
	}
	if err = pin.UnmarshalText([]byte(text)); err != nil {
		return pin, errors.New("want the SHA-256 of a key, as 64 hexadecimal digits")
	}
	return pin, nil
}
