package serve

import (
	"context"
	"time"

	"github.com/tidemark-sync/tidemark/internal/api"
	"github.com/tidemark-sync/tidemark/internal/checkup"
	"github.com/tidemark-sync/tidemark/internal/config"
	postgresstore "github.com/tidemark-sync/tidemark/internal/store/postgres"
)

// lateReplica is how far behind a replica may be without a word about it: what it is not
// ready for is read from the primary.
const lateReplica = 5 * time.Second

// replicas are how those fare that parts of bootstraps are read from.
func (h *Hub) replicas() (out []api.Replica) {
	b, ok := h.base.(*serverBase)
	if !ok || h.office == nil || h.office.server == nil {
		return nil
	}
	for i, s := range h.office.server.ReplicaStates() {
		out = append(out, api.Replica{Address: config.Redact(b.replicas[i]), Reads: s.Reads, Fault: s.Why})
	}
	return out
}

// examineReplicas looks at what parts of bootstraps are read from.
func (b *serverBase) examineReplicas(ctx context.Context, c *exam) {
	for _, dsn := range b.replicas {
		name := config.Redact(dsn)
		lag, err := postgresstore.Replica(ctx, b.direct, dsn)
		switch {
		case err != nil:
			c.Add("replica", checkup.Warn, "hub.replicas must name streaming standbys of hub.database; until then the primary is read, which is slower", "%s is not read: %v", name, err)
		case lag > lateReplica:
			c.Add("replica", checkup.Warn, "look at its network and its load; until it caught up the primary is read", "%s is %v behind", name, lag.Round(time.Second))
		default:
			c.Add("replica", checkup.Good, "", "%s follows", name)
		}
	}
}
