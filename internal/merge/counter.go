package merge

import (
	"fmt"
	"math"
	"math/big"

	"github.com/tidemark-sync/tidemark/change"
)

// counter adds what the edge added, new − base, to what the hub holds. NULL
// counts as 0. Integers are exact; as soon as one of the three is a double, the
// sum is one. A sum that an int64 cannot hold, or that is no finite double,
// parks: wrapping around or rounding would lose somebody's stock.
func counter(base change.Value, hub, edge Versioned) Outcome {
	real := false
	for _, v := range []change.Value{base, hub.Value, edge.Value} {
		switch v.Kind() {
		case change.KindFloat:
			real = true
		case change.KindText, change.KindBlob:
			return Outcome{Park: fmt.Sprintf("counter: %s is %s, not a number", show(v), v.Kind())}
		}
	}
	if real {
		return counterFloat(base.Float(), hub.Value.Float(), edge.Value.Float())
	}
	if hub.Value.IsNull() && edge.Value.IsNull() && base.IsNull() {
		return Outcome{Value: change.Null}
	}
	return counterInt(base.Int(), hub.Value.Int(), edge.Value.Int())
}

func counterFloat(base, hub, edge float64) Outcome {
	sum := hub + (edge - base)
	if math.IsNaN(sum) || math.IsInf(sum, 0) {
		return Outcome{Park: fmt.Sprintf("counter: %g + (%g − %g) is not a finite number", hub, edge, base)}
	}
	return Outcome{Value: change.Float(sum)}
}

func counterInt(base, hub, edge int64) Outcome {
	// In big integers, so that only the result can overflow, never a step.
	sum := new(big.Int).Sub(big.NewInt(edge), big.NewInt(base))
	sum.Add(sum, big.NewInt(hub))
	if !sum.IsInt64() {
		return Outcome{Park: fmt.Sprintf("counter: %d + (%d − %d) does not fit into 64 bits", hub, edge, base)}
	}
	return Outcome{Value: change.Int(sum.Int64())}
}
