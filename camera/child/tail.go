package child

import (
	"bytes"
	"strings"
	"sync"

	"gnomon/telemetry/redact"
)

const (
	// tailLines is how many of a program's last lines an error repeats: GStreamer says what is wrong ten lines before the
	// end, ffmpeg one or two.
	tailLines = 10

	// lineBytes is what is kept of a line, and shownBytes what an error shows of it after secrets were taken out: cut
	// the other way around, half a password would not be known for one.
	lineBytes  = 1000
	shownBytes = 300
)

// tail keeps the last lines that a program writes to stderr.
type tail struct {
	secrets *redact.Redactor

	mu    sync.Mutex
	lines [tailLines][]byte
	n     int // lines so far, the one being written included
	open  bool
}

func newTail(args []string) *tail { return &tail{secrets: redact.New(secrets(args)...)} }

// Write takes what comes, and is never full.
func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for rest := p; len(rest) > 0; {
		end := bytes.IndexAny(rest, "\r\n") // a carriage return: progress is written over itself
		part := rest
		if end >= 0 {
			part, rest = rest[:end], rest[end+1:]
		} else {
			rest = nil
		}
		t.add(part)
		t.open = t.open && end < 0
	}
	return len(p), nil
}

func (t *tail) add(part []byte) {
	if len(part) == 0 {
		return
	}
	if !t.open {
		t.n++
		t.open = true
		t.lines[t.n%tailLines] = t.lines[t.n%tailLines][:0]
	}
	line := &t.lines[t.n%tailLines]
	*line = append(*line, part[:min(len(part), lineBytes-len(*line))]...)
}

// String is the lines in one, without secrets and control characters.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var lines []string
	for i := max(1, t.n-tailLines+1); i <= t.n; i++ {
		line := t.secrets.Text(plain(string(t.lines[i%tailLines])))
		if len(line) > shownBytes {
			line = strings.ToValidUTF8(line[:shownBytes], "") + "…"
		}
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, " | ")
}

// plain takes out what is meant for a terminal: colours (ECMA-48, CSI … m) and other control characters.
func plain(s string) string {
	for {
		before, after, found := strings.Cut(s, "\x1b[")
		if !found {
			break
		}
		i := strings.IndexFunc(after, func(r rune) bool { return r != ';' && (r < '0' || r > '9') })
		if i < 0 {
			s = before
			break
		}
		s = before + after[i+1:]
	}
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\t':
			return ' '
		case r < ' ' || r == 0x7f:
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "�"))
}

// Secrets are the passwords in the text of a gst: or exec: source, as far as they are recognised.
func Secrets(uri string) []string { return secrets(strings.Fields(uri)) }

// Redact hides the secrets in the text of a gst: or exec: source, for logs.
func Redact(uri string) string { return redact.New(secrets(strings.Fields(uri))...).Text(uri) }

// secrets are the passwords on a command line: in addresses, and behind names that say so. GStreamer's elements call
// theirs user-pw.
func secrets(args []string) []string {
	var found []string
	word := func(i int) string { // nothing behind the last one
		if i >= len(args) {
			return ""
		}
		return strings.Trim(args[i], `"'`)
	}
	login := func(both string) { // curl's -u name:password
		if _, password, ok := strings.Cut(strings.Trim(both, `"'`), ":"); ok {
			found = append(found, password)
		}
	}
	for i, arg := range args {
		switch name, value, _ := strings.Cut(arg, "="); {
		case name == "-u" || name == "--user" || name == "--proxy-user":
			login(value)
			login(word(i + 1))
		case strings.HasPrefix(arg, "-u") && !strings.HasPrefix(arg, "--"):
			login(arg[2:])
		}
		if _, rest, ok := strings.Cut(arg, "://"); ok {
			if at := strings.LastIndexByte(rest, '@'); at >= 0 {
				user := rest[:at]
				_, password, _ := strings.Cut(user, ":")
				found = append(found, user, password)
			}
		}
		name, value, ok := strings.Cut(arg, "=")
		if !ok && i+1 < len(args) && strings.HasPrefix(name, "-") {
			value = args[i+1]
		}
		switch { // name= value, name =value, name = value
		case ok && value == "":
			value = word(i + 1)
		case !ok && word(i+1) == "=":
			value = word(i + 2)
		case !ok && strings.HasPrefix(word(i+1), "="):
			value = word(i + 1)[1:]
		}
		name = strings.TrimLeft(name, "-")
		if redact.Sensitive(name) || strings.HasSuffix(name, "-pw") {
			found = append(found, strings.Trim(value, `"'`))
		}
	}
	return found
}
