package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/api/pb"
)

func schemaVerb(d *door) *cobra.Command {
	c := &cobra.Command{
		Use:   "schema",
		Short: "Show which devices run which schema, and what can be dropped safely",
		Args:  cobra.ArbitraryArgs,
		RunE:  group,
	}
	o := &officeFlags{}
	o.bindEither(c)
	c.AddCommand(schemaStatus(d, o))
	return c
}

func schemaStatus(d *door, o *officeFlags) *cobra.Command {
	var drop string
	c := &cobra.Command{
		Use:   "status",
		Short: "List the schemas that devices run; with --drop, the gate before dropping",
		Long: `Status lists each schema that active devices' files have: how many, which ones, and how
it differs from the hub's. Devices on different schemas sync with each other all the while.

With --drop it is the gate for giving something up: it ends with 0 when no active device's
file has the column or table under any of its names and nothing in quarantine names
it, with 2 when nobody knows such a name, and with 1, saying who stands in the way,
otherwise. A device that never comes back stands there until it is revoked.`,
		Example: `  tidemark schema status
  tidemark schema status --drop patient.fax
  tidemark schema status --json`,
		Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if cmd.Flags().Changed("drop") {
				table, column, ok := strings.Cut(drop, ".")
				if table == "" || ok && column == "" {
					return usage("--drop %q: name a table, or a column as TABLE.COLUMN", drop)
				}
				return o.withAPI(cmd, d, func(ctx context.Context, b *bureau) error {
					return d.gate(ctx, b, table, column)
				})
			}
			return o.withAPI(cmd, d, d.schemas)
		},
	}
	c.Flags().StringVar(&drop, "drop", "", "ask whether TABLE.COLUMN, or TABLE, can be dropped")
	return c
}

// schemaRow is one schema as the verb shows it.
type schemaRow struct {
	Schema  string         `json:"schema,omitempty"` // its hash; absent when the devices have not said
	Known   bool           `json:"known"`
	Count   int            `json:"count"`
	Differs []string       `json:"differs"`
	Tables  []change.Table `json:"tables,omitempty"`
	Devices []schemaDevice `json:"devices"`
}

type schemaDevice struct {
	Name   string    `json:"name"`
	ID     string    `json:"id"`
	Since  time.Time `json:"since,omitzero"`
	Seen   time.Time `json:"seen,omitzero"`
	Unsent uint64    `json:"unsent"`
}

func schemaDevices(list []*pb.SchemaDevice) []schemaDevice {
	out := make([]schemaDevice, len(list))
	for i, v := range list {
		out[i] = schemaDevice{Name: v.GetName(), ID: v.GetId(), Since: timeIn(v.GetSince()), Seen: timeIn(v.GetSeen()), Unsent: v.GetUnsent()}
	}
	return out
}

type lostRow struct {
	Table  string `json:"table"`
	Reason string `json:"reason"`
}

func lostIn(list []string) (out []lostRow) {
	for _, m := range list {
		table, reason, _ := strings.Cut(m, ": ")
		out = append(out, lostRow{table, reason})
	}
	return out
}

// tablesText is how many tables are served, and which are not though they should be.
func tablesText(n int, lost []lostRow) string {
	text := count(int64(n))
	for _, m := range lost {
		text += fmt.Sprintf("; NOT SERVED: %s: %s", m.Table, m.Reason)
	}
	return text
}

// tablesIn reads tables from JSON; none from "".
func tablesIn(text string) (out []change.Table, err error) {
	if text == "" {
		return nil, nil
	}
	if err := json.Unmarshal([]byte(text), &out); err != nil {
		return nil, fmt.Errorf("read tables: %w", err)
	}
	return out, nil
}

func (d *door) schemas(ctx context.Context, b *bureau) error {
	res, err := b.Data.Schemas(ctx, connect.NewRequest(&pb.SchemasRequest{}))
	if err != nil {
		return err
	}
	m := res.Msg
	out := struct {
		Hub     string         `json:"hub"` // hash of the hub's synced tables
		Tables  []change.Table `json:"tables"`
		Lost    []lostRow      `json:"lost"` // named by tidemark.yaml, and not served
		Schemas []schemaRow    `json:"schemas"`
	}{Hub: m.GetHub(), Lost: append([]lostRow{}, lostIn(m.GetNotServed())...), Schemas: []schemaRow{}}
	if out.Tables, err = tablesIn(m.GetTables()); err != nil {
		return err
	}
	for _, u := range m.GetSchemas() {
		r := schemaRow{Schema: u.GetHash(), Known: u.GetKnown(), Count: len(u.GetUsers()), Differs: append([]string{}, u.GetDiffers()...), Devices: schemaDevices(u.GetUsers())}
		if r.Tables, err = tablesIn(u.GetTables()); err != nil {
			return err
		}
		out.Schemas = append(out.Schemas, r)
	}
	return d.show(out, func(w io.Writer) {
		columns := 0
		for i := range out.Tables {
			columns += len(out.Tables[i].StoredNames())
		}
		fmt.Fprintf(w, "the hub: %s, %s (%s)\n", plural(int64(len(out.Tables)), "table"), plural(int64(columns), "column"), out.Hub[:8])
		for _, m := range out.Lost {
			fmt.Fprintf(w, "  NOT SERVED: table %s: %s\n", m.Table, m.Reason)
		}
		if len(out.Schemas) == 0 {
			fmt.Fprintln(w, "no active devices")
		}
		for i := range out.Schemas {
			d.schemaFacts(w, &out.Schemas[i])
		}
	})
}

func (d *door) schemaFacts(w io.Writer, r *schemaRow) {
	what := "the hub's schema"
	switch {
	case r.Schema == "":
		what = "schema not told yet"
	case !r.Known:
		what = "schema " + r.Schema[:8] + ", not known in detail: their agents are older than this hub"
	case len(r.Differs) > 0:
		what = "schema " + r.Schema[:8]
	}
	fmt.Fprintf(w, "\n%s: %s\n", plural(int64(r.Count), "device"), what)
	for _, s := range r.Differs {
		fmt.Fprintf(w, "  %s\n", s)
	}
	rows := make([][]string, len(r.Devices))
	for i, v := range r.Devices {
		rows[i] = []string{"  " + v.Name, d.ago(v.Seen), d.ago(v.Since)}
	}
	grid(w, []string{"  DEVICE", "SEEN", "WITH IT SINCE"}, rows)
}

// gate answers whether something can be dropped.
func (d *door) gate(ctx context.Context, b *bureau, table, column string) error {
	res, err := b.Data.Droppable(ctx, connect.NewRequest(&pb.DroppableRequest{Table: table, Column: column}))
	if err != nil {
		return err
	}
	g := res.Msg
	out := struct {
		Name    string         `json:"name"`
		Open    bool           `json:"open"` // nothing stands in the way
		Hub     bool           `json:"hub"`  // the hub has it
		Users   []schemaDevice `json:"users"`
		Unknown []schemaDevice `json:"unknown"`
		Parked  []string       `json:"parked"`
		Unsent  []schemaDevice `json:"unsent"`
	}{g.GetName(), g.GetOpen(), g.GetHub(), schemaDevices(g.GetUsers()), schemaDevices(g.GetUnknown()), append([]string{}, g.GetParked()...), schemaDevices(g.GetUnsent())}
	err = d.show(out, func(w io.Writer) {
		tell := func(list []schemaDevice, what string) {
			for _, v := range list {
				fmt.Fprintf(w, "  %s %s (seen %s)\n", v.Name, what, d.ago(v.Seen))
			}
		}
		if g.GetOpen() {
			fmt.Fprintf(w, "%s can be dropped: no active device has it, and nothing in quarantine names it\n", g.GetName())
		} else {
			fmt.Fprintf(w, "%s is in use:\n", g.GetName())
		}
		tell(out.Users, "has it")
		tell(out.Unknown, "has not said what it has")
		for _, id := range out.Parked {
			fmt.Fprintf(w, "  transaction %s in quarantine names it: tidemark queue show %s\n", id, id[:8])
		}
		tell(out.Unsent, "gave it up, and has unsent work that may name it: list it under dropped")
	})
	if err != nil || g.GetOpen() {
		return err
	}
	return fail(exitFailed, fmt.Errorf("%s cannot be dropped yet", g.GetName()), "wait until these devices have migrated; revoke those that never come back")
}
