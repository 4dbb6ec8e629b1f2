package wire

import "fmt"

// Negotiate picks the protocol version for a session with a peer that speaks min
// … max: the newest that both know. Without one, the refusal says which side is
// behind.
func Negotiate(min, max uint32) (uint32, *Fault) {
	if min == 0 || min > max {
		return 0, &Fault{Code: "bad-hello", Message: fmt.Sprintf("protocol versions %d to %d make no range", min, max),
			Hint: "this is a fault of the other side's build: upgrade it", Fatal: true}
	}
	if max < MinProtocol {
		return 0, &Fault{Code: "unsupported-version", Fatal: true,
			Message: fmt.Sprintf("the edge speaks protocol %d at most, the hub needs %d", max, MinProtocol),
			Hint:    "upgrade tidemark at the edge; its unsent work is kept"}
	}
	if min > MaxProtocol {
		return 0, &Fault{Code: "unsupported-version", Fatal: true,
			Message: fmt.Sprintf("the edge needs protocol %d, the hub speaks %d at most", min, MaxProtocol),
			Hint:    "upgrade tidemark at the hub; the edge keeps its unsent work until then"}
	}
	if max > MaxProtocol {
		max = MaxProtocol
	}
	return max, nil
}
