package pki

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"gnomon/devcloud/internal/statefile"
)

const (
	// Admin is the common name of the administrator's certificate; no thing may be called so.
	Admin = "devcloud-admin"

	thingsDir = "things"
	claimsDir = "claims"
	// claimPrefix begins the common name of a claim certificate; no thing's name has a space.
	claimPrefix  = "claim "
	maxThingName = 128 // AWS IoT's limit, in characters
)

// The reasons for which Identify refuses a certificate.
var (
	ErrNoCertificate = errors.New("the client shows no certificate")
	ErrUnknown       = errors.New("the certificate is not one of this authority's, or its time is not now")
	ErrRemoved       = errors.New("the certificate is that of a thing that was removed")
	ErrInactive      = errors.New("the certificate is not active")
)

// Files is a key and a certificate, ready for a client: PEM, readable for their owner only.
type Files struct{ Name, Dir, CAFile, CertFile, KeyFile string }

// Owner is who has shown a certificate.
type Owner struct {
	Name        string // the common name; for AddThing's, that of the thing
	Thing       string // that the certificate is attached to; empty: none
	Admin       bool
	Claim       bool   // may get a certificate of its own, and nothing else
	Fingerprint string // SHA-256 of the certificate, in hex: AWS IoT's certificate id
}

// CheckName refuses what AWS IoT refuses as the name of a thing, and the administrator's.
func CheckName(name string) error {
	if name == "" || len(name) > maxThingName {
		return fmt.Errorf("the thing's name has %d characters; write between 1 and %d", len(name), maxThingName)
	}
	if i := strings.IndexFunc(name, func(r rune) bool { return !nameRune(r) }); i >= 0 {
		return fmt.Errorf("the thing's name %q has a character that AWS IoT does not allow at position %d: "+
			"write letters a-z A-Z, digits, colon, underscore and hyphen only", name, i+1)
	}
	if strings.HasPrefix(name, Admin) {
		return fmt.Errorf("the thing's name %q begins with %s, which is the administrator's; choose another", name, Admin)
	}
	return nil
}

func nameRune(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == ':' || r == '_' || r == '-'
}

// AddThing makes the files of a thing, in things/NAME, or returns those that exist.
func (a *Authority) AddThing(name string) (Files, error) {
	if err := CheckName(name); err != nil {
		return Files{}, err
	}
	return a.files(filepath.Join(a.dir, thingsDir, name), name)
}

// AddClaim makes a claim certificate with its key, in claims/NAME, or returns the one that exists: what devices have in
// common when they come from the factory. Its name is one that a thing may have.
func (a *Authority) AddClaim(name string) (Files, error) {
	if err := CheckName(name); err != nil {
		return Files{}, err
	}
	return a.files(filepath.Join(a.dir, claimsDir, name), claimPrefix+name)
}

// Sign makes a certificate from a signing request, as a client's: with the request's key and subject.
func (a *Authority) Sign(request *x509.CertificateRequest) (*x509.Certificate, error) {
	template := &x509.Certificate{
		Subject: request.Subject, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	if err := a.validity(template, leafLife); err != nil {
		return nil, fmt.Errorf("sign a certificate: %w", err)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, request.PublicKey, a.key)
	if err != nil {
		return nil, fmt.Errorf("sign a certificate: %w", err)
	}
	return x509.ParseCertificate(der)
}

// AdminFiles makes the files of the administrator, or returns those that exist.
func (a *Authority) AdminFiles() (Files, error) { return a.files(filepath.Join(a.dir, "admin"), Admin) }

func (a *Authority) files(dir, name string) (Files, error) {
	f := Files{
		Name: name, Dir: dir, CAFile: filepath.Join(dir, "ca.pem"), CertFile: filepath.Join(dir, "device.pem"),
		KeyFile: filepath.Join(dir, "device.key"),
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	err := os.MkdirAll(dir, dirMode)
	if err == nil {
		_, err = a.pair(filepath.Join(dir, "device"), &x509.Certificate{
			Subject: pkix.Name{CommonName: name}, KeyUsage: x509.KeyUsageDigitalSignature,
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		})
	}
	if err == nil {
		err = a.copyCA(f.CAFile)
	}
	if err != nil {
		return Files{}, fmt.Errorf("make the certificate of %s: %w", name, err)
	}
	return f, nil
}

// copyCA gives a client its own copy, so that its directory is all that it needs.
func (a *Authority) copyCA(path string) error {
	data, err := readFile(a.CAFile())
	if err != nil {
		return err
	}
	if have, err := readFile(path); err == nil && bytes.Equal(have, data) {
		return nil
	}
	return statefile.Write(path, data)
}

// RemoveThing deletes the files of a thing; its certificate is refused from now on, copies included, and those of a
// thing that is made again under its name have another key. Removing what is not there is no error.
func (a *Authority) RemoveThing(name string) error {
	if err := CheckName(name); err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := os.RemoveAll(filepath.Join(a.dir, thingsDir, name)); err != nil {
		return fmt.Errorf("remove the thing %s: %w", name, err)
	}
	return nil
}

// Things lists the names of all things that AddThing has made.
func (a *Authority) Things() ([]string, error) { return a.named(thingsDir) }

// named lists the names in things or claims.
func (a *Authority) named(dir string) ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(a.dir, dir))
	if err != nil {
		return nil, fmt.Errorf("list the %s: %w", dir, err)
	}
	names := []string{}
	for _, e := range entries {
		if e.IsDir() && CheckName(e.Name()) == nil {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

func (a *Authority) renewThings() error {
	things, err := a.named(thingsDir)
	for _, name := range things {
		if err == nil {
			_, err = a.AddThing(name)
		}
	}
	if err != nil {
		return err
	}
	claims, err := a.named(claimsDir)
	for _, name := range claims {
		if err == nil {
			_, err = a.AddClaim(name)
		}
	}
	if err == nil {
		_, err = a.AdminFiles()
	}
	return err
}

// Verify checks the certificates that a client has shown, its own first: signed by this authority, for clients and
// valid now. It returns the client's own with its AWS IoT certificate id.
func (a *Authority) Verify(shown []*x509.Certificate) (leaf *x509.Certificate, id string, err error) {
	if len(shown) == 0 {
		return nil, "", ErrNoCertificate
	}
	leaf = shown[0]
	_, err = leaf.Verify(x509.VerifyOptions{
		Roots: a.pool, CurrentTime: a.now(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if err != nil {
		return nil, "", fmt.Errorf("%w: %w", ErrUnknown, err)
	}
	sum := sha256.Sum256(leaf.Raw)
	return leaf, hex.EncodeToString(sum[:]), nil
}

// Identify is Verify for certificates that this package has made with their keys: the key must be the one that lies in
// the thing's directory. The directory is the register: what is not there is not let in.
func (a *Authority) Identify(shown []*x509.Certificate) (Owner, error) {
	leaf, id, err := a.Verify(shown)
	if err != nil {
		return Owner{}, err
	}
	who := Owner{Name: leaf.Subject.CommonName, Fingerprint: id}
	name, isClaim := strings.CutPrefix(who.Name, claimPrefix)
	dir := filepath.Join(a.dir, "admin")
	if who.Admin = who.Name == Admin; !who.Admin {
		if err := CheckName(name); err != nil { // before it becomes a path
			return Owner{}, fmt.Errorf("%w: %w", ErrUnknown, err)
		}
		dir = filepath.Join(a.dir, thingsDir, name)
		if who.Claim = isClaim; isClaim {
			dir = filepath.Join(a.dir, claimsDir, name)
		} else {
			who.Thing = name
		}
	}
	registered := readCertificate(filepath.Join(dir, "device.pem"))
	if registered == nil || !bytes.Equal(registered.RawSubjectPublicKeyInfo, leaf.RawSubjectPublicKeyInfo) {
		return Owner{}, fmt.Errorf("%w: %s", ErrRemoved, who.Name)
	}
	return who, nil
}
