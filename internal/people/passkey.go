package people

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/go-webauthn/webauthn/protocol"

	"github.com/tidemark-sync/tidemark/internal/hub"
)

// A Passkey is a public key that a person's device, or its password manager, proves to
// have.
type Passkey struct {
	ID      string    `json:"id"` // of the credential, base64url
	Label   string    `json:"label"`
	Key     []byte    `json:"key"`   // COSE
	Count   uint32    `json:"count"` // of signatures; 0: it does not count
	Created time.Time `json:"created"`
	Used    time.Time `json:"used,omitzero"`
	Backup  bool      `json:"backup,omitempty"` // it is kept by more than one device
}

// mostPasskeys is how many one person has.
const mostPasskeys = 20

// CeremonyFor is how long a browser may take to answer.
const CeremonyFor = 5 * time.Minute

// ceremony is what was asked of a browser. It travels there and back, sealed: who only
// asks leaves nothing in the store. Its answer is taken once.
type ceremony struct {
	Kind      string    `json:"kind"` // "make" or "show"
	Person    string    `json:"person,omitempty"`
	Challenge []byte    `json:"challenge"`
	Expires   time.Time `json:"expires"`
}

// A Question is what a browser is asked.
type Question struct {
	JSON     string // the standard's options
	Ceremony string // names it to the answer
}

func (b *Book) ask(kind, person string, options func(challenge protocol.URLEncodedBase64) any) (*Question, error) {
	challenge, err := b.draw(32)
	if err != nil {
		return nil, err
	}
	c, err := json.Marshal(ceremony{Kind: kind, Person: person, Challenge: challenge, Expires: b.cfg.Clock.Now().Add(CeremonyFor).UTC()})
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(options(challenge))
	if err != nil {
		return nil, err
	}
	return &Question{JSON: string(text), Ceremony: base64.RawURLEncoding.EncodeToString(b.sealer.seal(c, "ceremony"))}, nil
}

// asked opens a ceremony.
func (b *Book) asked(kind, text string) (*ceremony, error) {
	over := denied("ceremony", "the browser took too long, or answered to something else", "try again")
	sealed, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return nil, over
	}
	body, err := b.sealer.open(sealed, "ceremony")
	if err != nil {
		return nil, over
	}
	c := &ceremony{}
	if json.Unmarshal(body, c) != nil || c.Kind != kind || b.cfg.Clock.Now().After(c.Expires) {
		return nil, over
	}
	return c, nil
}

// once notes that a ceremony's answer was taken, and refuses a second one.
func (b *Book) once(tx hub.Tx, text string, c *ceremony) error {
	if used, err := get[time.Time](tx, kindCeremony, hashed(text)); err != nil || used != nil {
		return or(err, denied("ceremony", "this answer was used already", "try again"))
	}
	var old []string
	now := b.cfg.Clock.Now()
	err := each(tx, kindCeremony, "", func(id string, until *time.Time) error {
		if now.After(*until) {
			old = append(old, id)
		}
		return nil
	})
	for _, id := range old {
		if err == nil {
			err = drop(tx, kindCeremony, id)
		}
	}
	if err != nil {
		return err
	}
	return put(tx, kindCeremony, hashed(text), c.Expires)
}

func badPasskey(err error) *Fault {
	return denied("passkey", "the passkey was not accepted: "+err.Error(), "try again; an admin can reset a person who lost theirs")
}

// BeginPasskey asks a person's browser to make a passkey for a site.
func (b *Book) BeginPasskey(ctx context.Context, id string, site Site) (*Question, error) {
	var r *record
	err := b.cfg.Store.View(ctx, func(v hub.View) (err error) {
		r, err = readPerson(v, id)
		return err
	})
	if err != nil {
		return nil, err
	}
	var have []protocol.CredentialDescriptor
	for _, k := range r.Passkeys {
		raw, err := base64.RawURLEncoding.DecodeString(k.ID)
		if err != nil {
			return nil, fmt.Errorf("read the passkey %q: %w", k.Label, err)
		}
		have = append(have, protocol.CredentialDescriptor{Type: protocol.PublicKeyCredentialType, CredentialID: raw})
	}
	return b.ask("make", id, func(challenge protocol.URLEncodedBase64) any {
		return protocol.PublicKeyCredentialCreationOptions{
			Challenge: challenge, Timeout: int(CeremonyFor.Milliseconds()), Attestation: protocol.PreferNoAttestation, CredentialExcludeList: have,
			RelyingParty: protocol.RelyingPartyEntity{CredentialEntity: protocol.CredentialEntity{Name: b.cfg.Hub}, ID: site.ID},
			User:         protocol.UserEntity{CredentialEntity: protocol.CredentialEntity{Name: r.Name}, DisplayName: r.Name, ID: protocol.URLEncodedBase64(id)},
			Parameters:   signatures(),
			AuthenticatorSelection: protocol.AuthenticatorSelection{ResidentKey: protocol.ResidentKeyRequirementRequired,
				RequireResidentKey: protocol.ResidentKeyRequired(), UserVerification: protocol.VerificationRequired},
		}
	})
}

// FinishPasskey takes the passkey that a person's browser made.
func (b *Book) FinishPasskey(ctx context.Context, id, text, answer, label string, site Site) (*Person, error) {
	c, err := b.asked("make", text)
	if err != nil {
		return nil, err
	}
	if c.Person != id {
		return nil, denied("ceremony", "somebody else was asked", "try again")
	}
	if label = strings.TrimSpace(label); label == "" {
		label = "passkey"
	}
	if label, err = checkName("a passkey", label); err != nil {
		return nil, err
	}
	key, err := made(answer, c.Challenge, site)
	if err != nil {
		return nil, badPasskey(err)
	}
	key.Label, key.Created = label, b.cfg.Clock.Now().UTC()
	return b.change(ctx, id, "", func(tx hub.Tx, r *record) error {
		if err := b.once(tx, text, c); err != nil {
			return err
		}
		if len(r.Passkeys) >= mostPasskeys {
			return unfit("too-many", fmt.Sprintf("a person has %d passkeys at most", mostPasskeys), "remove one first")
		}
		if _, k, err := byPasskey(tx, key.ID); err != nil || k != nil {
			return or(err, unfit("passkey-known", "this passkey is known already", "use it to log in"))
		}
		r.Passkeys = append(r.Passkeys, *key)
		return nil
	})
}

// byPasskey finds whose a passkey is; nil when it is nobody's.
func byPasskey(v hub.View, id string) (who *record, key *Passkey, err error) {
	err = eachPerson(v, func(r *record) error {
		for i := range r.Passkeys {
			if r.Passkeys[i].ID == id {
				who, key = r, &r.Passkeys[i]
			}
		}
		return nil
	})
	return who, key, err
}

// BeginPasskeyLogin asks a browser for any passkey of a site.
func (b *Book) BeginPasskeyLogin(site Site) (*Question, error) {
	return b.ask("show", "", func(challenge protocol.URLEncodedBase64) any {
		return protocol.PublicKeyCredentialRequestOptions{Challenge: challenge, Timeout: int(CeremonyFor.Milliseconds()), RelyingPartyID: site.ID,
			UserVerification: protocol.VerificationRequired}
	})
}

// FinishPasskeyLogin lets in whose passkey it is. The authenticator verified its user, so
// that no further code is needed.
func (b *Book) FinishPasskeyLogin(ctx context.Context, text, answer string, site Site) (p *Person, err error) {
	c, err := b.asked("show", text)
	if err != nil {
		return nil, err
	}
	cred, err := parseShown(answer)
	if err != nil {
		return nil, badPasskey(err)
	}
	err = b.cfg.Store.Update(ctx, func(tx hub.Tx) error {
		r, k, err := byPasskey(tx, base64.RawURLEncoding.EncodeToString(cred.RawID))
		if err != nil {
			return err
		}
		if k == nil || r.Invited || string(cred.Response.UserHandle) != r.ID {
			return denied("passkey", "this passkey is not known here", "log in with the password, and add the passkey anew")
		}
		count, err := shown(cred, c.Challenge, site, k)
		if err != nil {
			return badPasskey(err)
		}
		if err := b.once(tx, text, c); err != nil {
			return err
		}
		now := b.cfg.Clock.Now().UTC()
		k.Count, k.Used, r.Seen = count, now, now
		p = r.view()
		return put(tx, kindPerson, r.ID, r)
	})
	return p, err
}

// RemovePasskey forgets a passkey of a person; one that could not come in without it keeps
// it.
func (b *Book) RemovePasskey(ctx context.Context, id, passkey string) (*Person, error) {
	return b.change(ctx, id, "", func(_ hub.Tx, r *record) error {
		for i := range r.Passkeys {
			if r.Passkeys[i].ID != passkey {
				continue
			}
			if len(r.Passkeys) == 1 && r.Password == "" {
				return unfit("last-passkey", "it is the only way in that is left", "set a password first")
			}
			r.Passkeys = append(r.Passkeys[:i:i], r.Passkeys[i+1:]...)
			return nil
		}
		return unknown("no-such-passkey", "there is no such passkey", "look at the list again")
	})
}
