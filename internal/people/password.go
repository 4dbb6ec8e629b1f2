package people

import (
	"context"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"strings"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"golang.org/x/crypto/argon2"
)

// A Cost is what argon2id takes for one password.
type Cost struct {
	Time    uint32 // passes
	Memory  uint32 // KiB
	Threads uint8
}

// DefaultCost takes 64 MiB, and some 100 ms of two processors.
func DefaultCost() Cost { return Cost{Time: 2, Memory: 64 << 10, Threads: 2} }

// The bounds of passwords. Longer ones cost nothing more to try.
const (
	MinPassword = 12 // characters
	MaxPassword = 1024
	leastKinds  = 5 // different characters
)

// How many passwords are tried at once, and how many may wait for that: each one takes
// its memory, and who asks is not known yet.
const (
	triesAtOnce = 2
	triesWait   = 32
)

// A hasher makes and tries hashes of passwords, few at a time.
type hasher struct {
	cost    Cost
	turn    chan struct{}
	waiting atomic.Int32
	spent   atomic.Bool // memory, since somebody asked
}

func newHasher(cost Cost) *hasher {
	if cost == (Cost{}) {
		cost = DefaultCost()
	}
	return &hasher{cost: cost, turn: make(chan struct{}, triesAtOnce)}
}

const (
	saltSize = 16
	hashSize = 32
)

// derive waits for its turn. It is the one place that spends memory on callers that
// nobody knows yet.
func (h *hasher) derive(ctx context.Context, password string, salt []byte, c Cost) ([]byte, error) {
	if h.waiting.Add(1) > triesWait {
		h.waiting.Add(-1)
		return nil, &Fault{Kind: Busy, Code: "busy", Message: "too many logins at once", Hint: "try again in a moment", After: 2 * time.Second}
	}
	select {
	case h.turn <- struct{}{}:
		h.waiting.Add(-1)
	case <-ctx.Done():
		h.waiting.Add(-1)
		return nil, ctx.Err()
	}
	defer func() { <-h.turn }()
	h.spent.Store(true)
	return argon2.IDKey([]byte(password), salt, c.Time, c.Memory, c.Threads, hashSize), nil
}

// Spent reports whether passwords were tried since it was asked last: each one leaves
// garbage of more than all that a hub of ten thousand devices keeps.
func (b *Book) Spent() bool { return b.hasher.spent.Swap(false) }

// text is a hash in the usual form: $argon2id$v=19$m=65536,t=2,p=2$salt$hash.
func (c Cost) text(salt, sum []byte) string {
	enc := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, c.Memory, c.Time, c.Threads, enc.EncodeToString(salt), enc.EncodeToString(sum))
}

func (h *hasher) hash(ctx context.Context, password string, salt []byte) (string, error) {
	sum, err := h.derive(ctx, password, salt, h.cost)
	if err != nil {
		return "", err
	}
	return h.cost.text(salt, sum), nil
}

// nothing is the hash that no password has: trying it takes as long as any other.
func (h *hasher) nothing() string { return h.cost.text(make([]byte, saltSize), make([]byte, hashSize)) }

// try reports whether a password has a hash.
func (h *hasher) try(ctx context.Context, password, hash string) (bool, error) {
	if len(password) > 4*MaxPassword {
		password = password[:4*MaxPassword]
	}
	c, salt, want, err := parseHash(hash)
	if err != nil {
		return false, err
	}
	sum, err := h.derive(ctx, password, salt, c)
	if err != nil {
		return false, err
	}
	return subtle.ConstantTimeCompare(sum, want) == 1, nil
}

func parseHash(text string) (c Cost, salt, sum []byte, err error) {
	parts := strings.Split(text, "$")
	var version int
	if len(parts) == 6 && parts[1] == "argon2id" {
		_, err = fmt.Sscanf(parts[2]+" "+parts[3], "v=%d m=%d,t=%d,p=%d", &version, &c.Memory, &c.Time, &c.Threads)
		if err == nil {
			salt, err = base64.RawStdEncoding.DecodeString(parts[4])
		}
		if err == nil {
			sum, err = base64.RawStdEncoding.DecodeString(parts[5])
		}
	}
	if err != nil || version != argon2.Version || len(sum) != hashSize || c.Time < 1 || c.Threads < 1 || c.Memory > 1<<20 || c.Time > 64 {
		return c, nil, nil, fmt.Errorf("the hash of a password is damaged")
	}
	return c, salt, sum, nil
}

// checkPassword says why a password is too weak.
func checkPassword(name, password string) error {
	kinds := map[rune]bool{}
	for _, r := range password {
		kinds[r] = true
	}
	switch n := utf8.RuneCountInString(password); {
	case n < MinPassword:
		return invalid("weak-password", fmt.Sprintf("the password has %d characters", n), fmt.Sprintf("use %d or more; a sentence is good", MinPassword))
	case n > MaxPassword:
		return invalid("weak-password", fmt.Sprintf("the password has more than %d characters", MaxPassword), "use a shorter one")
	case len(kinds) < leastKinds:
		return invalid("weak-password", "the password repeats a few characters", "use a sentence, or one from a password manager")
	case name != "" && strings.Contains(strings.ToLower(password), strings.ToLower(name)) && n < MinPassword+utf8.RuneCountInString(name):
		return invalid("weak-password", "the password is little more than the name", "use a sentence, or one from a password manager")
	}
	return nil
}
