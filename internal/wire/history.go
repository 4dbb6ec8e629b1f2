package wire

import (
	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/wire/pb"
)

func lineageOut(list []change.Branch) []*pb.Branch {
	var out []*pb.Branch
	for _, b := range list {
		p := &pb.Branch{Epoch: uint64(b.Epoch), Mode: string(b.Mode), At: timeOut(b.At)}
		if !b.Fork.IsZero() {
			p.Fork = cursorOut(b.Fork)
		}
		out = append(out, p)
	}
	return out
}

func lineageIn(list []*pb.Branch) []change.Branch {
	var out []change.Branch
	for _, p := range list {
		out = append(out, change.Branch{Epoch: change.Epoch(p.GetEpoch()), Fork: cursorIn(p.GetFork()),
			Mode: change.BranchMode(p.GetMode()), At: timeIn(p.GetAt())})
	}
	return out
}

func leaseAskOut(m *LeaseAsk) *pb.LeaseAsk {
	out := &pb.LeaseAsk{Id: m.ID}
	for _, n := range m.Numbers {
		out.Numbers = append(out.Numbers, &pb.NumberLeft{Name: n.Name, Left: n.Left, Highest: n.Highest})
	}
	for _, s := range m.Shares {
		out.Shares = append(out.Shares, &pb.ShareLeft{Table: s.Table, Key: change.AppendKey(nil, s.Key), Column: s.Column, Left: s.Left})
	}
	return out
}

func (r *frameReader) leaseAsk(p *pb.LeaseAsk) *LeaseAsk {
	m := &LeaseAsk{ID: p.GetId()}
	for _, n := range p.GetNumbers() {
		m.Numbers = append(m.Numbers, NumberLeft{Name: n.GetName(), Left: n.GetLeft(), Highest: n.GetHighest()})
	}
	for _, s := range p.GetShares() {
		m.Shares = append(m.Shares, ShareLeft{Table: s.GetTable(), Key: r.key(s.GetKey()), Column: s.GetColumn(), Left: s.GetLeft()})
	}
	return m
}

func leaseGrantOut(m *LeaseGrant) *pb.LeaseGrant {
	out := &pb.LeaseGrant{Id: m.ID}
	for _, n := range m.Numbers {
		out.Numbers = append(out.Numbers, &pb.NumberRange{Name: n.Name, First: n.First, Last: n.Last})
	}
	for _, s := range m.Shares {
		out.Shares = append(out.Shares, &pb.ShareGrant{Table: s.Table, Key: change.AppendKey(nil, s.Key), Column: s.Column, Add: s.Add})
	}
	return out
}

func (r *frameReader) leaseGrant(p *pb.LeaseGrant) *LeaseGrant {
	m := &LeaseGrant{ID: p.GetId()}
	for _, n := range p.GetNumbers() {
		m.Numbers = append(m.Numbers, NumberRange{Name: n.GetName(), First: n.GetFirst(), Last: n.GetLast()})
	}
	for _, s := range p.GetShares() {
		m.Shares = append(m.Shares, ShareGrant{Table: s.GetTable(), Key: r.key(s.GetKey()), Column: s.GetColumn(), Add: s.GetAdd()})
	}
	return m
}
