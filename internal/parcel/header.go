package parcel

import (
	"errors"
	"time"

	"github.com/tidemark-sync/tidemark/change"
)

// Magic begins every sealed outbox. The version is in it.
const Magic = "TIDEMARK OUTBOX 1\n"

// signed begins what a device's key signs, before the hash.
const signed = "tidemark outbox 1\n"

// The kinds of records inside the seal.
const (
	recordHeader = 'H'
	recordBatch  = 'B'
	recordEnd    = 'E'
)

const (
	recordHead = 5       // kind and length
	sumSize    = 32      // of the checksum at the end
	maxJSON    = 1 << 20 // bytes of a header or an end
	epochSize  = 8
)

// The ways in which a sealed outbox cannot be read.
var (
	ErrFormat    = errors.New("this is no sealed outbox of a version that this build reads")
	ErrDamaged   = errors.New("the sealed outbox is damaged or cut short")
	ErrKey       = errors.New("the outbox is sealed for another key than this hub's")
	ErrSignature = errors.New("the signature does not fit what is signed")
)

// A Header says whose work a parcel holds.
type Header struct {
	Device      change.DeviceID    `json:"device"`
	Incarnation change.Incarnation `json:"incarnation"`    // the file's, as it was packed
	Name        string             `json:"name,omitempty"` // of the device, for people
	Made        time.Time          `json:"made_at"`
	Recipient   string             `json:"recipient"`         // the age recipient that may open it
	All         bool               `json:"all,omitempty"`     // what the hub had confirmed is in it, too
	Lineage     []change.Branch    `json:"lineage,omitempty"` // all lives of hubs that the file heard of
}

// An end closes a parcel.
type end struct {
	Count     int         `json:"count"`
	Hash      change.Hash `json:"hash"`
	Key       []byte      `json:"key,omitempty"` // SubjectPublicKeyInfo, DER
	Signature []byte      `json:"signature,omitempty"`
}
