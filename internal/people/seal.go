package people

import (
	"crypto/aes"
	"crypto/cipher"
	"errors"
	"fmt"
)

// A sealer encrypts what the store must not give away, bound to what it is for.
type sealer struct{ aead cipher.AEAD }

func newSealer(key []byte) (sealer, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return sealer{}, fmt.Errorf("use the key of people: %w", err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return sealer{}, fmt.Errorf("use the key of people: %w", err)
	}
	return sealer{aead}, nil
}

func (s sealer) seal(plain []byte, what string) []byte {
	return s.aead.Seal(nil, nil, plain, []byte(what))
}

func (s sealer) open(sealed []byte, what string) ([]byte, error) {
	plain, err := s.aead.Open(nil, nil, sealed, []byte(what))
	if err != nil {
		return nil, errors.New("it was sealed with another key, or for something else")
	}
	return plain, nil
}
