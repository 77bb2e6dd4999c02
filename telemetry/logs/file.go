package logs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"gnomon/telemetry/redact"
)

const (
	// maxBacklog is how much of a file may wait to be read, in bytes: some hours at the usual rate.
	maxBacklog = 16 << 20
	// backlogEvery is after how many lines it is looked at how much waits.
	backlogEvery = 1000
	// quietPolls is how often in a row a file that was renamed must have nothing new before it counts as finished:
	// its writer is told only after the renaming.
	quietPolls = 2
)

// file follows a log file through rotation: renamed (as logrotate does by default) or copied and emptied (its
// copytruncate). It is for one goroutine.
type file struct {
	path string
	poll time.Duration

	tail   *tail
	lines  *redact.Stream
	fields json.RawMessage // the path: names alone may be those of several files
}

func (l *file) run(ctx context.Context, f *feed) error {
	l.lines = f.stream()
	fields, err := json.Marshal(map[string]string{"file": l.path})
	if err != nil {
		return err
	}
	l.fields = fields
	defer l.close()
	if err := l.resume(ctx, f); err != nil {
		return err
	}
	for quiet := 0; ; {
		n, err := l.drain(ctx, f)
		if err != nil {
			return err
		}
		what, err := l.look()
		if err != nil {
			return err
		}
		if quiet++; n > 0 || what != replaced {
			quiet = 0
		}
		switch {
		case what == truncated: // what we have not read of it may be in a copy
			if err := l.rest(ctx, f, l.tail.place()); err != nil {
				return err
			}
			l.tail.restart()
			continue
		case quiet > quietPolls:
			if err := l.next(ctx, f); err != nil {
				return err
			}
			continue
		}
		if err := l.wait(ctx); err != nil {
			return err
		}
	}
}

func (l *file) close() {
	if l.tail != nil {
		l.tail.close()
	}
	l.tail = nil
}

func (l *file) wait(ctx context.Context) error {
	select {
	case <-time.After(l.poll):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// resume opens the file where reading had come to, after what is left of an older one.
func (l *file) resume(ctx context.Context, f *feed) error {
	var place filePlace
	known := false
	f.positions.get(func(s *saved) { place, known = s.Files[l.path] })
	if err := l.open(ctx); err != nil {
		return err
	}
	switch t := l.tail; {
	case known && t.continues(place):
		t.at = place.Offset
	case known:
		return l.rest(ctx, f, place)
	case !t.fresh:
		t.jump(t.size())
		here := t.place()
		f.positions.set(func(s *saved) { s.Files[l.path] = here })
	}
	return nil
}

// open opens the file, when it is there.
func (l *file) open(ctx context.Context) error {
	for fresh := false; ; fresh = true {
		t, err := openTail(l.path)
		switch {
		case err == nil:
			t.fresh = fresh
			l.tail = t
			return nil
		case errors.Is(err, fs.ErrPermission):
			return fmt.Errorf("the agent may not read the log file; add its user to the file's group, such as adm: %w", err)
		case !errors.Is(err, fs.ErrNotExist):
			return err
		}
		if err := l.wait(ctx); err != nil {
			return err
		}
	}
}

// rest hands over what was not read of a file that had our path and has another now, if it can be found.
func (l *file) rest(ctx context.Context, f *feed, place filePlace) error {
	old := findRotated(l.path, place)
	if old == nil {
		return nil
	}
	current := l.tail
	l.tail = old
	defer func() {
		old.close()
		l.tail = current
	}()
	old.at = place.Offset
	if _, err := l.drain(ctx, f); err != nil {
		return err
	}
	return l.last(ctx, f)
}

// next goes on with the file that has the path now.
func (l *file) next(ctx context.Context, f *feed) error {
	if err := l.last(ctx, f); err != nil {
		return err
	}
	l.close()
	return l.open(ctx)
}

// last hands over a line that its writer will not end any more.
func (l *file) last(ctx context.Context, f *feed) error {
	line := l.tail.remainder()
	if line == "" {
		return nil
	}
	return l.hand(ctx, f, line, true)
}

// drain hands over all whole lines that are there. It returns how many.
func (l *file) drain(ctx context.Context, f *feed) (n int, err error) {
	for ; ; n++ {
		if n%backlogEvery == 0 {
			if skipped := l.tail.catchUp(maxBacklog); skipped > 0 {
				f.log.Warn("the log file grows faster than it may be sent; some of it is left out", zap.String("file", l.path), zap.Int64("bytes", skipped))
			}
		}
		line, whole, err := l.tail.next()
		if errors.Is(err, io.EOF) {
			return n, nil
		}
		if err != nil {
			return n, fmt.Errorf("read the log file %s: %w", l.path, err)
		}
		if err := l.hand(ctx, f, line, whole); err != nil {
			return n, err
		}
	}
}

func (l *file) hand(ctx context.Context, f *feed, line string, whole bool) error {
	// A file that was emptied has zeros before what its writer adds where it was.
	r := record{at: time.Now(), message: strings.Trim(line, "\x00"), fields: l.fields}
	if !whole { // nobody may begin in the middle of it
		return f.line(ctx, r, l.lines, nil)
	}
	here := l.tail.place()
	return f.line(ctx, r, l.lines, func(s *saved) { s.Files[l.path] = here })
}

// change is what became of a file that has been read to its end.
type change int

const (
	unchanged change = iota
	replaced         // another file has its path
	truncated        // it was emptied, and perhaps written to since
)

func (l *file) look() (change, error) {
	var st unix.Stat_t
	err := unix.Stat(l.path, &st)
	if errors.Is(err, unix.ENOENT) {
		return unchanged, nil // renamed; there will be another one
	}
	if err != nil {
		return unchanged, fmt.Errorf("look at the log file %s: %w", l.path, err)
	}
	switch t := l.tail; {
	case st.Ino != t.inode || uint64(st.Dev) != t.device: //nolint:unconvert // Dev has other types on other processors
		return replaced, nil
	case st.Size < t.at+int64(len(t.pending)) || !t.headStands():
		return truncated, nil
	}
	return unchanged, nil
}
