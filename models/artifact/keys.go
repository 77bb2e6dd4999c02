package artifact

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// maxSignature bounds a base64 signature in bytes: ECDSA P-256 has at most 96, Ed25519 has 88, RSA is not taken.
const maxSignature = 1024

// maxKey bounds a PEM file with one public key, comments included.
const maxKey = 16 << 10

// Key is a trusted public key; make one with [ParseKey].
type Key struct {
	id      string
	ecdsa   *ecdsa.PublicKey
	ed25519 ed25519.PublicKey
}

// ID returns the SHA-256 of the key's SubjectPublicKeyInfo in hexadecimal, for logs.
func (k Key) ID() string { return k.id }

// ParseKey reads the first PEM block, which must be a public key (SubjectPublicKeyInfo, RFC 5280): ECDSA on P-256 or
// Ed25519. These are the keys of cosign, of openssl and of AWS KMS that make the signatures described at [Policy].
func ParseKey(pemBytes []byte) (Key, error) {
	if len(pemBytes) > maxKey {
		return Key{}, fmt.Errorf("the key file has %d bytes; give a PEM file with one public key", len(pemBytes))
	}
	block, _ := pem.Decode(pemBytes)
	if block == nil {
		return Key{}, errors.New("this is no PEM file; it has to begin with -----BEGIN PUBLIC KEY-----")
	}
	if strings.Contains(block.Type, "PRIVATE KEY") {
		return Key{}, errors.New("this is a private key, which must not be on a device; " +
			"give the public one (openssl pkey -in key.pem -pubout)")
	}
	if block.Type != "PUBLIC KEY" {
		return Key{}, fmt.Errorf("the PEM block is a %.40q; give a PUBLIC KEY", block.Type)
	}
	parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return Key{}, fmt.Errorf("the public key cannot be read: %w", err)
	}
	sum := sha256.Sum256(block.Bytes)
	k := Key{id: hex.EncodeToString(sum[:])}
	switch public := parsed.(type) {
	case *ecdsa.PublicKey:
		if public.Curve != elliptic.P256() {
			return Key{}, fmt.Errorf("the key is on curve %s; give one on P-256", public.Curve.Params().Name)
		}
		k.ecdsa = public
	case ed25519.PublicKey:
		k.ed25519 = public
	default:
		return Key{}, fmt.Errorf("the key is a %T; give an ECDSA P-256 or Ed25519 key", parsed)
	}
	return k, nil
}

// Verify checks a detached base64 signature over the file that root holds under name, whose SHA-256 is sum. It has to be
// one of any of p.Keys; without keys every file passes. The file is mapped, not read: a model may be larger than the
// memory of the device. Nobody may change the file meanwhile.
func (p Policy) Verify(root *os.Root, name string, sum [sha256.Size]byte, signature string) error {
	if len(p.Keys) == 0 {
		return nil
	}
	if strings.TrimSpace(signature) == "" {
		return fail(CodeSignatureMissing, "the model has no signature, and this device takes signed models only; sign it, for example with `cosign sign-blob`")
	}
	raw, err := decodeSignature(signature)
	if err != nil {
		return err
	}
	data, release, err := mapped(root, name)
	if err != nil {
		return wrap(CodeDiskError, "read what was downloaded", err)
	}
	ok := p.signed(data, sum, raw)
	if err := release(); err != nil {
		return wrap(CodeDiskError, "release what was downloaded", err)
	}
	if !ok {
		return fail(CodeSignatureInvalid,
			"none of the %d trusted keys made the signature of the model; sign it with a trusted key, or trust the key", len(p.Keys))
	}
	return nil
}

// signed reports whether one of the keys made the signature. Ed25519 signs the message and not its digest.
func (p Policy) signed(data []byte, sum [sha256.Size]byte, raw []byte) bool {
	for _, key := range p.Keys {
		switch {
		case key.ecdsa != nil && ecdsa.VerifyASN1(key.ecdsa, sum[:], raw),
			len(key.ed25519) == ed25519.PublicKeySize && ed25519.Verify(key.ed25519, data, raw):
			return true
		}
	}
	return false
}

func mapped(root *os.Root, name string) (data []byte, release func() error, err error) {
	file, err := root.Open(name)
	if err != nil {
		return nil, nil, err
	}
	defer file.Close() // the mapping stays
	info, err := file.Stat()
	if err != nil {
		return nil, nil, err
	}
	if info.Size() == 0 { // cannot be mapped
		return nil, func() error { return nil }, nil
	}
	data, err = unix.Mmap(int(file.Fd()), 0, int(info.Size()), unix.PROT_READ, unix.MAP_PRIVATE)
	if err != nil {
		return nil, nil, fmt.Errorf("map %s into memory: %w", name, err)
	}
	return data, func() error { return unix.Munmap(data) }, nil
}

func decodeSignature(signature string) ([]byte, error) {
	if len(signature) > maxSignature {
		return nil, fail(CodeSignatureInvalid, "the signature has %d characters; write one of ECDSA P-256 or Ed25519", len(signature))
	}
	raw, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(signature), ""))
	if err != nil || len(raw) == 0 {
		return nil, fail(CodeSignatureInvalid, "the signature is not base64; write what `cosign sign-blob` or `base64 -w0` gives")
	}
	return raw, nil
}
