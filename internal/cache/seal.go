package cache

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"sync"
)

// A seal makes values unreadable, and those that somebody else wrote, or that belong
// under another key, unusable: AES-256-GCM with the key's name as additional data.
type seal struct {
	aead cipher.AEAD

	mu   sync.Mutex
	rand io.Reader // guarded by mu
}

// format is the first byte of a sealed value. A value is: format, nonce, ciphertext.
const format = 1

var errForeign = errors.New("the value is not this hub's, or damaged")

func newSeal(secret []byte, rand io.Reader) (*seal, error) {
	if len(secret) < 16 {
		return nil, fmt.Errorf("a secret of %d bytes, want 16 or more", len(secret))
	}
	key, err := hkdf.Key(sha256.New, secret, nil, "tidemark cache", 32)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCM(block)
	return &seal{aead: aead, rand: rand}, err
}

func (s *seal) close(key string, value []byte) ([]byte, error) {
	n := s.aead.NonceSize()
	out := make([]byte, 1+n, 1+n+len(value)+s.aead.Overhead())
	out[0] = format
	s.mu.Lock()
	_, err := io.ReadFull(s.rand, out[1:])
	s.mu.Unlock()
	if err != nil {
		return nil, fmt.Errorf("draw a nonce: %w", err)
	}
	return s.aead.Seal(out, out[1:], value, []byte(key)), nil
}

func (s *seal) open(key string, b []byte) ([]byte, error) {
	n := s.aead.NonceSize()
	if len(b) < 1+n || b[0] != format {
		return nil, errForeign
	}
	value, err := s.aead.Open(nil, b[1:1+n], b[1+n:], []byte(key))
	if err != nil {
		return nil, errForeign
	}
	return value, nil
}
