package people

import (
	"fmt"
	"strings"
)

// A Role is what a person may do. Each one may do what those before it may.
type Role string

// The roles.
const (
	Nobody   Role = "nobody" // who is not logged in
	Viewer   Role = "viewer"
	Operator Role = "operator"
	Admin    Role = "admin"
)

// roles are in the order of what they may.
var roles = []Role{Nobody, Viewer, Operator, Admin}

func (r Role) rank() int {
	for i, known := range roles {
		if r == known {
			return i
		}
	}
	return -1
}

// May reports whether a role may do what at least another one may. Roles that are
// not known may nothing, and nobody may what asks for one.
func (r Role) May(least Role) bool {
	want := least.rank()
	return want >= 0 && r.rank() >= want
}

// ParseRole reads the role of a person.
func ParseRole(text string) (Role, error) {
	r := Role(strings.ToLower(strings.TrimSpace(text)))
	if r.rank() < 1 {
		return "", invalid("role", fmt.Sprintf("there is no role %q", text), "use viewer, operator or admin")
	}
	return r, nil
}
