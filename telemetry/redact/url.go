package redact

import "strings"

// maxUserInfo is how far behind "://" the @ may be. It bounds the search where there is none.
const maxUserInfo = 512

// userInfo finds the user and the password of a URL whose colon is at i, as in rtsp://user:password@host (RFC 3986,
// section 3.2.1). Passwords that should have been escaped are found as well, unless they look like a port.
func userInfo(s string, i int) (from, to int) {
	from = i
	switch {
	case strings.HasPrefix(s[i:], "://"):
		from += len("://")
	case strings.HasPrefix(s[i:], `:\/\/`): // as some write JSON
		from += len(`:\/\/`)
	default:
		return 0, 0
	}
	end := wordEnd(s[:min(len(s), from+maxUserInfo)], from)
	authority := end
	if n := strings.IndexAny(s[from:end], "/?#"); n >= 0 {
		authority = from + n
	}
	if n := strings.LastIndexByte(s[from:authority], '@'); n >= 0 {
		return from, from + n
	}
	// A slash in a password ends the authority early: what should be a port is none then.
	if _, port, ok := strings.Cut(s[from:authority], ":"); ok && !digits(port) {
		if n := strings.LastIndexByte(s[from:end], '@'); n >= 0 {
			return from, from + n
		}
	}
	return 0, 0
}

// escapedUserInfo is userInfo for a URL that is itself a parameter of one: rtsp%3A%2F%2Fuser%3Apassword%40host.
func escapedUserInfo(s string, i int) (from, to int) {
	const begin, at = "%3A%2F%2F", "%40"
	if !hasPrefixFold(s[i:], begin) {
		return 0, 0
	}
	from = i + len(begin)
	end := wordEnd(s[:min(len(s), from+maxUserInfo)], from)
	if n := strings.IndexByte(s[from:end], '&'); n >= 0 {
		end = from + n
	}
	n := strings.Index(s[from:end], at)
	if n < 0 || strings.Contains(strings.ToUpper(s[from:from+n]), "%2F") {
		return 0, 0
	}
	return from, from + n
}

// wordEnd is where the word at i ends: at white space, a quotation mark that is not escaped, or an escape for white
// space.
func wordEnd(s string, i int) int {
	for ; i < len(s); i++ {
		switch b := s[i]; {
		case b <= ' ' || b == '"' || b == '`' || b == '<' || b == '>' || b == 0x7f:
			return i
		case b == '\\' && i+1 < len(s):
			switch s[i+1] {
			case 'n', 'r', 't':
				return i
			}
			i++
		}
	}
	return len(s)
}

func digits(s string) bool { return strings.Trim(s, "0123456789") == "" }

func hasPrefixFold(s, prefix string) bool {
	return len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix)
}
