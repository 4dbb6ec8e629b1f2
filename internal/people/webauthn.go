package people

import (
	"encoding/base64"
	"errors"
	"net"
	"net/url"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/protocol/webauthncose"
)

// What is asked of a browser, and how its answer is read and checked (section 7 of W3C Web
// Authentication, Level 3), is the library's. Of it only the ceremonies' own part is used:
// the sessions it offers around them would have a clock and a source of randomness of
// their own, and would not be taken once by several processes.

// A Site is what passkeys are bound to.
type Site struct {
	ID      string   // the host, without a port
	Origins []string // that pages may have
}

// SiteOf is the site of a console at an address. Passkeys need a name: of an address
// that has none they are bound to localhost.
func SiteOf(address string) Site {
	u, err := url.Parse(address)
	if err != nil || u.Hostname() == "" {
		return Site{ID: "localhost", Origins: []string{"https://localhost"}}
	}
	if net.ParseIP(u.Hostname()) == nil {
		return Site{ID: u.Hostname(), Origins: []string{u.Scheme + "://" + u.Host}}
	}
	host := "localhost"
	if u.Port() != "" {
		host += ":" + u.Port()
	}
	return Site{ID: "localhost", Origins: []string{u.Scheme + "://" + host}}
}

// signatures are those that passkeys may have, the preferred one first.
func signatures() []protocol.CredentialParameter {
	var list []protocol.CredentialParameter
	for _, alg := range []webauthncose.COSEAlgorithmIdentifier{webauthncose.AlgES256, webauthncose.AlgEdDSA, webauthncose.AlgRS256} {
		list = append(list, protocol.CredentialParameter{Type: protocol.PublicKeyCredentialType, Algorithm: alg})
	}
	return list
}

// errPasskey is all that somebody hears whose answer does not hold: the library's reasons
// tell what was expected.
var errPasskey = errors.New("the browser's answer is not one to what was asked")

const (
	mostAnswer = 32 << 10 // bytes of an answer
	mostID     = 1023     // bytes of a credential's id, by the standard
)

// made checks that a credential was made for a challenge, and returns it.
func made(answer string, challenge []byte, site Site) (*Passkey, error) {
	if len(answer) > mostAnswer {
		return nil, errPasskey
	}
	c, err := protocol.ParseCredentialCreationResponseBytes([]byte(answer))
	if err != nil || len(c.RawID) > mostID {
		return nil, errPasskey
	}
	_, err = c.Verify(base64.RawURLEncoding.EncodeToString(challenge), site.ID, site.Origins, nil, nil, protocol.TopOriginExplicitVerificationMode,
		false, true, true, nil, signatures(), protocol.AttestationPolicy{}, protocol.SignaturePolicy{})
	if err != nil {
		return nil, errPasskey
	}
	auth := c.Response.AttestationObject.AuthData
	key := auth.AttData.CredentialPublicKey
	if !sound(key) || !backed(auth.Flags) {
		return nil, errPasskey
	}
	return &Passkey{ID: base64.RawURLEncoding.EncodeToString(c.RawID), Key: key, Count: auth.Counter,
		Backup: auth.Flags.HasBackupState()}, nil
}

// sound reports whether a key can verify anything: without attestation, nothing else looks
// at it before the first login. The library sets RSA keys no size.
func sound(key []byte) bool {
	k, err := webauthncose.ParsePublicKey(key)
	if err != nil {
		return false
	}
	r, ok := k.(webauthncose.RSAPublicKeyData)
	return !ok || len(r.Modulus) >= 2048/8 && len(r.Modulus) <= 8192/8 && len(r.Exponent) <= 4
}

// backed reports whether what an authenticator says of its backup can be.
func backed(f protocol.AuthenticatorFlags) bool {
	return f.HasBackupEligible() || !f.HasBackupState()
}

// parseShown reads a browser's answer that shows a passkey; nothing of it is checked yet.
func parseShown(answer string) (*protocol.ParsedCredentialAssertionData, error) {
	if len(answer) > mostAnswer {
		return nil, errPasskey
	}
	c, err := protocol.ParseCredentialRequestResponseBytes([]byte(answer))
	if err != nil || len(c.RawID) > mostID {
		return nil, errPasskey
	}
	return c, nil
}

// shown checks that a challenge was signed with a passkey, and returns its new count.
func shown(c *protocol.ParsedCredentialAssertionData, challenge []byte, site Site, k *Passkey) (count uint32, err error) {
	err = c.Verify(base64.RawURLEncoding.EncodeToString(challenge), site.ID, "", site.Origins, nil, nil, protocol.TopOriginExplicitVerificationMode,
		false, true, true, k.Key, protocol.SignaturePolicy{})
	auth := c.Response.AuthenticatorData
	if err != nil || !backed(auth.Flags) {
		return 0, errPasskey
	}
	if (auth.Counter != 0 || k.Count != 0) && auth.Counter <= k.Count {
		return 0, errors.New("its count went back: there may be a copy of it")
	}
	return auth.Counter, nil
}
