package redact

import "strings"

// kind says what stands behind a name.
type kind int

const (
	harmless kind = iota
	secret        // a secret
	wordy         // a secret; but the name is an everyday word, which may be followed by other words
	header        // credentials behind the word for their scheme
	line          // everything to the end of the line
)

const (
	// maxName bounds the search for a name before a colon; a secret's longest in use is half of it.
	maxName = 64
	// maxTelling is how much of its end is looked at.
	maxTelling = 32
	// maxGap is how much white space may be between a name and its value, on both sides of the separator.
	maxGap = 8
)

// Sensitive reports whether what a field of this name holds is a secret, such as password, camera_password or
// X-Amz-Security-Token, in any spelling.
func Sensitive(name string) bool { return kindOf(name) != harmless }

// kindOf tells what a name announces, wherever it stands. Case, hyphens and the like don't count.
func kindOf(name string) kind {
	var buf [maxTelling]byte
	n := telling(&buf, name)
	end := func(suffix string) bool { return len(n) >= len(suffix) && string(n[len(n)-len(suffix):]) == suffix }
	switch {
	case end("authorization"):
		return header
	case string(n) == "cookie", string(n) == "setcookie":
		return line
	case end("clienttoken"), end("nexttoken"), end("continuationtoken"): // of requests and of pages
		return harmless
	case end("password"), end("passwd"), end("passphrase"), end("secret"), end("token"):
		return wordy
	case end("apikey"), end("accesskey"), end("accesskeyid"), end("secretkey"), end("privatekey"), end("sharedkey"), end("signingkey"),
		end("credential"), end("xamzsignature"), string(n) == "jwt", end("psk"):
		return secret
	case end("pwd") && name != "PWD" && name != "OLDPWD": // where a shell is
		return secret
	case hasSuffixFold(name, "_pass"), hasSuffixFold(name, "-pass"):
		return secret
	}
	return harmless
}

// queryKind is kindOf for a parameter of a URL, where more names tell something: the key of an object in a bucket is no
// secret, but what a URL calls its key is.
func queryKind(name string) kind {
	if k := kindOf(name); k != harmless {
		return secret
	}
	var buf [maxTelling]byte
	switch string(telling(&buf, name)) {
	case "key", "sig", "signature", "pass", "auth":
		return secret
	}
	return harmless
}

// telling is the end of a name in small letters, without what separates its words. It points into buf.
func telling(buf *[maxTelling]byte, name string) []byte {
	at := len(buf)
	for i := len(name) - 1; i >= 0 && at > 0; i-- {
		b := name[i]
		if upper(b) {
			b |= 0x20
		}
		if alnum(b) {
			at--
			buf[at] = b
		}
	}
	return buf[at:]
}

// nameBefore is the name whose separator is at i, which may be quoted: s[from:to].
func nameBefore(s string, i int) (from, to int) {
	to = i
	for to > 0 && i-to < maxGap && (s[to-1] == ' ' || s[to-1] == '\t') {
		to--
	}
	for to > 0 && i-to < maxGap && (s[to-1] == '"' || s[to-1] == '\'' || s[to-1] == '\\' || s[to-1] == '`') {
		to--
	}
	from = to
	for from > 0 && to-from < maxName && nameByte(s[from-1]) {
		from--
	}
	return from, to
}

func nameByte(b byte) bool { return alnum(b) || b == '_' || b == '-' || b == '.' }

// inQuery reports whether a name at i is that of a parameter of a URL, and how much of it isn't: & may be written
// as \u0026, by JSON, and as &amp;.
func inQuery(s string, i int, name string) (skip int, ok bool) {
	const ampersand = "u0026"
	switch {
	case i > 0 && (s[i-1] == '?' || s[i-1] == '&'), strings.HasSuffix(s[:i], "&amp;"):
		return 0, true
	case i > 0 && s[i-1] == '\\' && strings.HasPrefix(name, ampersand):
		return len(ampersand), true
	}
	return 0, false
}

func hasSuffixFold(s, suffix string) bool {
	return len(s) >= len(suffix) && strings.EqualFold(s[len(s)-len(suffix):], suffix)
}
