package postgresstore

import (
	"log/slog"
	"time"
)

// stallAfter is how long an Update may take before the log says so. One that takes longer
// hardly works: it waits for its commit to be confirmed.
const stallAfter = 20 * time.Second

// watch tells the log when what it was called for takes longer than it may, unless done
// comes before. Where replication is synchronous a commit waits for a standby without an
// end and without a word, for ever at a primary that was given up and does not know.
func watch(log *slog.Logger, may time.Duration) (done func()) {
	t := time.AfterFunc(may, func() {
		log.Warn("the database does not confirm a write", "for", may.String(),
			"hint", "is its synchronous standby away, or was this server given up as the primary? with Patroni: patronictl list; hub.database must lead to the Leader")
	})
	return func() { t.Stop() }
}
