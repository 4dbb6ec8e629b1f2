package api

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/tidemark-sync/tidemark/internal/api/pb"
)

// unsafePast is the fleet's headline number over the last day, a point a minute.
type unsafePast struct {
	mu     sync.Mutex
	points []*pb.UnsafePoint // guarded by mu; oldest first, never modified
}

// pastFor is how far it reaches.
const pastFor = 24 * time.Hour

func (p *unsafePast) add(o *pb.OverviewResponse) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.points = append(p.points, &pb.UnsafePoint{At: o.GetAt(), Oldest: o.GetOldestUnsafe(), Connected: o.GetConnected(), Quarantined: o.GetQuarantined()})
	old := o.GetAt().AsTime().Add(-pastFor)
	n := 0
	for n < len(p.points)-1 && p.points[n].GetAt().AsTime().Before(old) {
		n++
	}
	p.points = slices.Delete(p.points, 0, n)
}

func (p *unsafePast) list() []*pb.UnsafePoint {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.points)
}

// Sample notes the fleet's state for Overview's history, and acts that were cut off for
// the audit. The process around the hub calls it once a minute.
func (s *Service) Sample(ctx context.Context) error {
	if err := s.cfg.People.SettleIntents(ctx); err != nil {
		return err
	}
	v, err := s.look(ctx)
	if err != nil {
		return err
	}
	s.past.add(s.overview(v))
	return nil
}
