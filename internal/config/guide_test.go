package config

import (
	"os"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// The guide's files for a hub that survives its servers are what they say they are.
func TestHighAvailabilityExamples(t *testing.T) {
	c, err := Load("../../docs/guide/ha/tidemark.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Hub.Database.Replicas) != 3 || c.Hub.Rollback != "recover" || c.Hub.Limits.Rate == 0 ||
		!strings.Contains(c.Hub.Database.DSN, "@127.0.0.1:5000/") {
		t.Errorf("%+v", c.Hub)
	}
	text, err := os.ReadFile("../../docs/guide/ha/tidemark.yaml")
	if err != nil {
		t.Fatal(err)
	}
	// The way through pgbouncer, which is written beside it.
	pooled := strings.NewReplacer("  database:", "  # database:", "  # database:", "  database:", "  # listen_database:", "  listen_database:", "  # pooled:", "  pooled:").Replace(string(text))
	if c, err = Parse([]byte(pooled)); err != nil || c.Hub.Database.Pooled != "true" || c.Hub.Database.Listen == "" {
		t.Errorf("with pgbouncer: %v", err)
	}

	if text, err = os.ReadFile("../../docs/guide/ha/patroni.yml"); err != nil {
		t.Fatal(err)
	}
	var p struct {
		Bootstrap struct {
			DCS struct {
				Synchronous *bool `yaml:"synchronous_mode"`
				PostgreSQL  struct {
					Parameters map[string]any
				}
			} `yaml:"dcs"`
		}
		PostgreSQL struct {
			DataDir string `yaml:"data_dir"`
		} `yaml:"postgresql"`
	}
	if err := yaml.Unmarshal(text, &p); err != nil {
		t.Fatal(err)
	}
	if s := p.Bootstrap.DCS.Synchronous; s == nil || !*s || p.Bootstrap.DCS.PostgreSQL.Parameters["synchronous_commit"] != "on" || p.PostgreSQL.DataDir == "" {
		t.Errorf("patroni.yml: %+v", p)
	}
}
