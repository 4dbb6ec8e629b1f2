package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/api/pb"
	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/run"
)

func leaseVerb(d *door) *cobra.Command {
	c := &cobra.Command{
		Use:   "lease",
		Short: "Show which device has which numbers, and shares of which amounts",
		Long: `Leases give each device ranges of numbers of its own, such as invoice numbers, and
shares of amounts that must not go below a floor, such as stock. tidemark.yaml declares
them; devices ask for more when they are online and run low.

These verbs work on the hub's data directory, whether the hub is serving or not; with
--hub on a hub across a network.`,
		Args: cobra.ArbitraryArgs,
		RunE: group,
	}
	o := &officeFlags{}
	o.bindEither(c)
	c.AddCommand(leaseList(d, o))
	return c
}

func leaseList(d *door, o *officeFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the ranges of numbers and the shares that devices hold",
		Long: `List shows, for each leased column, how many ranges each device ever got, the latest of
them, and how many numbers it had left when it last asked; and for each counter with a
floor, how much of it each device may take by itself. --json has every range.`,
		Example: "  tidemark lease list --data /var/lib/tidemark",
		Args:    args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return o.withAPI(cmd, d, func(ctx context.Context, b *bureau) error {
				res, err := b.Data.Leases(ctx, connect.NewRequest(&pb.LeasesRequest{}))
				if err != nil {
					return err
				}
				r, names, err := leasesIn(res.Msg)
				if err != nil {
					return err
				}
				return d.show(r, func(w io.Writer) { leaseTables(d, w, r, names) })
			})
		},
	}
}

// leasesIn reads a report, and the names of the devices in it.
func leasesIn(m *pb.LeasesResponse) (*hub.LeaseReport, map[change.DeviceID]string, error) {
	names := map[change.DeviceID]string{}
	var errs []error
	device := func(id, name string) change.DeviceID {
		out, err := change.ParseDeviceID(id)
		errs = append(errs, err)
		names[out] = name
		return out
	}
	r := &hub.LeaseReport{Numbers: []hub.SeriesReport{}, Shares: []hub.ShareReport{}}
	for _, s := range m.GetNumbers() {
		one := hub.SeriesReport{Name: s.GetName(), Next: s.GetNext(), Size: s.GetSize()}
		for _, g := range s.GetRanges() {
			inc, err := change.ParseIncarnation(g.GetIncarnation())
			errs = append(errs, err)
			one.Ranges = append(one.Ranges, hub.NumberGrant{Name: s.GetName(), Device: device(g.GetDevice(), g.GetDeviceName()), Inc: inc,
				First: g.GetFirst(), Last: g.GetLast(), At: timeIn(g.GetAt())})
		}
		for _, n := range s.GetLeft() {
			one.Left = append(one.Left, hub.NumberReport{Device: device(n.GetDevice(), n.GetDeviceName()), Left: n.GetLeft(), Highest: n.GetHighest(), At: timeIn(n.GetAt())})
		}
		r.Numbers = append(r.Numbers, one)
	}
	for _, v := range m.GetShares() {
		r.Shares = append(r.Shares, hub.ShareReport{Table: v.GetTable(), Column: v.GetColumn(), Device: device(v.GetDevice(), v.GetDeviceName()), Rows: int(v.GetRows()), Held: v.GetHeld()})
	}
	if err := errors.Join(errs...); err != nil {
		return nil, nil, fmt.Errorf("read leases: %w", err)
	}
	return r, names, nil
}

func leaseTables(d *door, w io.Writer, r *hub.LeaseReport, names map[change.DeviceID]string) {
	if len(r.Numbers)+len(r.Shares) == 0 {
		fmt.Fprintln(w, "nothing is out yet: tidemark.yaml declares leases and floors, and devices ask when they connect")
		return
	}
	var rows [][]string
	for i := range r.Numbers {
		rows = append(rows, numberRows(d, &r.Numbers[i], names)...)
	}
	if len(rows) > 0 {
		grid(w, []string{"NUMBER", "DEVICE", "RANGES", "LATEST", "LEFT", "AS OF"}, rows)
		for _, s := range r.Numbers {
			fmt.Fprintf(w, "next free %s: %d\n", s.Name, s.Next)
		}
	}
	if len(r.Shares) == 0 {
		return
	}
	if len(rows) > 0 {
		fmt.Fprintln(w)
	}
	rows = nil
	for _, s := range r.Shares {
		rows = append(rows, []string{s.Table + "." + s.Column, names[s.Device], count(int64(s.Rows)), count(s.Held)})
	}
	grid(w, []string{"AMOUNT", "DEVICE", "ROWS", "HELD"}, rows)
}

// numberRows is a line for each device that got ranges of a series, in the order of
// their first ones, and for those that hold numbers of a life of the hub that is lost.
func numberRows(d *door, s *hub.SeriesReport, names map[change.DeviceID]string) (rows [][]string) {
	at := map[change.DeviceID]int{}
	got, last := map[change.DeviceID]int64{}, map[change.DeviceID]int64{}
	for _, g := range s.Ranges {
		got[g.Device]++
		i, ok := at[g.Device]
		if !ok {
			i, at[g.Device] = len(rows), len(rows)
			rows = append(rows, []string{s.Name, names[g.Device], "", "", "-", "-"})
		}
		last[g.Device] = max(last[g.Device], g.Last)
		rows[i][2], rows[i][3] = count(got[g.Device]), fmt.Sprintf("%d-%d", g.First, g.Last)
	}
	for _, n := range s.Left {
		i, ok := at[n.Device]
		if !ok && n.Left == 0 {
			continue
		}
		if !ok {
			i = len(rows)
			rows = append(rows, []string{s.Name, names[n.Device], "0", "-", "", ""})
		}
		if n.Highest > last[n.Device] {
			rows[i][3] += fmt.Sprintf(" and up to %d, of a lost life", n.Highest)
		}
		rows[i][4], rows[i][5] = count(int64(n.Left)), d.ago(n.At)
	}
	return rows
}

// leaseFacts are the lines of a file's status about its numbers and shares.
func leaseFacts(s *run.EdgeStatus) (out [][2]string) {
	var parts []string
	for _, n := range s.Numbers {
		p := fmt.Sprintf("%s %s left", n.Name, count(n.Left))
		if n.Left == 0 {
			p = n.Name + " NONE LEFT: connect to the hub"
		}
		parts = append(parts, p)
	}
	if len(parts) > 0 {
		out = append(out, [2]string{"  numbers", strings.Join(parts, ", ")})
	}
	parts = nil
	for _, x := range s.Shares {
		p := fmt.Sprintf("%s.%s %s in %s", x.Table, x.Column, count(x.Left), plural(x.Rows, "row"))
		if x.Empty > 0 {
			p += fmt.Sprintf(", %s empty", count(x.Empty))
		}
		parts = append(parts, p)
	}
	if len(parts) > 0 {
		out = append(out, [2]string{"  shares", strings.Join(parts, "; ")})
	}
	return out
}
