package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/rule"
	"github.com/tidemark-sync/tidemark/internal/serve"
	"github.com/tidemark-sync/tidemark/internal/wire/transport"
)

func deviceVerb(d *door) *cobra.Command {
	c := &cobra.Command{
		Use:   "device",
		Short: "Add, list, revoke devices, and change what they may do",
		Long: `A device is one file at one site. It joins once, with a one-time token, and proves
itself from then on with a key that never leaves its machine.

These verbs work on the hub's data directory, whether the hub is serving or not.`,
		Args: cobra.ArbitraryArgs,
		RunE: group,
	}
	o := &officeFlags{}
	o.bind(c)
	c.AddCommand(deviceAdd(d, o), deviceList(d, o), deviceShow(d, o), deviceAllow(d, o), deviceRevoke(d, o), deviceGrant(d, o))
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
	var url string
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
			return o.with(cmd.Context(), d, func(ctx context.Context, off *serve.Office) error {
				at, err := off.Endpoint(url)
				if err != nil {
					return err
				}
				if ttl == 0 {
					ttl = off.Config.Hub.TokenTTL
				}
				inv, err := off.Core.AddDevice(ctx, list[0], grants, ttl)
				if err != nil {
					return fail(exitUsage, err, "tidemark.yaml says which scopes there are")
				}
				token := transport.Token{URL: at.URL, Pin: at.Pin, Secret: inv.Secret, Name: list[0]}.String()
				out := struct {
					Device  change.DeviceID `json:"device"`
					Name    string          `json:"name"`
					Token   string          `json:"token"`
					URL     string          `json:"url"`
					Grants  []rule.Grant    `json:"grants"`
					Expires time.Time       `json:"expires"`
				}{inv.Device, list[0], token, at.URL, grants, inv.Expires}
				return d.show(out, func(w io.Writer) {
					d.say("Device %s (%s) may join once until %s:\n\n  tidemark join TOKEN FILE.db\n", list[0],
						grantText(grants), inv.Expires.Local().Format("2006-01-02 15:04"))
					if shared := readsOnly(off.Config.Tables.Tables, grants); len(shared) > 0 {
						d.say("It may read, but not write, the rows of everyone (%s); add --scope all to let it write them.\n", strings.Join(shared, ", "))
					}
					fmt.Fprintln(w, token)
				})
			})
		},
	}
	g.bind(c)
	c.Flags().DurationVar(&ttl, "expires", 0, "how long the token is good (default: hub.token_ttl of tidemark.yaml, 24h)")
	c.Flags().StringVar(&url, "url", "", "how the device reaches the hub (default: hub.url of tidemark.yaml, else where the hub listens)")
	return c
}

func deviceList(d *door, o *officeFlags) *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Short:   "List the devices: rights, last contact, unsafe work",
		Example: "  tidemark device list --json",
		Args:    args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return o.with(cmd.Context(), d, func(ctx context.Context, off *serve.Office) error {
				list, err := off.Core.Devices(ctx)
				if err != nil {
					return err
				}
				out := make([]deviceRow, len(list))
				for i := range list {
					out[i] = newDeviceRow(d, &list[i])
				}
				if err := noteMarks(ctx, off.Core, list, out); err != nil {
					return err
				}
				byName(out)
				return d.show(map[string]any{"devices": out}, func(w io.Writer) { deviceTable(d, w, out) })
			})
		},
	}
}

// A deviceRow is a device as the verbs show it; durations are in seconds.
type deviceRow struct {
	ID           string    `json:"id"`
	Name         string    `json:"name"`
	State        string    `json:"state"`
	Reason       string    `json:"reason,omitempty"`
	Grants       []string  `json:"grants"`
	Created      time.Time `json:"created"`
	Seen         time.Time `json:"seen,omitzero"`
	Progress     time.Time `json:"progress,omitzero"`
	OutboxDepth  uint64    `json:"outbox_depth"`
	OldestUnsafe float64   `json:"oldest_unsafe_seconds"`
	Quarantined  uint64    `json:"quarantined"`
	ClockOffset  float64   `json:"clock_offset_seconds"`
	Agent        string    `json:"agent,omitempty"`
	CopyOf       string    `json:"copy_of,omitempty"` // the device whose file was copied
	Restored     time.Time `json:"restored,omitzero"` // when its file last went on from an older state
	Held         int       `json:"held,omitempty"`    // files that wait for tidemark device allow
	grants, note string
}

func newDeviceRow(d *door, v *hub.Device) deviceRow {
	r := deviceRow{
		ID: v.ID.String(), Name: v.Name, State: string(v.State), Reason: v.Reason, Grants: []string{},
		Created: v.Created, Seen: v.Seen, Progress: v.Progress, OutboxDepth: v.Status.OutboxDepth,
		OldestUnsafe: v.Status.OldestUnsafe.Seconds(), Quarantined: v.Status.Quarantined,
		ClockOffset: v.Offset.Seconds(), Agent: v.Agent, grants: grantText(v.Grants),
	}
	for _, g := range v.Grants {
		r.Grants = append(r.Grants, string(g.Scope)+"="+strings.ReplaceAll(verbText(g.Verbs), ", ", "+"))
	}
	// What a device said of its oldest unsafe change has aged since.
	if v.Status.OutboxDepth > 0 && !v.Seen.IsZero() {
		r.OldestUnsafe += max(d.clock.Now().Sub(v.Seen).Seconds(), 0)
	}
	return r
}

// byName puts devices in the order in which people look for them.
func byName(list []deviceRow) {
	slices.SortFunc(list, func(a, b deviceRow) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.ID, b.ID))
	})
}

func deviceTable(d *door, w io.Writer, list []deviceRow) {
	if len(list) == 0 {
		fmt.Fprintln(w, "no devices yet: tidemark device add NAME --scope KIND/VALUE")
		return
	}
	rows := make([][]string, len(list))
	noted := slices.ContainsFunc(list, func(r deviceRow) bool { return r.note != "" })
	for i, r := range list {
		unsafe := "-"
		if r.OutboxDepth > 0 {
			unsafe = fmt.Sprintf("%d, oldest %s", r.OutboxDepth, span(seconds(r.OldestUnsafe)))
		}
		rows[i] = []string{r.Name, r.ID, r.State, r.grants, d.ago(r.Seen), d.ago(r.Progress), unsafe}
		if noted {
			rows[i] = append(rows[i], r.note)
		}
	}
	head := []string{"NAME", "ID", "STATE", "RIGHTS", "SEEN", "PROGRESS", "UNSAFE WORK"}
	if noted {
		head = append(head, "NOTE")
	}
	grid(w, head, rows)
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// findDevice takes an id, a unique start of one, or a name.
func findDevice(ctx context.Context, core *hub.Hub, text string) (*hub.Device, error) {
	list, err := core.Devices(ctx)
	if err != nil {
		return nil, err
	}
	var hits []*hub.Device
	for i := range list {
		v := &list[i]
		if v.ID.String() == text {
			return v, nil
		}
		if v.Name == text || len(text) >= 4 && strings.HasPrefix(v.ID.String(), text) {
			hits = append(hits, v)
		}
	}
	switch len(hits) {
	case 1:
		return hits[0], nil
	case 0:
		return nil, fail(exitUsage, fmt.Errorf("no device %q here", text), "tidemark device list shows them")
	}
	return nil, fail(exitUsage, fmt.Errorf("%d devices are called %q", len(hits), text), "give the id instead: tidemark device list shows it")
}

// onDevice runs fn at the hub for the device of a name or id.
func (o *officeFlags) onDevice(cmd *cobra.Command, d *door, name string, fn func(context.Context, *hub.Hub, *hub.Device) error) error {
	return o.with(cmd.Context(), d, func(ctx context.Context, off *serve.Office) error {
		v, err := findDevice(ctx, off.Core, name)
		if err != nil {
			return err
		}
		return fn(ctx, off.Core, v)
	})
}

func deviceRevoke(d *door, o *officeFlags) *cobra.Command {
	var reason string
	var held bool
	c := &cobra.Command{
		Use:   "revoke NAME|ID",
		Short: "Shut a device out, from its next message on",
		Long: `Revoking shuts a device out. Its unsent work stays in its file and its parked work
stays here: nothing is lost. To let it in again, add a device and join again.

A device that a copied file became has the key of the first one, and is revoked apart
from it. With --held only files that wait for tidemark device allow are shut out.`,
		Example: "  tidemark device revoke till-7 --reason stolen",
		Args:    args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, list []string) error {
			return o.onDevice(cmd, d, list[0], func(ctx context.Context, core *hub.Hub, v *hub.Device) error {
				if held {
					return d.refuseHeld(ctx, core, v, reason)
				}
				if err := core.Revoke(ctx, v.ID, reason); err != nil {
					return err
				}
				return d.show(map[string]string{"revoked": v.ID.String(), "name": v.Name, "reason": reason}, func(w io.Writer) {
					fmt.Fprintf(w, "device %s (%s) is revoked\n", v.Name, v.ID)
				})
			})
		},
	}
	c.Flags().StringVar(&reason, "reason", "", "why; the device's operator sees it")
	c.Flags().BoolVar(&held, "held", false, "shut out only its files that are held; the device goes on")
	return c
}

func deviceGrant(d *door, o *officeFlags) *cobra.Command {
	var g grantFlags
	c := &cobra.Command{
		Use:   "grant NAME|ID",
		Short: "Replace a device's scopes and rights",
		Long: `Grant replaces what a device may read and write. Rows of scopes it loses leave its
file at its next pull, except rows with unsent work; rows of new scopes arrive.`,
		Example: "  tidemark device grant till-7 --scope branch/7 --scope branch/8=read",
		Args:    args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, list []string) error {
			grants, err := g.grants()
			if err != nil {
				return err
			}
			return o.onDevice(cmd, d, list[0], func(ctx context.Context, core *hub.Hub, v *hub.Device) error {
				if err := core.SetGrants(ctx, v.ID, grants); err != nil {
					return fail(exitUsage, err, "tidemark.yaml says which scopes there are")
				}
				return d.show(map[string]any{"device": v.ID, "name": v.Name, "grants": grants}, func(w io.Writer) {
					fmt.Fprintf(w, "device %s now has: %s\n", v.Name, grantText(grants))
				})
			})
		},
	}
	g.bind(c)
	return c
}
