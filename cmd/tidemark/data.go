package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/api"
	"github.com/tidemark-sync/tidemark/internal/api/pb"
)

func dataVerb(d *door) *cobra.Command {
	c := &cobra.Command{
		Use:   "data",
		Short: "Look at the hub's tables, scopes and rows, and who wrote what when",
		Long: `Data shows what the hub holds, and changes nothing. Keys are given value by value, as SQL
literals: 12, 1.5, 'text', x'00ff'; anything else is taken as text.

These verbs work on the hub's data directory, whether the hub is serving or not; with
--hub on a hub across a network.`,
		Args: cobra.ArbitraryArgs,
		RunE: group,
	}
	o := &officeFlags{}
	o.bindEither(c)
	c.AddCommand(dataTables(d, o), dataScopes(d, o), dataRows(d, o), dataHistory(d, o), dataDigests(d, o))
	return c
}

// A tableRow is one table of the hub.
type tableRow struct {
	Name    string      `json:"name"`
	Columns []columnRow `json:"columns"`
	Scope   string      `json:"scope"`  // how rows get theirs
	Policy  string      `json:"policy"` // of conflicts
	Rows    int64       `json:"rows"`   // about; -1: nobody knows
	Lost    string      `json:"not_served,omitempty"`
}

// A columnRow is one column of a table.
type columnRow struct {
	Name    string `json:"name"`
	Type    string `json:"type,omitempty"`
	Key     bool   `json:"key,omitempty"`
	NotNull bool   `json:"not_null,omitempty"`
	Policy  string `json:"policy,omitempty"` // when it has one of its own
}

func newTableRow(t *pb.Table) tableRow {
	r := tableRow{Name: t.GetName(), Columns: []columnRow{}, Scope: t.GetScope(), Policy: t.GetPolicy(), Rows: t.GetRows(), Lost: t.GetNotServed()}
	for _, c := range t.GetColumns() {
		r.Columns = append(r.Columns, columnRow{c.GetName(), c.GetType(), c.GetKey(), c.GetNotNull(), c.GetPolicy()})
	}
	return r
}

// columnText names a table's columns, those of the key and with policies marked.
func (r *tableRow) columnText() string {
	out := make([]string, len(r.Columns))
	for i, c := range r.Columns {
		out[i] = c.Name
		if c.Key {
			out[i] += "*"
		}
		if c.Policy != "" {
			out[i] += " (" + c.Policy + ")"
		}
	}
	return strings.Join(out, ", ")
}

func dataTables(d *door, o *officeFlags) *cobra.Command {
	return &cobra.Command{
		Use:     "tables",
		Short:   "List the tables, how their rows get scopes, and what decides conflicts",
		Example: "  tidemark data tables --json",
		Args:    args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return o.withAPI(cmd, d, func(ctx context.Context, b *bureau) error {
				res, err := b.Data.Tables(ctx, connect.NewRequest(&pb.TablesRequest{}))
				if err != nil {
					return err
				}
				out := []tableRow{}
				for _, t := range res.Msg.GetTables() {
					out = append(out, newTableRow(t))
				}
				return d.show(map[string]any{"tables": out}, func(w io.Writer) {
					rows := make([][]string, len(out))
					for i := range out {
						t := &out[i]
						n := "?"
						if t.Rows >= 0 {
							n = count(t.Rows)
						}
						rows[i] = []string{t.Name, n, orDash(t.Scope), t.Policy, t.columnText()}
						if t.Lost != "" {
							rows[i] = []string{t.Name, n, "-", "-", "NOT SERVED: " + t.Lost}
						}
					}
					grid(w, []string{"TABLE", "ROWS", "SCOPE", "POLICY", "COLUMNS"}, rows)
				})
			})
		},
	}
}

func dataScopes(d *door, o *officeFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "scopes",
		Short: "List the scopes that somebody was granted",
		Args:  args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return o.withAPI(cmd, d, func(ctx context.Context, b *bureau) error {
				res, err := b.Data.Scopes(ctx, connect.NewRequest(&pb.ScopesRequest{}))
				if err != nil {
					return err
				}
				type row struct {
					Scope   string `json:"scope"`
					Devices uint32 `json:"devices"` // that may read it
				}
				out := []row{}
				for _, s := range res.Msg.GetScopes() {
					out = append(out, row{s.GetScope(), s.GetDevices()})
				}
				return d.show(map[string]any{"scopes": out}, func(w io.Writer) {
					rows := make([][]string, len(out))
					for i, r := range out {
						rows[i] = []string{r.Scope, fmt.Sprint(r.Devices)}
					}
					grid(w, []string{"SCOPE", "DEVICES"}, rows)
				})
			})
		},
	}
}

// literals reads a key, value by value.
func literals(list []string) (change.Key, error) {
	var out change.Key
	for _, s := range list {
		v, err := literal(s)
		if err != nil {
			return nil, fail(exitUsage, fmt.Errorf("key %s: %w", s, err), "a value is 12, 1.5, 'text' or x'00ff'")
		}
		out = append(out, v)
	}
	return out, nil
}

// A shownRow is one row of a table.
type shownRow struct {
	Values map[string]any `json:"values"`
	Scope  string         `json:"scope,omitempty"`
	text   []string
}

func newShownRow(columns []string, r *pb.Row) shownRow {
	out := shownRow{Values: map[string]any{}, Scope: r.GetScope()}
	for i, v := range api.Values(r.GetValues()) {
		if i < len(columns) {
			out.Values[columns[i]] = plain(v)
		}
		out.text = append(out.text, brief(v))
	}
	return out
}

func dataRows(d *door, o *officeFlags) *cobra.Command {
	req := &pb.RowsRequest{}
	var last int
	c := &cobra.Command{
		Use:   "rows TABLE [KEY...]",
		Short: "List rows of a table in the order of their keys, or show one",
		Example: `  tidemark data rows patient --scope branch/7 --limit 20
  tidemark data rows patient p1`,
		Args: args(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, list []string) error {
			key, err := literals(list[1:])
			if err != nil {
				return err
			}
			req.Table = list[0]
			if len(key) > 0 {
				req.Key = api.KeyOf(key)
			}
			return o.withAPI(cmd, d, func(ctx context.Context, b *bureau) error { return d.showRows(ctx, b, req, last) })
		},
	}
	c.Flags().StringVar(&req.Scope, "scope", "", "of this scope only (default: all that are granted to anybody)")
	c.Flags().IntVar(&last, "limit", 100, "at most so many (0: all)")
	return c
}

func (d *door) showRows(ctx context.Context, b *bureau, req *pb.RowsRequest, limit int) error {
	var columns []string
	out, more := []shownRow{}, false
	err := pages(func(p *pb.Page) (string, bool, error) {
		req.Page = p
		if limit > 0 {
			p.PageSize = uint32(min(limit-len(out), pageSize)) //nolint:gosec // small
		}
		res, err := b.Data.Rows(ctx, connect.NewRequest(req))
		if err != nil {
			return "", true, err
		}
		columns = res.Msg.GetColumns()
		for _, r := range res.Msg.GetRows() {
			out = append(out, newShownRow(columns, r))
		}
		more = res.Msg.GetNextPageToken() != ""
		return res.Msg.GetNextPageToken(), limit > 0 && len(out) >= limit, nil
	})
	if err != nil {
		return noRow(err, req.GetTable(), req.GetKey())
	}
	return d.show(map[string]any{"table": req.GetTable(), "columns": columns, "rows": out, "more": more}, func(w io.Writer) {
		if len(out) == 0 {
			fmt.Fprintln(w, "no rows")
			return
		}
		rows := make([][]string, len(out))
		for i, r := range out {
			rows[i] = append([]string{orDash(r.Scope)}, r.text...)
		}
		grid(w, append([]string{"SCOPE"}, columns...), rows)
		if more {
			d.say("there are more: --limit says how many to list")
		}
	})
}

// noRow says of refusals which row they are about.
func noRow(err error, table string, key *pb.Key) error {
	if says(err, "no-such-row") {
		return fail(exitUsage, fmt.Errorf("table %s has no row %s", table, change.Key(api.Values(key.GetValues()))), "tidemark data rows %s lists them", table)
	}
	return err
}

func dataDigests(d *door, o *officeFlags) *cobra.Command {
	var scopes []string
	c := &cobra.Command{
		Use:   "digests",
		Short: "Sum up the tables, as devices do to compare their rows with the hub's",
		Long: `Two places that have the same rows of the same scopes have the same sums. Without --scope
it is all scopes that were granted to anybody.`,
		Example: "  tidemark data digests --scope all --scope branch/7",
		Args:    args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return o.withAPI(cmd, d, func(ctx context.Context, b *bureau) error {
				res, err := b.Data.Digests(ctx, connect.NewRequest(&pb.DigestsRequest{Scopes: scopes}))
				if err != nil {
					return err
				}
				type row struct {
					Table string `json:"table"`
					Rows  int64  `json:"rows"`
					Sum   string `json:"sum"`
				}
				out := []row{}
				for _, t := range res.Msg.GetTables() {
					out = append(out, row{t.GetTable(), t.GetRows(), t.GetSum()})
				}
				return d.show(map[string]any{"cursor": res.Msg.GetCursor(), "tables": out}, func(w io.Writer) {
					rows := make([][]string, len(out))
					for i, r := range out {
						rows[i] = []string{r.Table, count(r.Rows), r.Sum}
					}
					fmt.Fprintf(w, "at %s\n", res.Msg.GetCursor())
					grid(w, []string{"TABLE", "ROWS", "SUM"}, rows)
				})
			})
		},
	}
	c.Flags().StringArrayVar(&scopes, "scope", nil, "a scope (repeatable)")
	return c
}

// A versionRow is what one transaction did to a row.
type versionRow struct {
	At      time.Time       `json:"at"`               // when the hub took it
	Written time.Time       `json:"written,omitzero"` // by its author's clock, corrected
	Tx      string          `json:"transaction,omitempty"`
	Device  string          `json:"device,omitempty"`
	Who     string          `json:"device_name"`
	Kind    string          `json:"kind"`
	Status  string          `json:"status,omitempty"`
	Columns []versionColumn `json:"columns"`
}

// A versionColumn is what became of one column; without values where nobody kept them.
type versionColumn struct {
	Name  string `json:"name"`
	Known bool   `json:"known"`
	Base  any    `json:"base"`
	New   any    `json:"new"`
	text  string
}

func newVersionRow(v *pb.Version) versionRow {
	r := versionRow{At: timeIn(v.GetAt()), Written: timeIn(v.GetWritten()), Tx: v.GetTransaction(), Device: v.GetDevice(), Who: party(v.GetDeviceName()),
		Kind: v.GetKind(), Status: v.GetStatus(), Columns: []versionColumn{}}
	for _, c := range v.GetColumns() {
		one := versionColumn{Name: c.GetName(), Known: c.GetNew() != nil, text: c.GetName()}
		if one.Known {
			base, now := api.Value(c.GetBase()), api.Value(c.GetNew())
			one.Base, one.New, one.text = plain(base), plain(now), c.GetName()+": "+brief(base)+" → "+brief(now)
			if v.GetKind() == change.Insert.String() {
				one.text = c.GetName() + ": " + brief(now)
			}
		}
		r.Columns = append(r.Columns, one)
	}
	return r
}

func dataHistory(d *door, o *officeFlags) *cobra.Command {
	var last int
	c := &cobra.Command{
		Use:   "history TABLE KEY...",
		Short: "List who wrote which value of a row when, newest first",
		Long: `History reaches as far back as the journal. What is in quarantine and what was discarded
is in it, too; of what other programs wrote at the hub it has the columns, not the values.`,
		Example: `  tidemark data history patient p1
  tidemark data history line o-1 3 --last 5`,
		Args: args(cobra.MinimumNArgs(2)),
		RunE: func(cmd *cobra.Command, list []string) error {
			key, err := literals(list[1:])
			if err != nil {
				return err
			}
			return o.withAPI(cmd, d, func(ctx context.Context, b *bureau) error {
				return d.showHistory(ctx, b, &pb.HistoryRequest{Table: list[0], Key: api.KeyOf(key)}, last)
			})
		},
	}
	c.Flags().IntVar(&last, "last", 50, "how many versions (0: all)")
	return c
}

func (d *door) showHistory(ctx context.Context, b *bureau, req *pb.HistoryRequest, last int) error {
	var head *pb.HistoryResponse
	out, cut := []versionRow{}, false
	err := pages(func(p *pb.Page) (string, bool, error) {
		req.Page = p
		res, err := b.Data.History(ctx, connect.NewRequest(req))
		if err != nil {
			return "", true, err
		}
		if head == nil {
			head = res.Msg
		}
		cut = res.Msg.GetCut()
		for _, v := range res.Msg.GetVersions() {
			out = append(out, newVersionRow(v))
		}
		return res.Msg.GetNextPageToken(), last > 0 && len(out) >= last, nil
	})
	if err != nil {
		return noRow(err, req.GetTable(), req.GetKey())
	}
	if last > 0 && len(out) > last {
		out = out[:last]
	}
	now := newShownRow(head.GetColumns(), &pb.Row{Values: head.GetNow()})
	return d.show(map[string]any{"table": req.GetTable(), "exists": len(head.GetNow()) > 0, "now": now.Values, "versions": out, "cut": cut}, func(w io.Writer) {
		var list [][2]string
		for i, c := range head.GetColumns() {
			if i < len(now.text) {
				list = append(list, [2]string{c, now.text[i]})
			}
		}
		if facts(w, list); len(list) == 0 {
			fmt.Fprintln(w, "the row is not there now")
		}
		fmt.Fprintln(w)
		rows := make([][]string, len(out))
		for i, v := range out {
			what := make([]string, len(v.Columns))
			for j, c := range v.Columns {
				what[j] = c.text
			}
			rows[i] = []string{v.At.Local().Format(time.DateTime), v.Who, v.Kind, orDash(v.Status), strings.Join(what, "; ")}
		}
		grid(w, []string{"AT", "BY", "DID", "BECAME", "WHAT"}, rows)
		if cut {
			fmt.Fprintln(w, "what was done earlier is no longer known")
		}
	})
}
