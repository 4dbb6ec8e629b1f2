package transport

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/tidemark-sync/tidemark/change"
)

// tokenPrefix carries the token's version.
const tokenPrefix = "tdm1_"

// A Token is what a person carries from the hub to a new device: where the hub
// is, how to recognise it, and a secret that lets one device in, once.
type Token struct {
	URL    string // https://host:port
	Pin    change.Hash
	Secret string
	Name   string // the device's, for people
}

// String is the token as it is shown and pasted: the prefix, then base64url of
// the pin, the three texts with their lengths, and four bytes of checksum.
func (t Token) String() string {
	b := append([]byte(nil), t.Pin[:]...)
	for _, s := range []string{t.URL, t.Secret, t.Name} {
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
	}
	return tokenPrefix + base64.RawURLEncoding.EncodeToString(append(b, tokenSum(b)...))
}

func tokenSum(b []byte) []byte {
	sum := sha256.Sum256(append([]byte(tokenPrefix), b...))
	return sum[:4]
}

// ParseToken reads the form String writes. White space around it does not matter.
func ParseToken(s string) (Token, error) {
	s = strings.TrimSpace(s)
	text, ok := strings.CutPrefix(s, tokenPrefix)
	if !ok {
		if strings.HasPrefix(s, "tdm") {
			return Token{}, errors.New("parse join token: it is of another version of tidemark: use the hub's version here")
		}
		return Token{}, fmt.Errorf("parse join token: it does not start with %q", tokenPrefix)
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil {
		return Token{}, fmt.Errorf("parse join token: mistyped, or cut short: %w", err)
	}
	var t Token
	if len(b) < len(t.Pin)+4 || string(tokenSum(b[:len(b)-4])) != string(b[len(b)-4:]) {
		return Token{}, errors.New("parse join token: mistyped, or cut short: its checksum does not fit; copy it whole")
	}
	b = b[:len(b)-4]
	copy(t.Pin[:], b)
	b = b[len(t.Pin):]
	for _, field := range []*string{&t.URL, &t.Secret, &t.Name} {
		n, size := binary.Uvarint(b)
		if size <= 0 || n > uint64(len(b)-size) {
			return Token{}, errors.New("parse join token: it is not a token of this hub's making")
		}
		*field, b = string(b[size:size+int(n)]), b[size+int(n):]
	}
	if err := checkURL(t.URL); err != nil {
		return Token{}, fmt.Errorf("parse join token: %w", err)
	}
	return t, nil
}

// checkURL holds a hub's address to the one form there is: TLS always.
func checkURL(s string) error {
	u, err := url.Parse(s)
	if err != nil {
		return fmt.Errorf("hub url: %w", err)
	}
	if u.Scheme != "https" || u.Host == "" {
		return fmt.Errorf("hub url %q: want https://host:port", s)
	}
	return nil
}
