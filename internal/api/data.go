package api

import (
	"context"
	"fmt"
	"math/bits"
	"strings"

	"connectrpc.com/connect"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/api/pb"
	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/rule"
)

// data is the tables, and who wrote what in them.
type data struct{ *Service }

func (s data) Tables(ctx context.Context, _ *connect.Request[pb.TablesRequest]) (*connect.Response[pb.TablesResponse], error) {
	scopes, err := s.scopes(ctx)
	if err != nil {
		return nil, err
	}
	rows, err := s.cfg.Serving.Count(ctx, scopes)
	if err != nil {
		return nil, s.explain(err, "table")
	}
	setup := s.cfg.Hub.Setup()
	out := &pb.TablesResponse{}
	for i := range setup.Schema.Tables {
		t := &setup.Schema.Tables[i]
		n, ok := rows[t.Name]
		if !ok {
			n = -1
		}
		out.Tables = append(out.Tables, tableOut(t, setup.Rules.Table(t.Name), n))
	}
	for _, m := range s.cfg.Hub.Lost() {
		out.Tables = append(out.Tables, &pb.Table{Name: m.Table, Rows: -1, NotServed: m.Reason})
	}
	return connect.NewResponse(out), nil
}

func tableOut(t *change.Table, r *rule.Table, rows int64) *pb.Table {
	out := &pb.Table{Name: t.Name, Rows: rows}
	if r == nil {
		r = &rule.Table{}
	}
	out.Scope, out.Policy = scopeText(r), string(r.Policy)
	if out.Policy == "" {
		out.Policy = string(rule.Latest)
	}
	for i, c := range t.Columns {
		out.Columns = append(out.Columns, &pb.Column{Name: c.Name, Type: c.Type, Key: t.InKey(i), NotNull: c.NotNull,
			Policy: string(r.Columns[strings.ToLower(c.Name)].Policy)})
	}
	return out
}

// scopeText says how rows get their scope.
func scopeText(r *rule.Table) string {
	switch {
	case r.Scope.All:
		return "all"
	case r.Scope.Via != "":
		return "that of the row that " + r.Scope.Via + " names"
	case r.Scope.Kind != "":
		return r.Scope.Kind + "/{" + r.Scope.Column + "}"
	case r.Reference:
		return "wherever a row needs it"
	}
	return ""
}

// scopes are those that somebody was granted.
func (s *Service) scopes(ctx context.Context) ([]rule.ScopeID, error) {
	list, err := s.cfg.Hub.Scopes(ctx)
	if err != nil {
		return nil, s.explain(err, "scope")
	}
	out := make([]rule.ScopeID, len(list))
	for i := range list {
		out[i] = list[i].Scope
	}
	return out, nil
}

func (s data) Scopes(ctx context.Context, _ *connect.Request[pb.ScopesRequest]) (*connect.Response[pb.ScopesResponse], error) {
	list, err := s.cfg.Hub.Scopes(ctx)
	if err != nil {
		return nil, s.explain(err, "scope")
	}
	out := &pb.ScopesResponse{}
	for _, one := range list {
		out.Scopes = append(out.Scopes, &pb.ScopeInfo{Scope: string(one.Scope), Devices: count(one.Devices)})
	}
	return connect.NewResponse(out), nil
}

// rowsToken is where a page of rows ends.
type rowsToken struct {
	After []byte `json:"a"` // change.Key.ID
}

func (s data) Rows(ctx context.Context, req *connect.Request[pb.RowsRequest]) (*connect.Response[pb.RowsResponse], error) {
	m := req.Msg
	if len(m.GetKey().GetValues()) > 0 {
		p, err := s.cfg.Hub.Row(ctx, m.GetTable(), keyIn(m.GetKey()))
		if err != nil {
			return nil, s.explain(err, "row")
		}
		return connect.NewResponse(rowsOut(p)), nil
	}
	var from rowsToken
	if _, err := tokenIn(m.GetPage(), &from); err != nil {
		return nil, err
	}
	after, err := change.ParseKeyID(string(from.After))
	if err != nil {
		return nil, badField("page.page_token", "this is no page token of this list", "begin again without one")
	}
	p, err := s.cfg.Hub.Rows(ctx, m.GetTable(), rule.ScopeID(m.GetScope()), after, pageSize(m.GetPage()))
	if err != nil {
		return nil, s.explain(err, "table")
	}
	return connect.NewResponse(rowsOut(p)), nil
}

func rowsOut(p *hub.RowPage) *pb.RowsResponse {
	out := &pb.RowsResponse{Columns: p.Columns}
	for _, r := range p.Rows {
		out.Rows = append(out.Rows, &pb.Row{Values: valuesOut(r.Values), Scope: string(r.Scope)})
	}
	if p.Next != nil {
		out.NextPageToken = tokenOut(rowsToken{[]byte(p.Next.ID())})
	}
	return out
}

func (s data) History(ctx context.Context, req *connect.Request[pb.HistoryRequest]) (*connect.Response[pb.HistoryResponse], error) {
	m := req.Msg
	var from beforeToken
	if _, err := tokenIn(m.GetPage(), &from); err != nil {
		return nil, err
	}
	h, err := s.cfg.Hub.History(ctx, m.GetTable(), keyIn(m.GetKey()), from.Before, pageSize(m.GetPage()))
	if err != nil {
		return nil, s.explain(err, "row")
	}
	out := &pb.HistoryResponse{Columns: h.Columns, Now: valuesOut(h.Now), Cut: h.Cut}
	for i := range h.Versions {
		out.Versions = append(out.Versions, versionOut(&h.Versions[i]))
	}
	if h.Next != "" {
		out.NextPageToken = tokenOut(beforeToken{h.Next})
	}
	return connect.NewResponse(out), nil
}

func versionOut(v *hub.RowVersion) *pb.Version {
	out := &pb.Version{At: timeOut(v.At), Written: timeOut(v.Written), DeviceName: v.DeviceName, Kind: v.Kind.String()}
	if !v.Tx.IsZero() {
		out.Transaction, out.Device, out.Status = v.Tx.String(), v.Device.String(), v.Status.String()
	}
	for _, c := range v.Columns {
		one := &pb.VersionColumn{Name: c.Name}
		if c.Known {
			one.Base, one.New = valueOut(c.Base), valueOut(c.New)
		}
		out.Columns = append(out.Columns, one)
	}
	return out
}

func (s data) Digests(ctx context.Context, req *connect.Request[pb.DigestsRequest]) (*connect.Response[pb.DigestsResponse], error) {
	scopes := make([]rule.ScopeID, 0, len(req.Msg.GetScopes()))
	for _, one := range req.Msg.GetScopes() {
		scopes = append(scopes, rule.ScopeID(one))
	}
	if len(scopes) == 0 {
		var err error
		if scopes, err = s.scopes(ctx); err != nil {
			return nil, err
		}
	}
	at, list, err := s.cfg.Hub.Digests(ctx, scopes)
	if err != nil {
		return nil, s.explain(err, "scope")
	}
	out := &pb.DigestsResponse{Cursor: at.String()}
	for i := range list {
		out.Tables = append(out.Tables, &pb.TableDigest{Table: list[i].Table, Rows: list[i].Rows, Sum: sumText(&list[i])})
	}
	return connect.NewResponse(out), nil
}

// sumText is a table's digest in one number: equal tables have equal ones.
func sumText(d *change.Digest) string {
	var sum change.RowHash
	for _, h := range d.Sums {
		var carry uint64
		sum.Lo, carry = bits.Add64(sum.Lo, h.Lo, 0)
		sum.Hi, _ = bits.Add64(sum.Hi, h.Hi, carry)
	}
	return fmt.Sprintf("%016x%016x", sum.Hi, sum.Lo)
}

func (s data) Schemas(ctx context.Context, _ *connect.Request[pb.SchemasRequest]) (*connect.Response[pb.SchemasResponse], error) {
	shapes, err := s.cfg.Hub.Shapes(ctx)
	if err != nil {
		return nil, s.explain(err, "schema")
	}
	out := &pb.SchemasResponse{}
	for i := range shapes.Uses {
		u := &shapes.Uses[i]
		one := &pb.SchemaCount{Current: u.Known && len(u.Differs) == 0, Differs: u.Differs}
		if u.Hash != (change.SchemaHash{}) {
			one.Schema = u.Hash.String()[:8]
		}
		for _, d := range u.Devices {
			one.Devices = append(one.Devices, d.Name)
		}
		out.Schemas = append(out.Schemas, one)
	}
	addShapes(out, shapes)
	return connect.NewResponse(out), nil
}
