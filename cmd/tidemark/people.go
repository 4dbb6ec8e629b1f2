package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	"github.com/tidemark-sync/tidemark/internal/api"
	"github.com/tidemark-sync/tidemark/internal/api/pb"
	"github.com/tidemark-sync/tidemark/internal/people"
	"github.com/tidemark-sync/tidemark/internal/serve"
)

func peopleVerb(d *door) *cobra.Command {
	c := &cobra.Command{
		Use:   "people",
		Short: "Say who may use the console, and see what they did",
		Long: `People come in to the hub's console with a password and a code of an authenticator app,
or with a passkey. Each has a role: a viewer sees everything, an operator mends devices,
conflicts and quarantine, an admin manages people. Scripts come in with tokens.

These verbs work on the hub's data directory, whether the hub is serving or not: whoever
may read that directory may do everything. With --hub they reach one across a network,
with a token of the role admin.`,
		Args: cobra.ArbitraryArgs,
		RunE: group,
	}
	o := &officeFlags{}
	o.bindEither(c)
	c.AddCommand(peopleSetUp(d, o), peopleList(d, o), peopleInvite(d, o), peopleRole(d, o), peopleRemove(d, o), peopleReset(d, o),
		peopleToken(d, o), peopleAudit(d, o))
	return c
}

func peopleSetUp(d *door, o *officeFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "setup-link",
		Short: "Print a link by which the first admin comes in",
		Long: `A hub prints this link when it starts and nobody was set up yet. It is good for one
person and one day; this makes another one. When all admins lost their passwords, use
tidemark people reset instead.`,
		Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if at, err := o.where(cmd); err != nil || at != "" {
				if err == nil {
					err = fail(exitUsage, errors.New("the first admin's link is made at the hub's own machine"), "run it there, with --data DIR")
				}
				return err
			}
			return o.with(cmd.Context(), d, func(ctx context.Context, off *serve.Office) error {
				l, err := off.People.SetUpLink(ctx)
				if err != nil {
					return fail(exitUsage, err, "tidemark people list shows who there is")
				}
				if err := off.People.Note(ctx, people.Entry{Who: api.Machine, Action: "People/SetUpLink", From: "here"}); err != nil {
					return err
				}
				s, err := off.API("")
				if err != nil {
					return err
				}
				link := s.Link(l.Secret)
				return d.show(map[string]any{"link": link, "expires": l.Expires}, func(w io.Writer) { fmt.Fprintln(w, link) })
			})
		},
	}
}

// A personRow is a person, or a token, as the verbs show them.
type personRow struct {
	ID       string `json:"id"`
	Name     string `json:"name"`
	Role     string `json:"role"`
	Proofs   string `json:"proofs,omitempty"` // how they come in
	Created  string `json:"created"`
	Seen     string `json:"seen,omitempty"`
	seenText string
}

func roleText(r pb.Role) string { return strings.ToLower(strings.TrimPrefix(r.String(), "ROLE_")) }

func newPersonRow(d *door, p *pb.Person) personRow {
	r := personRow{ID: p.GetId(), Name: p.GetName(), Role: roleText(p.GetRole()), Created: p.GetCreated().AsTime().Format("2006-01-02T15:04:05Z"), seenText: "never"}
	if p.GetSeen() != nil {
		r.Seen, r.seenText = p.GetSeen().AsTime().Format("2006-01-02T15:04:05Z"), d.ago(p.GetSeen().AsTime())
	}
	switch {
	case p.GetToken():
		return r
	case p.GetInvited():
		r.Proofs = "invited"
		return r
	}
	proofs := []string{"password"}
	if p.GetTotp() {
		proofs = append(proofs, "code")
	}
	if n := len(p.GetPasskeys()); n > 0 {
		proofs = append(proofs, fmt.Sprintf("%d passkeys", n))
	}
	r.Proofs = strings.Join(proofs, ", ")
	return r
}

func peopleList(d *door, o *officeFlags) *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Short:   "List who may come in",
		Example: "  tidemark people list --json",
		Args:    args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return o.withAPI(cmd, d, func(ctx context.Context, c *bureau) error {
				res, err := c.People.List(ctx, connect.NewRequest(&pb.ListPeopleRequest{}))
				if err != nil {
					return err
				}
				return d.showPeople("people", res.Msg.GetPeople(), "nobody yet: tidemark people setup-link")
			})
		},
	}
}

func (d *door) showPeople(what string, list []*pb.Person, none string) error {
	out := make([]personRow, len(list))
	for i, p := range list {
		out[i] = newPersonRow(d, p)
	}
	return d.show(map[string]any{what: out}, func(w io.Writer) {
		if len(out) == 0 {
			fmt.Fprintln(w, none)
			return
		}
		rows := make([][]string, len(out))
		for i, r := range out {
			rows[i] = []string{r.Name, r.Role, r.Proofs, r.seenText, r.ID}
		}
		grid(w, []string{"NAME", "ROLE", "COMES IN WITH", "SEEN", "ID"}, rows)
	})
}

func parseRole(text string) (pb.Role, error) {
	for _, r := range []pb.Role{pb.Role_ROLE_VIEWER, pb.Role_ROLE_OPERATOR, pb.Role_ROLE_ADMIN} {
		if strings.EqualFold(text, roleText(r)) {
			return r, nil
		}
	}
	return 0, usage("there is no role %q: use viewer, operator or admin", text)
}

func peopleInvite(d *door, o *officeFlags) *cobra.Command {
	return &cobra.Command{
		Use:     "invite NAME ROLE",
		Short:   "Make a one-time link for a further person",
		Example: "  tidemark people invite ada operator",
		Args:    args(cobra.ExactArgs(2)),
		RunE: o.withRole(d, func(ctx context.Context, c *bureau, name string, role pb.Role) error {
			res, err := c.People.Invite(ctx, connect.NewRequest(&pb.InviteRequest{Name: name, Role: role}))
			if err != nil {
				return err
			}
			return d.showLink(res.Msg)
		}),
	}
}

// withRole runs fn for a person and the role behind their name.
func (o *officeFlags) withRole(d *door, fn func(ctx context.Context, c *bureau, who string, role pb.Role) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, list []string) error {
		role, err := parseRole(list[1])
		if err != nil {
			return err
		}
		return o.withAPI(cmd, d, func(ctx context.Context, c *bureau) error { return fn(ctx, c, list[0], role) })
	}
}

func (d *door) showLink(m *pb.InviteResponse) error {
	return d.show(map[string]any{"person": newPersonRow(d, m.GetPerson()), "link": m.GetLink(), "expires": m.GetExpires().AsTime()}, func(w io.Writer) {
		d.say("%s comes in with this link, once, until %s:\n", m.GetPerson().GetName(), m.GetExpires().AsTime().Local().Format("2006-01-02 15:04"))
		fmt.Fprintln(w, m.GetLink())
	})
}

func peopleRole(d *door, o *officeFlags) *cobra.Command {
	return &cobra.Command{
		Use:     "role NAME|ID ROLE",
		Short:   "Give a person another role; their sessions end",
		Example: "  tidemark people role ada admin",
		Args:    args(cobra.ExactArgs(2)),
		RunE: o.withRole(d, func(ctx context.Context, c *bureau, id string, role pb.Role) error {
			res, err := c.People.SetRole(ctx, connect.NewRequest(&pb.SetRoleRequest{Id: id, Role: role}))
			if err != nil {
				return err
			}
			return d.show(newPersonRow(d, res.Msg), func(w io.Writer) {
				fmt.Fprintf(w, "%s is %s now\n", res.Msg.GetName(), roleText(res.Msg.GetRole()))
			})
		}),
	}
}

func peopleRemove(d *door, o *officeFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "remove NAME|ID",
		Short: "Shut a person out; their sessions end",
		Args:  args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, list []string) error {
			return o.withAPI(cmd, d, func(ctx context.Context, c *bureau) error {
				if _, err := c.People.Remove(ctx, connect.NewRequest(&pb.RemovePersonRequest{Id: list[0]})); err != nil {
					return err
				}
				return d.show(map[string]string{"removed": list[0]}, func(w io.Writer) { fmt.Fprintf(w, "%s is shut out\n", list[0]) })
			})
		},
	}
}

func peopleReset(d *door, o *officeFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "reset NAME|ID",
		Short: "Take a person's password, code and passkeys away, and print a link for new ones",
		Args:  args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, list []string) error {
			return o.withAPI(cmd, d, func(ctx context.Context, c *bureau) error {
				res, err := c.People.Reset(ctx, connect.NewRequest(&pb.ResetRequest{Id: list[0]}))
				if err != nil {
					return err
				}
				return d.showLink(res.Msg)
			})
		},
	}
}
