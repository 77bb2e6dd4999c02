package redact

import "strings"

const (
	accessKeyLen = 20 // of AWS's access key ids: 4 letters for their kind and 16 more
	secretKeyLen = 40 // of AWS's secret access keys
	minSegment   = 8  // the shortest part of a JSON web token: its shortest header has 20 characters
	maxSegments  = 5  // of one that is encrypted (RFC 7516); a signed one has 3 (RFC 7515)
	// minToken is the least length of what is taken for a token by how it begins. Real ones have hundreds of
	// characters.
	minToken = 40
	// minBasic is the least length of what is taken for credentials behind the word Basic or Bearer.
	minBasic = 8
)

// token finds a secret that is recognised by itself and begins at i, where a word begins.
func token(s string, i int) (from, to int) {
	switch s[i] {
	case 'A':
		if to = accessKeyID(s, i); to > i {
			return i, to
		}
	case 'e':
		if to = webToken(s, i); to > i {
			return i, to
		}
	case 'B', 'b':
		if from, to = scheme(s, i); to > from {
			return from, to
		}
	}
	if to = longToken(s, i); to > i {
		return i, to
	}
	return i, secretKey(s, i)
}

// accessKeyID finds AWS's ids of access keys, permanent and temporary.
func accessKeyID(s string, i int) int {
	if len(s)-i < accessKeyLen || s[i+2] != 'I' || s[i+3] != 'A' {
		return 0
	}
	switch s[i : i+4] {
	case "AKIA", "ASIA", "ABIA":
	default:
		return 0
	}
	for _, b := range []byte(s[i+4 : i+accessKeyLen]) {
		if !upper(b) && !digit(b) {
			return 0
		}
	}
	if end := i + accessKeyLen; end == len(s) || !alnum(s[end]) {
		return end
	}
	return 0
}

// webToken finds a JSON web token. Its parts are base64url of JSON, and {" is eyJ.
func webToken(s string, i int) int {
	if !strings.HasPrefix(s[i:], "eyJ") || i > 0 && urlByte(s[i-1]) {
		return 0
	}
	end := runEnd(s, i, urlByte)
	if end-i < minSegment {
		return 0
	}
	first := end
	for n := 1; n < maxSegments && end+1 < len(s) && s[end] == '.'; n++ {
		next := runEnd(s, end+1, urlByte)
		if n == 1 && next-end <= minSegment {
			break
		}
		end = next
	}
	if end > first {
		return end
	}
	return 0 // longToken looks at one without dots
}

// longToken finds tokens and keys that always begin in the same way.
func longToken(s string, i int) int {
	if i > 0 && tokenByte(s[i-1]) {
		return 0
	}
	known := false
	for _, begin := range [...]string{
		"eyJ",                                          // base64 of JSON: registries' tokens
		"QVdTO",                                        // base64 of "AWS:", the user of ECR
		"IQoJb3JpZ2lu", "FwoGZXIvYXdz", "FQoGZXIvYXdz", // AWS's session tokens
		"MIGHAgEA", "MHcCAQEE", "MC4CAQAw", "MIIE", "MIIJKQ", // private keys in DER: ECDSA, Ed25519, RSA
	} {
		known = known || strings.HasPrefix(s[i:], begin)
	}
	if !known {
		return 0
	}
	end := runEnd(s, i, tokenByte)
	if end-i < minToken || strings.HasPrefix(s[i:], "MII") && !strings.Contains(s[i:i+minToken], "IBADAN") && !strings.Contains(s[i:i+minToken], "IBAAK") {
		return 0 // certificates begin with MII too
	}
	return end
}

// secretKey finds AWS's secret access keys: 40 characters of base64, which is what they have in common. Digests in
// hexadecimal and paths are told apart by the mixture of letters and digits.
func secretKey(s string, i int) int {
	if i > 0 && (base64Byte(s[i-1]) || strings.IndexByte("-_.%@", s[i-1]) >= 0) {
		return 0
	}
	end := runEnd(s[:min(len(s), i+secretKeyLen+1)], i, base64Byte)
	if end-i != secretKeyLen || end < len(s) && strings.IndexByte("-_=%", s[end]) >= 0 {
		return 0
	}
	if end+1 < len(s) && s[end] == '.' && alnum(s[end+1]) { // the name of a file
		return 0
	}
	var uppers, lowers, numbers int
	for _, b := range []byte(s[i:end]) {
		switch {
		case upper(b):
			uppers++
		case digit(b):
			numbers++
		case alnum(b):
			lowers++
		}
	}
	const least, leastDigits = 6, 1 // hardly any real key has fewer
	if uppers < least || lowers < least || numbers < leastDigits {
		return 0
	}
	return end
}

// scheme finds credentials behind the word Basic or Bearer (RFC 7617, RFC 6750).
func scheme(s string, i int) (from, to int) {
	switch {
	case hasPrefixFold(s[i:], "basic "):
		from = i + len("basic ")
	case hasPrefixFold(s[i:], "bearer "):
		from = i + len("bearer ")
	default:
		return 0, 0
	}
	to = runEnd(s, from, func(b byte) bool { return tokenByte(b) || b == '.' || b == '~' })
	if to-from < minBasic {
		return 0, 0
	}
	for _, b := range []byte(s[from+1 : to]) {
		if upper(b) || digit(b) || b == '=' { // and not a word, as in "basic authentication"
			return from, to
		}
	}
	return 0, 0
}

// runEnd is where the run of bytes of a kind that begins at i ends.
func runEnd(s string, i int, of func(byte) bool) int {
	for i < len(s) && of(s[i]) {
		i++
	}
	return i
}

func upper(b byte) bool { return b >= 'A' && b <= 'Z' }
func digit(b byte) bool { return b >= '0' && b <= '9' }
func alnum(b byte) bool { return upper(b&^0x20) || digit(b) }

// base64Byte and urlByte are the alphabets of RFC 4648, sections 4 and 5, without the padding.
func base64Byte(b byte) bool { return alnum(b) || b == '+' || b == '/' }
func urlByte(b byte) bool    { return alnum(b) || b == '-' || b == '_' }

// tokenByte is what any kind of token consists of.
func tokenByte(b byte) bool { return base64Byte(b) || urlByte(b) || b == '=' }
