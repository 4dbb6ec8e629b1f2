package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	"github.com/tidemark-sync/tidemark/internal/api/pb"
)

func peopleToken(d *door, o *officeFlags) *cobra.Command {
	c := &cobra.Command{
		Use:   "token",
		Short: "Add, list and remove the tokens by which scripts come in",
		Args:  cobra.ArbitraryArgs,
		RunE:  group,
	}
	c.AddCommand(tokenAdd(d, o), tokenList(d, o), tokenRemove(d, o))
	return c
}

func tokenAdd(d *door, o *officeFlags) *cobra.Command {
	var role string
	c := &cobra.Command{
		Use:   "add NAME",
		Short: "Make a token; it is shown once",
		Example: `  tidemark people token add nightly --role viewer
  curl --cacert tidemark-hub/console-tls/cert.pem -H "Authorization: Bearer $TOKEN" \
    --json '{}' https://localhost:8440/tidemark.admin.v1.Fleet/Overview`,
		Args: args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, list []string) error {
			r, err := parseRole(role)
			if err != nil {
				return err
			}
			return o.withAPI(cmd, d, func(ctx context.Context, c *bureau) error {
				res, err := c.People.AddToken(ctx, connect.NewRequest(&pb.AddTokenRequest{Name: list[0], Role: r}))
				if err != nil {
					return err
				}
				return d.show(map[string]any{"token": newPersonRow(d, res.Msg.GetToken()), "secret": res.Msg.GetSecret()}, func(w io.Writer) {
					fmt.Fprintln(w, res.Msg.GetSecret())
				})
			})
		},
	}
	c.Flags().StringVar(&role, "role", "viewer", "what it may do: viewer, operator or admin")
	return c
}

func tokenList(d *door, o *officeFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the tokens, without their secrets",
		Args:  args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return o.withAPI(cmd, d, func(ctx context.Context, c *bureau) error {
				res, err := c.People.ListTokens(ctx, connect.NewRequest(&pb.ListTokensRequest{}))
				if err != nil {
					return err
				}
				return d.showPeople("tokens", res.Msg.GetTokens(), "no tokens: tidemark people token add NAME")
			})
		},
	}
}

func tokenRemove(d *door, o *officeFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "remove NAME|ID",
		Short: "End a token",
		Args:  args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, list []string) error {
			return o.withAPI(cmd, d, func(ctx context.Context, c *bureau) error {
				if _, err := c.People.RemoveToken(ctx, connect.NewRequest(&pb.RemoveTokenRequest{Id: list[0]})); err != nil {
					return err
				}
				return d.show(map[string]string{"removed": list[0]}, func(w io.Writer) { fmt.Fprintf(w, "token %s is no longer good\n", list[0]) })
			})
		},
	}
}

// auditFlags narrow the audit.
type auditFlags struct {
	who, subject, action string
	last                 uint32
	check                bool
}

func peopleAudit(d *door, o *officeFlags) *cobra.Command {
	f := &auditFlags{}
	c := &cobra.Command{
		Use:   "audit",
		Short: "List who did what, newest first",
		Long: `Whatever people, scripts and these verbs do through the admin API is put down, also when
it was refused: who, what, to what, before and after. Entries are only ever added, and
each holds the hash of the one before it; --check finds one that was changed or is missing.`,
		Example: `  tidemark people audit --who ada --last 20
  tidemark people audit --action Fleet/ --json
  tidemark people audit --check`,
		Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return o.withAPI(cmd, d, func(ctx context.Context, c *bureau) error {
				if f.check {
					return d.checkAudit(ctx, c)
				}
				res, err := c.People.Audit(ctx, connect.NewRequest(&pb.AuditRequest{Page: &pb.Page{PageSize: f.last}, Who: f.who, Subject: f.subject, Action: f.action}))
				if err != nil {
					return err
				}
				return d.showAudit(res.Msg.GetEntries())
			})
		},
	}
	c.Flags().StringVar(&f.who, "who", "", "only what this person did")
	c.Flags().StringVar(&f.subject, "subject", "", "only what was done to this: an id, or a name")
	c.Flags().StringVar(&f.action, "action", "", "only actions that begin with this, such as Fleet/")
	c.Flags().Uint32Var(&f.last, "last", 100, "how many, at most 1000")
	c.Flags().BoolVar(&f.check, "check", false, "look whether any entry was changed, or is missing")
	return c
}

func (d *door) checkAudit(ctx context.Context, c *bureau) error {
	res, err := c.People.CheckAudit(ctx, connect.NewRequest(&pb.CheckAuditRequest{}))
	if err != nil {
		return err
	}
	if wrong := res.Msg.GetWrong(); wrong != "" {
		return fail(exitNotInSync, errors.New(wrong), "compare with a backup of the hub's database")
	}
	n := res.Msg.GetEntries()
	return d.show(map[string]any{"entries": n, "whole": true}, func(w io.Writer) { fmt.Fprintf(w, "%d entries, none was changed\n", n) })
}

func (d *door) showAudit(list []*pb.AuditEntry) error {
	type row struct {
		At      string `json:"at"`
		Who     string `json:"who"`
		Action  string `json:"action"`
		Subject string `json:"subject,omitempty"`
		Before  string `json:"before,omitempty"`
		After   string `json:"after,omitempty"`
		Error   string `json:"error,omitempty"`
		From    string `json:"from,omitempty"`
	}
	out := make([]row, len(list))
	for i, e := range list {
		out[i] = row{e.GetAt().AsTime().Format("2006-01-02T15:04:05Z"), e.GetWho(), e.GetAction(), e.GetSubject(), e.GetBefore(), e.GetAfter(), e.GetError(), e.GetFrom()}
	}
	return d.show(map[string]any{"entries": out}, func(w io.Writer) {
		rows := make([][]string, len(out))
		for i, r := range out {
			rows[i] = []string{r.At, orDash(r.Who), r.Action, orDash(r.Subject), orDash(r.Error), r.From}
		}
		grid(w, []string{"AT", "WHO", "ACTION", "SUBJECT", "REFUSED BECAUSE", "FROM"}, rows)
	})
}
