package logs

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"go.uber.org/zap"

	"gnomon/telemetry/redact"
)

const (
	// maxEntry is the longest entry of the journal as JSON that is read, in bytes; longer ones are left out.
	maxEntry = 1 << 20
	// maxComplaint is how much of what journalctl complains is kept.
	maxComplaint = 1 << 10
	// journalPatience is how long journalctl may take to end.
	journalPatience = 2 * time.Second
	// maxStreams bounds the writers whose lines are looked at as one text.
	maxStreams = 256
)

// journal reads units of systemd's journal through journalctl, which knows the formats of its files. An agent that
// doesn't run as root has to be in the group systemd-journal.
type journal struct {
	command string
	units   []string
	extra   []string // arguments, for tests
	streams map[string]*redact.Stream
}

// cursorForm is what a cursor looks like; journalctl's manual says that it is opaque, so little is asked of it.
const cursorForm = `^[0-9A-Za-z=;_-]{1,1000}$`

func (j *journal) args(cursor string) []string {
	// The fields that are never left out are the cursor and the times. --all: messages of more than 4096 bytes too.
	args := []string{"--follow", "--output=json", "--all", "--no-pager", "--quiet", "--output-fields=MESSAGE,PRIORITY,_SYSTEMD_UNIT,UNIT,SYSLOG_IDENTIFIER,_PID"}
	if cursor == "" {
		args = append(args, "--lines=0")
	} else {
		args = append(args, "--no-tail", "--after-cursor="+cursor)
	}
	for _, u := range j.units {
		args = append(args, "--unit="+u)
	}
	return append(args, j.extra...)
}

func (j *journal) run(ctx context.Context, f *feed) error {
	path, err := exec.LookPath(j.command)
	if err != nil {
		return fmt.Errorf("%w: journalctl, which reads the journal; install systemd, or remove logs.journal_units: %w", errAbsent, err)
	}
	var cursor string
	f.positions.get(func(s *saved) { cursor = s.Journal })
	if !regexp.MustCompile(cursorForm).MatchString(cursor) {
		cursor = ""
	}
	complaint := &tailWriter{}
	c := exec.CommandContext(ctx, path, j.args(cursor)...)
	c.Env = []string{"LC_ALL=C", "PATH=" + os.Getenv("PATH")} // and none of the secrets that ours may have
	c.Stderr, c.WaitDelay = complaint, journalPatience
	c.Cancel = func() error { return c.Process.Signal(syscall.SIGTERM) }
	out, err := c.StdoutPipe()
	if err != nil {
		return fmt.Errorf("start journalctl: %w", err)
	}
	if err := c.Start(); err != nil {
		return fmt.Errorf("start journalctl: %w", err)
	}
	n, readErr := j.read(ctx, f, out)
	if readErr != nil && ctx.Err() == nil { // it would wait for a reader
		_ = c.Cancel() // Wait tells what became of it
	}
	err = errors.Join(readErr, c.Wait())
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if n == 0 && cursor != "" && strings.Contains(complaint.String(), "cursor") {
		f.positions.set(func(s *saved) { s.Journal = "" })
		return fmt.Errorf("journalctl does not know where reading had come to, so some lines may be missing: %s", complaint)
	}
	return fmt.Errorf("journalctl ended: %w: %s", err, complaint)
}

// read hands over entries until there are no more. It returns how many there were.
func (j *journal) read(ctx context.Context, f *feed, out io.Reader) (n int, err error) {
	in := bufio.NewReaderSize(out, 64<<10)
	for {
		line, whole, err := readLine(in, maxEntry)
		if errors.Is(err, io.EOF) {
			return n, nil
		}
		if err != nil {
			return n, fmt.Errorf("read from journalctl: %w", err)
		}
		n++
		if !whole {
			f.log.Warn("an entry of the journal is too long and left out", zap.Int("limit", maxEntry))
			continue
		}
		var e entry
		if json.Unmarshal(line, &e) != nil {
			continue // a word of journalctl's own between the entries
		}
		if string(e.PID) == strconv.Itoa(os.Getpid()) {
			continue // our own lines are sent as such
		}
		if err := f.line(ctx, e.record(), j.stream(f, e.writer()), func(s *saved) { s.Journal = e.Cursor }); err != nil {
			return n, err
		}
	}
}

// stream is that of one writer, whose lines stand between those of others.
func (j *journal) stream(f *feed, writer string) *redact.Stream {
	if j.streams == nil || len(j.streams) > maxStreams {
		j.streams = map[string]*redact.Stream{}
	}
	if j.streams[writer] == nil {
		j.streams[writer] = f.stream()
	}
	return j.streams[writer]
}

// readLine reads a line without its line feed, or what is left of the input. Of one that is longer than limit, nothing
// is kept.
func readLine(in *bufio.Reader, limit int) (line []byte, whole bool, err error) {
	whole = true
	for {
		part, err := in.ReadSlice('\n')
		if whole = whole && len(line)+len(part) <= limit; whole {
			line = append(line, part...)
		}
		switch {
		case err == nil, errors.Is(err, io.EOF) && len(part) > 0:
			return bytes.TrimRight(line, "\n"), whole, nil
		case !errors.Is(err, bufio.ErrBufferFull):
			return nil, whole, err
		}
	}
}

// entry is an entry of the journal in systemd's JSON form (systemd's "Journal JSON Format").
type entry struct {
	Cursor     string `json:"__CURSOR"`
	Realtime   text   `json:"__REALTIME_TIMESTAMP"` // µs since 1970
	Message    text   `json:"MESSAGE"`
	Priority   text   `json:"PRIORITY"`
	SystemUnit text   `json:"_SYSTEMD_UNIT"` // of the process that wrote it
	Unit       text   `json:"UNIT"`          // that systemd writes about
	Identifier text   `json:"SYSLOG_IDENTIFIER"`
	PID        text   `json:"_PID"`
}

// text is a field of an entry: a string, or an array of numbers if it isn't text, or null if it is too long, or an array
// of these if there are several; the first counts.
type text string

// UnmarshalJSON implements json.Unmarshaler. What has another form is empty.
func (t *text) UnmarshalJSON(data []byte) error {
	var several []json.RawMessage
	if !t.one(data) && json.Unmarshal(data, &several) == nil && len(several) > 0 {
		t.one(several[0])
	}
	return nil
}

// one takes a single value.
func (t *text) one(data []byte) bool {
	var s string
	if json.Unmarshal(data, &s) == nil {
		*t = text(s)
		return true
	}
	var numbers []int
	if json.Unmarshal(data, &numbers) != nil {
		return false
	}
	b := make([]byte, len(numbers))
	for i, v := range numbers {
		b[i] = byte(v)
	}
	*t = text(b)
	return true
}

// writer names who wrote the entry: the unit, or for systemd's own words the unit that they are about.
func (e *entry) writer() string {
	for _, name := range []text{e.Unit, e.SystemUnit, e.Identifier} {
		if name != "" {
			return string(name)
		}
	}
	return ""
}

func (e *entry) record() record {
	r := record{at: time.Now(), level: levelOf(string(e.Priority)), message: string(e.Message), logger: e.writer()}
	if us, err := strconv.ParseInt(string(e.Realtime), 10, 64); err == nil && us > 0 {
		r.at = time.UnixMicro(us)
	}
	return r
}

// levelOf is the level for a priority of syslog (RFC 5424, section 6.2.1).
func levelOf(priority string) string {
	switch priority {
	case "0", "1", "2", "3": // emergency, alert, critical, error
		return "error"
	case "4":
		return "warn"
	case "7":
		return "debug"
	}
	return "info" // notice, information
}

// tailWriter keeps the end of what is written.
type tailWriter struct{ b []byte }

// Write implements io.Writer.
func (w *tailWriter) Write(p []byte) (int, error) {
	w.b = append(w.b, p...)
	w.b = w.b[max(0, len(w.b)-maxComplaint):]
	return len(p), nil
}

// String is what was kept, in one line.
func (w *tailWriter) String() string {
	if len(w.b) == 0 {
		return "it said nothing"
	}
	return strings.Join(strings.Fields(string(w.b)), " ")
}
