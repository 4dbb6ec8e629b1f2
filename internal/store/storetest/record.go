package storetest

import (
	"fmt"

	"github.com/tidemark-sync/tidemark/internal/hub"
)

// backwards lists what record wrote from the end.
func (b *bench) backwards(v hub.View) error {
	for _, tc := range []struct {
		prefix, before, want string
		limit                int
	}{{"", "", "[e d0 d/2 d/1 d/ d c]", 9}, {"", "", "[e d0]", 2}, {"", "d/1", "[d/ d c]", 9}, {"", "d/9", "[d/2]", 1}, {"d/", "", "[d/2 d/1 d/]", 9},
		{"d/", "zz", "[d/2 d/1]", 2}, {"d/", "d/2", "[d/1 d/]", 9}, {"d/", "d/", "[]", 9}, {"d/", "a", "[]", 9}, {"d/1", "", "[d/1]", 9}} {
		list, err := v.RecordsBack("event", tc.prefix, tc.before, tc.limit)
		if err != nil {
			return err
		}
		ids := make([]string, len(list))
		for i := range list {
			ids[i] = list[i].ID
		}
		b.expect(fmt.Sprintf("up to %d under %q before %q", tc.limit, tc.prefix, tc.before), fmt.Sprint(ids), tc.want)
	}
	return nil
}
