package logs

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// begin follows app.log, which has a first line of before, and waits until that is known.
func begin(t *testing.T) *host {
	t.Helper()
	h := newHost(t)
	h.opts.Files = []string{h.path("app.log")}
	h.write("app.log", "a line that was there before the agent\n")
	h.start()
	h.stop() // notes where it begins
	if len(h.saved().Files) != 1 {
		t.Fatal("no position is noted")
	}
	h.start()
	return h
}

// wants waits for exactly these messages, in this order.
func (h *host) wants(messages ...string) {
	h.t.Helper()
	for tries := 0; ; tries++ {
		got := h.c.messages()
		if slices.Equal(got, messages) {
			return
		}
		if len(got) > len(messages) || tries > 100 {
			h.t.Fatalf("got  %q\nwant %q", got, messages)
		}
		want := min(len(messages), len(got)+1)
		until(h.t, fmt.Sprintf("%d lines; there are %q", want, got), func() bool { return len(h.c.seen()) >= want })
	}
}

// What is written arrives once, through restarts and both ways of rotation, whether or not the agent runs at the time.
func TestFileRotation(t *testing.T) {
	rename := func(h *host) { h.must(os.Rename(h.path("app.log"), h.path("app.log.1"))) }
	truncate := func(h *host) {
		data, err := os.ReadFile(h.path("app.log"))
		h.must(err)
		h.must(os.WriteFile(h.path("app.log.1"), data, 0o600))
		h.must(os.Truncate(h.path("app.log"), 0))
	}
	for _, row := range []struct {
		name string
		do   func(*host)
	}{
		{"nothing", func(*host) {}},
		{"renamed", func(h *host) { rename(h); h.write("app.log", "") }},
		{"renamed, new file later", rename},
		{"copied and truncated", truncate},
		{"with an extension", func(h *host) {
			h.must(os.Rename(h.path("app.log"), h.path("app-20261124.log")))
			h.write("app.log.0", "another one\n")
			h.must(os.Symlink(h.path("app.log.0"), h.path("app.log.2")))
		}},
	} {
		for _, away := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, away %v", row.name, away), func(t *testing.T) {
				t.Parallel()
				h := begin(t)
				h.write("app.log", "one\n")
				h.wants("one")
				if away {
					h.stop()
					h.write("app.log", "two\n") // nobody has read it yet
				} else {
					h.write("app.log", "two\n")
					h.wants("one", "two")
				}
				row.do(h)
				h.write("app.log", "three\n")
				if away {
					h.start()
				}
				h.wants("one", "two", "three")
				h.write("app.log", "four\nfi")
				h.wants("one", "two", "three", "four")
				h.stop()
				h.write("app.log", "ve\n")
				h.start()
				h.wants("one", "two", "three", "four", "five")
				got := h.c.seen()[0]
				if got.Source != "app.log" || got.Level != "" || got.Fields["file"] != h.path("app.log") {
					t.Errorf("%+v", got)
				}
			})
		}
	}
}

// A writer is told of the rotation after it, so the old file may still grow; its last line may lack its end.
func TestOldFileGrows(t *testing.T) {
	h := begin(t)
	h.write("app.log", "one\n")
	h.wants("one")
	h.must(os.Rename(h.path("app.log"), h.path("app.log.1")))
	h.write("app.log.1", "late\n")
	h.wants("one", "late")
	h.write("app.log.1", "without its end")
	h.write("app.log", "new\n")
	h.wants("one", "late", "without its end", "new")
}

// A file that was truncated and has grown beyond where we were is not taken for the old one.
func TestTruncatedAndRefilled(t *testing.T) {
	h := begin(t)
	h.write("app.log", "one\n")
	h.wants("one")
	h.stop()
	h.must(os.Truncate(h.path("app.log"), 0))
	h.write("app.log", "two, after which there is more than there was before\nthree\n")
	h.start()
	h.wants("one", "two, after which there is more than there was before", "three")
	// A writer without O_APPEND goes on where it was.
	h.must(os.WriteFile(h.path("app.log"), []byte("\x00\x00\x00\x00\x00four\n"), 0o600))
	h.wants("one", "two, after which there is more than there was before", "three", "four")
}

// A file that comes later is read from its beginning; what is no file is told, once.
func TestFileComesLater(t *testing.T) {
	h := newHost(t)
	h.opts.Files = []string{h.path("later.log"), h.dir}
	h.start()
	until(t, "word of the folder", func() bool { return h.log.FilterMessageSnippet("cannot be read").Len() == 1 })
	h.write("later.log", "one\r\ntwo\n")
	h.wants("one", "two")
}

// Lines of any length and with anything in them arrive bounded, valid and without secrets.
func TestHostileLines(t *testing.T) {
	h := begin(t)
	key := "-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg\nq83vEjRWeJ==\n-----END PRIVATE KEY-----\n"
	h.write("app.log", strings.Repeat("x", 5<<20)+" password=pw1\n\xff\xfe ok\n"+key+"rtsp://u:pw1@cam the-camera-password\n\n"+strings.Repeat("y", maxRead)+"\nend\n")
	h.wants(strings.Repeat("x", maxMessage-len(cutMark))+cutMark, "\uFFFD\uFFFD ok", "-----BEGIN PRIVATE KEY-----", "***", "***", "***-----END PRIVATE KEY-----",
		"rtsp://***@cam ***", "", strings.Repeat("y", maxMessage-len(cutMark))+cutMark, "end")
}

// What nobody took comes again after a restart; what waits too long is left out, with a word.
func TestBacklog(t *testing.T) {
	h := begin(t)
	h.c.set(os.ErrClosed)
	h.write("app.log", "one\n")
	until(t, "a refusal", func() bool { h.c.mu.Lock(); defer h.c.mu.Unlock(); return h.c.refused > 0 })
	h.lossy = true
	h.stop()
	h.lossy = false
	h.c.set(nil)
	h.start()
	h.wants("one")
	h.stop()
	h.write("app.log", strings.Repeat(strings.Repeat("z", 1<<20)+"\n", maxBacklog>>20)+"last but one\nlast\n")
	h.start()
	until(t, "the last line", func() bool { return slices.Contains(h.c.messages(), "last") })
	if h.log.FilterMessageSnippet("left out").Len() != 1 {
		t.Errorf("%v", h.log.All())
	}
}

// A file of positions that cannot be used is set aside, and all goes on.
func TestPositions(t *testing.T) {
	for name, text := range map[string]string{"damaged": "{", "another": `{"schema":"x/2"}`, "large": strings.Repeat(" ", maxPositions+1)} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t)
			h.opts.Files = []string{h.path("app.log")}
			h.write("positions.json", text)
			h.write("app.log", "before\n")
			h.start()
			h.stop()
			if h.log.FilterMessage("reading the logs begins anew").Len() != 1 || h.saved().Files[h.path("app.log")].Offset != 7 {
				t.Errorf("%v, %+v", h.log.All(), h.saved())
			}
			if _, err := os.Stat(h.path("positions.json.bad")); err != nil {
				t.Error(err)
			}
		})
	}
	h := begin(t)
	h.stop()
	h.opts.Positions = h.path("none/positions.json") // cannot be written
	y, err := NewSystem(newShipper(t, h.c, Options{}), h.opts)
	h.must(err)
	y.poll = 1
	stop := background(t, y.Run)
	until(t, "a position", func() bool { y.positions.mu.Lock(); defer y.positions.mu.Unlock(); return y.positions.changed })
	if err := stop(); err == nil || !strings.Contains(err.Error(), "keep the positions in the logs") {
		t.Error(err)
	}
}
