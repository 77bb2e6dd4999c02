package redact

import "strings"

// minTokenValue is the least length of what stands behind "token:". Parsers complain about tokens as well, and those
// are short.
const minTokenValue = 8

// pair finds the secret in a pair of name and value whose separator, = or :, is at i.
func pair(s string, i int) (from, to int) {
	start, end := nameBefore(s, i)
	if start == end {
		return 0, 0
	}
	name := s[start:end]
	k := kindOf(name)
	if s[i] == '=' {
		if skip, ok := inQuery(s, start, name); ok {
			k = queryKind(name[skip:])
		} else if strings.EqualFold(name, "signature") { // of AWS's Authorization header
			k = secret
		}
		if k == wordy {
			k = secret
		}
	}
	if k == harmless {
		return 0, 0
	}
	from = valueStart(s, i)
	switch {
	case from == len(s):
		return 0, 0
	case s[from] == '[': // a list, or a header as Go prints it
		from++
		for from < len(s) && s[from] == ' ' {
			from++
		}
		if to = listEnd(s, from); k != header {
			return from, to
		}
	}
	if begin, end := quoted(s, from); begin > 0 {
		if k != header || end == begin {
			return begin, end
		}
		begin, _ = credentials(s[:end], begin)
		return begin, end
	}
	switch k {
	case header:
		return credentials(s, from)
	case line:
		return from, lineEnd(s, from)
	case wordy:
		return prose(s, start, from, name)
	}
	return from, bareEnd(s, from)
}

// escapedPair is pair for a URL that is itself a parameter of one: X-Amz-Signature%3D0123%26…
func escapedPair(s string, i int) (from, to int) {
	const equals, and = "%3D", "%26"
	if !hasPrefixFold(s[i:], equals) {
		return 0, 0
	}
	if start, end := nameBefore(s, i); !Sensitive(s[start:end]) {
		return 0, 0
	}
	from = i + len(equals)
	to = bareEnd(s, from)
	if n := strings.Index(s[from:to], and); n >= 0 {
		to = from + n
	}
	return from, to
}

// valueStart is where the value begins whose separator is at i.
func valueStart(s string, i int) int {
	spaced := s[i] == ':' || i > 0 && (s[i-1] == ' ' || s[i-1] == '\t')
	i++
	if i < len(s) && (s[i] == '>' || s[i] == '=') && s[i-1] == '=' || i < len(s) && s[i] == '=' { // =>, == and :=
		i++
		spaced = true
	}
	// Without white space before the sign none belongs behind it: name= is an empty value.
	for n := 0; spaced && n < maxGap && i < len(s) && (s[i] == ' ' || s[i] == '\t'); n++ {
		i++
	}
	return i
}

// quoted finds what is between quotation marks that begin at i, with or without backslashes before them, as when JSON
// is inside JSON. begin is 0 if there are none. What isn't closed goes on to the end of the line.
func quoted(s string, i int) (begin, end int) {
	q := i
	for q < len(s) && s[q] == '\\' {
		q++
	}
	if q == len(s) || s[q] != '"' && s[q] != '\'' && s[q] != '`' {
		return 0, 0
	}
	mark, depth := s[q], q-i
	begin = q + 1
	run := 0 // of backslashes before j
	for j := begin; j < len(s) && s[j] != '\n'; j++ {
		switch {
		case s[j] == '\\':
			run++
			continue
		case s[j] == mark && run%(2*(depth+1)) == depth:
			if mark == '\'' && j+1 < len(s) && s[j+1] == mark && j > begin { // '' inside, in YAML
				j++
				break
			}
			return begin, j - depth
		}
		run = 0
	}
	return begin, lineEnd(s, begin)
}

// bareEnd is where a value without quotation marks ends that begins at i. Brackets and the like at its end are not
// its own.
func bareEnd(s string, i int) int {
	end := wordEnd(s, i)
	for j := i; j < end; j++ {
		if s[j] == '&' || strings.HasPrefix(s[j:end], `\u0026`) {
			end = j
		}
	}
	for end > i && strings.IndexByte("}]),;.'", s[end-1]) >= 0 {
		end--
	}
	return end
}

// credentials finds those of an Authorization header whose value begins at i: behind the word for their scheme, or
// all where none is known.
func credentials(s string, i int) (from, to int) {
	end := bareEnd(s, i)
	word := s[i:end]
	if end >= len(s) || s[end] != ' ' {
		return i, end
	}
	for _, scheme := range [...]string{"basic", "bearer", "token", "negotiate", "ntlm", "apikey"} {
		if strings.EqualFold(word, scheme) {
			return end + 1, bareEnd(s, end+1)
		}
	}
	for _, scheme := range [...]string{"digest", "aws4-hmac-sha256", "aws4-ecdsa-p256-sha256"} {
		if strings.EqualFold(word, scheme) {
			return end + 1, lineEnd(s, end+1)
		}
	}
	return i, end
}

// prose finds a secret behind an everyday word and a colon: a line of YAML has all of it, in a sentence it is the next
// word, unless that is a usual one.
func prose(s string, start, from int, name string) (int, int) {
	word := bareEnd(s, from)
	switch strings.TrimRight(s[from:word], ":!?") {
	case "", "|", ">", "a", "an", "and", "be", "but", "can", "cannot", "empty", "expected", "expired", "false", "file", "for", "given", "has",
		"in", "invalid", "is", "it", "missing", "must", "needs", "nil", "no", "none", "not", "null", "of", "only", "or", "should", "that",
		"the", "this", "too", "true", "unexpected", "unknown", "use", "was", "write", "wrong", "<nil>", "{":
		return 0, 0
	}
	if hasSuffixFold(name, "token") && word-from < minTokenValue {
		return 0, 0
	}
	if s[from-1] != ' ' || !lineStart(s, start) {
		return from, word
	}
	end := lineEnd(s, from)
	if n := strings.Index(s[from:end], " #"); n > 0 {
		end = from + n
	}
	for end > word && strings.IndexByte(" \r\t", s[end-1]) >= 0 {
		end--
	}
	return from, max(word, end)
}

// lineStart reports whether nothing but what may stand before a key of YAML is on the line before i.
func lineStart(s string, i int) bool {
	for i > 0 && strings.IndexByte(" \t-", s[i-1]) >= 0 {
		i--
	}
	return i == 0 || s[i-1] == '\n'
}

// lineEnd is where the line ends that i is on; an escaped line feed ends it too.
func lineEnd(s string, i int) int {
	for ; i < len(s); i++ {
		if s[i] == '\n' || s[i] == '\\' && i+1 < len(s) && (s[i+1] == 'n' || s[i+1] == 'r') {
			break
		}
	}
	return i
}

// listEnd is where a list ends that i is in.
func listEnd(s string, i int) int {
	end := lineEnd(s, i)
	if n := strings.IndexByte(s[i:end], ']'); n >= 0 {
		return i + n
	}
	return end
}

// flag finds the argument of a flag such as --password, which stands at i.
func flag(s string, i int) (from, to int) {
	if i > 0 && (s[i-1] == '-' || nameByte(s[i-1])) || !strings.HasPrefix(s[i:], "--") {
		return 0, 0
	}
	from = i + 2
	for from < len(s) && from-i < maxName && nameByte(s[from]) {
		from++
	}
	if from+1 >= len(s) || s[from] != ' ' || s[from+1] == '-' || !Sensitive(s[i+2:from]) {
		return 0, 0
	}
	from++
	if begin, end := quoted(s, from); begin > 0 {
		return begin, end
	}
	return from, bareEnd(s, from)
}
