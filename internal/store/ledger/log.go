package ledger

// What a log entry says of a row. Insert, Update and Delete are change.OpKind's numbers;
// a store may have more of its own, from 7 on.
const (
	Insert = 1
	Update = 2
	Delete = 3
	Touch  = 4 // unchanged, but to be sent again
	Leave  = 5 // the row left the scope; another entry tells what happened to it
	Follow = 6 // a parent's scope changed, and so this row's; the row itself did not
)

// Who wrote a log entry, when it is not an incarnation by its number.
const (
	Other  = 0  // some other program's plain SQL
	Hub    = 1  // the hub itself, the zero incarnation
	Nobody = -1 // an incarnation that never wrote
)

// Orphan is the scope of a row whose parent is not there (yet).
const Orphan = "?"

// MaskBits is how many columns a mask can tell apart; a change beyond is the mask 0,
// which is any column.
const MaskBits = 62

// MaskSeen is set in every mask that tells columns apart.
const MaskSeen = int64(1) << MaskBits

// Masked is those of the stored columns that a mask names.
func Masked(names []string, mask int64) []string {
	var out []string
	for i, n := range names {
		if i < MaskBits && mask&(1<<i) != 0 {
			out = append(out, n)
		}
	}
	return out
}
