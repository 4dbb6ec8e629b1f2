package postgresstore

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/tidemark-sync/tidemark/internal/rule"
)

// metaRules is the key of tidemark.meta that holds the rules in force, as JSON. Two
// processes with different rules would otherwise make the triggers anew in turns.
const metaRules = "rules"

// Rules are those that the capture is made for. They are not to be modified.
func (s *Store) Rules() *rule.Rules { return &s.plan.Load().rules }

// enact returns the rules to refresh under. Given nil, those are the rules in force,
// whichever process put them there; else the given ones, which are in force from here
// on. The caller holds the writer's lock.
func (s *Store) enact(ctx context.Context, c *pgx.Conn, rules *rule.Rules) (*rule.Rules, error) {
	was, err := meta(ctx, c, metaRules)
	if err != nil {
		return nil, err
	}
	if rules == nil {
		if was != "" {
			rules = &rule.Rules{}
			if err := json.Unmarshal([]byte(was), rules); err != nil {
				return nil, fmt.Errorf("decode the rules in force: %w", err)
			}
			return rules, nil
		}
		rules = s.cfg.Rules
		if p := s.plan.Load(); p != nil {
			rules = &p.rules
		}
	}
	now, err := json.Marshal(rules)
	if err != nil {
		return nil, fmt.Errorf("encode the rules: %w", err)
	}
	if string(now) == was {
		return rules, nil
	}
	return rules, setMeta(ctx, c, metaRules, string(now))
}
