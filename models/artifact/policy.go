package artifact

import (
	"fmt"
	"path"
	"strings"
)

// Policy says which models a device takes.
//
// With Keys set every model needs a detached signature that one of them made, base64, over the object's bytes: ECDSA
// P-256 with SHA-256 (ASN.1) or Ed25519, as `cosign sign-blob`, `openssl dgst -sha256 -sign`, `openssl pkeyutl -rawin`
// and AWS KMS make.
type Policy struct {
	// Allow holds patterns of references without a query: a * at the end stands for anything, elsewhere it is an
	// ordinary character, and the scheme and host have to be written out: "s3://bucket/*", "oci://host/repository*",
	// "https://host/*", "file:///dir/*". Empty: every s3, oci and https reference, no file.
	Allow []string
	Keys  []Key
}

// Check reports a pattern or key that cannot be meant so.
func (p Policy) Check() error {
	for _, pattern := range p.Allow {
		fixed := strings.TrimSuffix(pattern, "*")
		scheme, rest, ok := strings.Cut(fixed, "://")
		host, after, slash := strings.Cut(rest, "/")
		known := scheme == SchemeS3 || scheme == SchemeOCI || scheme == SchemeHTTPS
		// Without the slash "https://host*" would also allow host.example.org.
		if !ok || !slash || known == (host == "") || (!known && scheme != SchemeFile) ||
			strings.ContainsAny(fixed, "?*\\") || (after != "" && path.Clean("/"+after) != strings.TrimSuffix("/"+after, "/")) {
			return fmt.Errorf("%q is not a pattern of model references; write for example s3://bucket/* or file:///dir/*", pattern)
		}
	}
	for i, key := range p.Keys {
		if key.ecdsa == nil && key.ed25519 == nil {
			return fmt.Errorf("trusted key %d is empty; make keys with ParseKey", i+1)
		}
	}
	return nil
}

// Allows returns an error with [CodeNotAllowed] unless the device takes what r names. It compares the parsed reference and not
// the text, so that spelling cannot get round a pattern.
func (p Policy) Allows(r Reference) error {
	public := r
	public.VersionID = ""
	name := public.Public()
	if len(p.Allow) == 0 && r.Scheme != SchemeFile {
		return nil
	}
	for _, pattern := range p.Allow {
		fixed, prefix := strings.CutSuffix(pattern, "*")
		if name == fixed || (prefix && strings.HasPrefix(name, fixed)) {
			return nil
		}
	}
	return fail(CodeNotAllowed, "%s is not in the allow-list of this device; add it there, or use a reference that is", name)
}
