package redact

import "strings"

// The ends of PEM (RFC 7468).
const (
	pemBegin = "-----BEGIN"
	pemEnd   = "-----END"
	pemDash  = "-----"
)

// maxPEMLabel bounds the label of a private key: " ENCRYPTED PRIVATE KEY", " PGP PRIVATE KEY BLOCK" and the like.
const maxPEMLabel = 48

// privateKey finds what is in a private key in PEM that begins at i, on however many lines and with whatever escapes.
// One that doesn't end is all of the rest.
func privateKey(s string, i int) (from, to int) {
	if !strings.HasPrefix(s[i:], pemBegin) {
		return 0, 0
	}
	label := i + len(pemBegin)
	n := strings.Index(s[label:min(len(s), label+maxPEMLabel+len(pemDash))], pemDash)
	if n < 0 || !strings.Contains(s[label:label+n], "PRIVATE") {
		return 0, 0
	}
	from = label + n + len(pemDash)
	if n = strings.Index(s[from:], pemEnd); n >= 0 {
		return from, from + n
	}
	return from, len(s)
}

// pemBody reports whether a line may belong to the inside of PEM: base64, or one of the headers of old.
func pemBody(line string) bool {
	line = strings.TrimSpace(line)
	if strings.HasPrefix(line, "Proc-Type:") || strings.HasPrefix(line, "DEK-Info:") {
		return true
	}
	for i := range len(line) {
		if b := line[i]; !base64Byte(b) && b != '=' {
			return false
		}
	}
	return true
}
