package api

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/tidemark-sync/tidemark/internal/api/pb"
)

// What only one of the two has, and why.
var (
	notInConsole = map[string]string{}
	notInCommand = map[string]string{
		"Fleet/Watch": "a command shows what is, once", "Entrance/State": "a command comes with a token, and hears when that does not hold",
		// A browser's way in, and what a person keeps there for themselves: commands come with a token.
		"Entrance/SetUp": "", "Entrance/Login": "", "Entrance/Logout": "", "Entrance/SetPassword": "",
		"Entrance/BeginPasskeyLogin": "", "Entrance/FinishPasskeyLogin": "", "Entrance/BeginPasskey": "", "Entrance/FinishPasskey": "", "Entrance/RemovePasskey": "",
		"Entrance/BeginTotp": "", "Entrance/FinishTotp": "", "Entrance/RemoveTotp": "",
	}
)

// Everything that the console does, the command does, too, and the other way round.
func TestConsoleAndCommandCanDoTheSame(t *testing.T) {
	console := sources(t, "../../console/src", func(name string) bool {
		return (strings.HasSuffix(name, ".ts") || strings.HasSuffix(name, ".tsx")) && !strings.Contains(name, ".test.") && !strings.Contains(name, "/gen/")
	})
	command := sources(t, "../../cmd/tidemark", func(name string) bool { return strings.HasSuffix(name, ".go") && !strings.HasSuffix(name, "_test.go") })
	services := pb.File_tidemark_admin_v1_admin_proto.Services()
	for i := range services.Len() {
		s := services.Get(i)
		for j := range s.Methods().Len() {
			m := string(s.Methods().Get(j).Name())
			action, service := string(s.Name())+"/"+m, string(s.Name())
			inConsole := regexp.MustCompile(`hub\.` + strings.ToLower(service) + `\s*\.` + strings.ToLower(m[:1]) + m[1:] + `\b`).MatchString(console)
			inCommand := regexp.MustCompile(`\.` + service + `\.` + m + `\b`).MatchString(command)
			for _, v := range []struct {
				where string
				there bool
				left  map[string]string
			}{{"the console", inConsole, notInConsole}, {"the command", inCommand, notInCommand}} {
				if _, left := v.left[action]; v.there == left {
					t.Errorf("%s: in %s is %t, and %t is written down here", action, v.where, v.there, !left)
				}
			}
		}
	}
}

func sources(t *testing.T, root string, wanted func(name string) bool) string {
	t.Helper()
	var all strings.Builder
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !wanted(filepath.ToSlash(name)) {
			return err
		}
		body, err := os.ReadFile(name)
		all.Write(body)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all.String()
}
