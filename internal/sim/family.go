package sim

import (
	"math/rand/v2"
	"strings"
)

// A Family is a set of kinds of hard history. Each seed draws its own, so that each
// is also played without the others: together they hide one another.
type Family uint16

// The families.
const (
	Clones     Family = 1 << iota // a site's file is copied, and both go on
	Rollbacks                     // an old copy of the hub's file is put in its place
	Schemas                       // columns are added, renamed and dropped
	Leases                        // numbers from ranges, counters with a floor
	Parcels                       // a site dies, and its sealed outbox is carried to the hub
	Together                      // two or three processes serve the hub's database
	Lingering                     // other programs' transactions stay open while the hub goes on
	Outages                       // connections to the database are cut, and its server is killed
	Collisions                    // other programs commit while the hub is in the middle of a transaction
	Plain      Family = 1 << 15   // none of them
)

var familyNames = []string{"clones", "rollbacks", "schemas", "leases", "parcels", "together", "lingering", "outages", "collisions"}

func (f Family) String() string {
	var out []string
	for i, name := range familyNames {
		if f&(1<<i) != 0 {
			out = append(out, name)
		}
	}
	if out == nil {
		return "plain"
	}
	return strings.Join(out, "+")
}

// drawFamilies draws each family for one seed in three.
func drawFamilies(seed uint64) (f Family) {
	rng := rand.New(newRand(seed, "families"))
	for one := Clones; one <= Parcels; one <<= 1 {
		if rng.IntN(3) == 0 {
			f |= one
		}
	}
	if f == 0 {
		return Plain
	}
	return f
}

// drawServerFamilies draws those that only a hub on a database server can have.
func drawServerFamilies(seed uint64) (f Family) {
	rng := rand.New(newRand(seed, "server families"))
	for one := Together; one <= Collisions; one <<= 1 {
		if rng.IntN(3) == 0 {
			f |= one
		}
	}
	return f
}
