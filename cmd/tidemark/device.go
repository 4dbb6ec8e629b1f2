package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	"github.com/tidemark-sync/tidemark/internal/api"
	"github.com/tidemark-sync/tidemark/internal/api/pb"
	"github.com/tidemark-sync/tidemark/internal/rule"
	"github.com/tidemark-sync/tidemark/internal/wire/transport"
)

func deviceVerb(d *door) *cobra.Command {
	c := &cobra.Command{
		Use:   "device",
		Short: "Add, list, revoke devices, and change what they may do",
		Long: `A device is one file at one site. It joins once, with a one-time token, and proves
itself from then on with a key that never leaves its machine.

These verbs work on the hub's data directory, whether the hub is serving or not; with
--hub on a hub across a network.`,
		Args: cobra.ArbitraryArgs,
		RunE: group,
	}
	o := &officeFlags{}
	o.bindEither(c)
	c.AddCommand(deviceAdd(d, o), deviceList(d, o), deviceShow(d, o), deviceTimeline(d, o),
		deviceGrant(d, o), deviceRename(d, o), deviceAsk(d, o), devicePause(d, o), deviceResume(d, o), deviceIsolate(d, o), deviceRelease(d, o),
		deviceAllow(d, o), deviceRevoke(d, o))
	return c
}

// group is a verb that only holds others.
func group(cmd *cobra.Command, list []string) error {
	if len(list) > 0 {
		hint := "see " + cmd.CommandPath() + " --help"
		cmd.SuggestionsMinimumDistance = 2
		if s := cmd.SuggestionsFor(list[0]); len(s) > 0 {
			hint = "did you mean: " + cmd.CommandPath() + " " + s[0]
		}
		return fail(exitUsage, fmt.Errorf("unknown verb %s %s", cmd.Name(), list[0]), hint)
	}
	return cmd.Help()
}

// grantFlags say what a device may do.
type grantFlags struct {
	scopes   []string
	readOnly bool
	verbs    []string
}

func (g *grantFlags) bind(c *cobra.Command) {
	c.Flags().StringArrayVar(&g.scopes, "scope", nil, "a scope as KIND/VALUE or all, with its own rights as SCOPE=VERBS (repeatable)")
	c.Flags().BoolVar(&g.readOnly, "read-only", false, "the device may read its scopes, not write")
	c.Flags().StringSliceVar(&g.verbs, "verbs", nil, "what it may do besides reading: insert, update, delete (default: all three)")
}

// grants turns the flags into grants; no scope at all means everything that has
// scope all.
func (g *grantFlags) grants() ([]rule.Grant, error) {
	if g.readOnly && len(g.verbs) > 0 {
		return nil, usage("--read-only and --verbs exclude each other")
	}
	every := rule.Every
	if g.readOnly {
		every = rule.Read
	}
	if len(g.verbs) > 0 {
		v, err := parseVerbs(g.verbs)
		if err != nil {
			return nil, err
		}
		every = v
	}
	scopes := g.scopes
	if len(scopes) == 0 {
		scopes = []string{string(rule.ScopeAll)}
	}
	var out []rule.Grant
	for _, s := range scopes {
		name, own, has := strings.Cut(s, "=")
		verbs := every
		if has {
			v, err := parseVerbs(strings.FieldsFunc(own, func(r rune) bool { return r == '+' || r == ',' }))
			if err != nil {
				return nil, err
			}
			verbs = v
		}
		out = append(out, rule.Grant{Scope: rule.ScopeID(name), Verbs: verbs})
	}
	return out, nil
}

var verbBits = []struct {
	name string
	bit  rule.Verb
}{{"read", rule.Read}, {"insert", rule.Insert}, {"update", rule.Update}, {"delete", rule.Delete}, {"write", rule.Write}}

func parseVerbs(list []string) (rule.Verb, error) {
	out := rule.Read
next:
	for _, n := range list {
		for _, b := range verbBits {
			if strings.EqualFold(strings.TrimSpace(n), b.name) {
				out |= b.bit
				continue next
			}
		}
		return 0, usage("unknown verb %q: use read, insert, update, delete, or write for the last three", n)
	}
	return out, nil
}

func verbText(v rule.Verb) string {
	if v&rule.Write == rule.Write {
		return "read, write"
	}
	var out []string
	for _, b := range verbBits[:4] {
		if v&b.bit != 0 {
			out = append(out, b.name)
		}
	}
	return strings.Join(out, ", ")
}

func grantText(list []rule.Grant) string {
	out := make([]string, len(list))
	for i, g := range list {
		out[i] = string(g.Scope)
		if g.Verbs&rule.Write != rule.Write {
			out[i] += " (" + verbText(g.Verbs) + ")"
		}
	}
	return strings.Join(out, ", ")
}

// invitable checks what a token is asked for.
func invitable(cmd *cobra.Command, name string, ttl time.Duration) error {
	if strings.TrimSpace(name) == "" {
		return fail(exitUsage, errors.New("a device needs a name"), "the form is: "+cmd.UseLine())
	}
	if cmd.Flags().Changed("expires") && ttl <= 0 {
		return fail(exitUsage, fmt.Errorf("--expires %s: a token must be good for a while", ttl), "give a duration such as 2h")
	}
	return nil
}

func deviceAdd(d *door, o *officeFlags) *cobra.Command {
	var g grantFlags
	var ttl time.Duration
	c := &cobra.Command{
		Use:   "add NAME",
		Short: "Register a device and print its one-time join token",
		Long: `Add registers a device and prints the token with which one file joins, once. Scopes say
which rows the device may read and write; the rows of scope all everybody may read, and
--scope all lets the device write them, too. Without --scope that is all it has.`,
		Example: `  tidemark device add till-7 --scope all --scope branch/7
  tidemark device add archive --scope branch/7 --scope branch/8 --read-only
  tidemark device add scanner --scope branch/7=insert --expires 2h`,
		Args: args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, list []string) error {
			grants, err := g.grants()
			if err != nil {
				return err
			}
			if err := invitable(cmd, list[0], ttl); err != nil {
				return err
			}
			return o.withAPI(cmd, d, func(ctx context.Context, b *bureau) error {
				return d.addDevice(ctx, b, o.url, &pb.AddDeviceRequest{Name: list[0], Grants: api.GrantsOf(grants), GoodFor: spanOut(ttl)}, grants)
			})
		},
	}
	g.bind(c)
	c.Flags().DurationVar(&ttl, "expires", 0, "how long the token is good (default: hub.token_ttl of tidemark.yaml, 24h)")
	c.Flags().StringVar(&o.url, "url", "", "how the device reaches the hub (default: hub.url of tidemark.yaml, else where the hub listens)")
	return c
}

func (d *door) addDevice(ctx context.Context, b *bureau, url string, req *pb.AddDeviceRequest, grants []rule.Grant) error {
	if b.off != nil { // before there is a device that nobody could reach
		if _, err := b.off.Endpoint(url); err != nil {
			return err
		}
	}
	res, err := b.Fleet.Add(ctx, connect.NewRequest(req))
	if err != nil {
		return err
	}
	t, err := transport.ParseToken(res.Msg.GetToken())
	if err != nil {
		return fmt.Errorf("add device %s: %w", req.GetName(), err)
	}
	if url != "" {
		t.URL = url
	}
	token, until := t.String(), timeIn(res.Msg.GetExpires())
	out := struct {
		Device  string       `json:"device"`
		Name    string       `json:"name"`
		Token   string       `json:"token"`
		URL     string       `json:"url"`
		Grants  []rule.Grant `json:"grants"`
		Expires time.Time    `json:"expires"`
	}{res.Msg.GetDevice().GetId(), req.GetName(), token, t.URL, grants, until}
	return d.show(out, func(w io.Writer) {
		d.say("Device %s (%s) may join once until %s:\n\n  tidemark join TOKEN FILE.db\n", req.GetName(),
			grantText(grants), until.Local().Format("2006-01-02 15:04"))
		if shared := res.Msg.GetReadsOnly(); len(shared) > 0 {
			d.say("It may read, but not write, the rows of everyone (%s); add --scope all to let it write them.\n", strings.Join(shared, ", "))
		}
		fmt.Fprintln(w, token)
	})
}
