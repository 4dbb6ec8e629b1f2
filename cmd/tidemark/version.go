package main

import (
	"fmt"
	"io"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/tidemark-sync/tidemark/internal/wire"
)

func versionVerb(d *door) *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Print the version, and the protocol versions it speaks",
		Example: "  tidemark version --json",
		Args:    args(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error {
			v := struct {
				Version     string `json:"version"`
				Go          string `json:"go"`
				Platform    string `json:"platform"`
				MinProtocol uint32 `json:"min_protocol"`
				MaxProtocol uint32 `json:"max_protocol"`
			}{buildVersion(), runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH, wire.MinProtocol, wire.MaxProtocol}
			return d.show(v, func(w io.Writer) {
				fmt.Fprintf(w, "tidemark %s, protocol %d to %d, %s, %s\n", v.Version, v.MinProtocol, v.MaxProtocol, v.Go, v.Platform)
			})
		},
	}
}

// version is set by the linker: see the Makefile.
var version string

// buildVersion is what the build was told it is, else the module's version, else
// the commit.
func buildVersion() string {
	if version != "" {
		return version
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= 12 {
			return "devel-" + s.Value[:12]
		}
	}
	return "devel"
}
