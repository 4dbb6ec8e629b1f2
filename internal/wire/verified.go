package wire

import "github.com/tidemark-sync/tidemark/internal/wire/pb"

func verifiedOut(v *VerifyReport) *pb.VerifyReport {
	if v == nil {
		return nil
	}
	return &pb.VerifyReport{At: timeOut(v.At), Equal: v.Equal, Rows: v.Rows, Differing: v.Differing, Tables: humans(v.Tables)}
}

func verifiedIn(p *pb.VerifyReport) *VerifyReport {
	if p == nil {
		return nil
	}
	return &VerifyReport{At: timeIn(p.GetAt()), Equal: p.GetEqual(), Rows: p.GetRows(), Differing: p.GetDiffering(), Tables: p.GetTables()}
}

// humans is human of each.
func humans(list []string) []string {
	if len(list) == 0 {
		return nil
	}
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = human(s)
	}
	return out
}
