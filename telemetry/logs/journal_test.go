package logs

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// fakeJournal is a journalctl that notes how it was called, prints what is in a file, and ends as another says.
func fakeJournal(h *host) {
	h.write("journalctl", "#!/bin/sh\ncd \""+h.dir+"\"\necho \"$@\" >> calls\nenv >> calls\ncat entries\n. ./end\n")
	h.must(os.Chmod(h.path("journalctl"), 0o700))
	h.opts.Units = []string{"nvargus-daemon.service", "getty@*"}
	h.edit = func(y *System) {
		y.journal = func() *journal { return &journal{command: h.path("journalctl"), units: y.opts.Units} }
	}
}

// set replaces a file.
func (h *host) set(name, text string) { h.must(os.WriteFile(h.path(name), []byte(text), 0o600)) }

func TestJournalEntries(t *testing.T) {
	t.Setenv("AWS_SECRET_ACCESS_KEY", "not-for-children")
	h := newHost(t)
	fakeJournal(h)
	own := strconv.Itoa(os.Getpid())
	h.set("entries", strings.Join([]string{
		`{"__CURSOR":"s=1;i=1","__REALTIME_TIMESTAMP":"1700000000123456","MESSAGE":"login password=pw1 failed","PRIORITY":"4","_SYSTEMD_UNIT":"nvargus-daemon.service","_PID":"1"}`,
		`{"__CURSOR":"s=1;i=2","MESSAGE":[104,105,255],"PRIORITY":["3","6"],"UNIT":"x.service","_SYSTEMD_UNIT":"init.scope"}`,
		`{"__CURSOR":"s=1;i=3","MESSAGE":[["a","b"]],"PRIORITY":null,"SYSLOG_IDENTIFIER":"id"}`,
		`{"__CURSOR":"s=1;i=4","MESSAGE":["first\nsecond line",[1]]}`,
		`{"__CURSOR":"s=1;i=5","MESSAGE":"our own","_PID":"` + own + `"}`,
		`{"__CURSOR":"s=1;i=6","MESSAGE":"noise","PRIORITY":"7"}`,
		`-- a word of journalctl's own --`,
		`{"__CURSOR":"s=1;i=7","MESSAGE":"` + strings.Repeat("x", maxEntry) + `"}`,
		`{"__CURSOR":"s=1;i=8","MESSAGE":"-----BEGIN PRIVATE KEY-----","_SYSTEMD_UNIT":"a"}`,
		`{"__CURSOR":"s=1;i=9","MESSAGE":"word","_SYSTEMD_UNIT":"b"}`,
		`{"__CURSOR":"s=1;i=10","MESSAGE":"MIGH","_SYSTEMD_UNIT":"a"}`,
	}, "\n")+"\n")
	h.set("end", "exec sleep 1000\n")
	h.start()
	h.wants("login password=*** failed", "hi\uFFFD", "", "first\nsecond line", "-----BEGIN PRIVATE KEY-----", "word", "***")
	got := h.c.seen()
	if l := got[0]; l.Source != "journal" || l.Level != "warn" || l.Logger != "nvargus-daemon.service" || l.Time != "2023-11-14T22:13:20.123456Z" {
		t.Errorf("%+v", l)
	}
	if got[1].Level != "error" || got[1].Logger != "x.service" || got[2].Logger != "id" || got[2].Level != "info" {
		t.Errorf("%+v", got[1:3])
	}
	h.stop()
	if c := h.saved().Journal; c != "s=1;i=10" {
		t.Errorf("cursor %q", c)
	}
	h.set("entries", "")
	h.start()
	until(t, "the second call", func() bool { return strings.Count(string(must(os.ReadFile(h.path("calls")))), "--follow") == 2 })
	calls := string(must(os.ReadFile(h.path("calls"))))
	for _, want := range []string{"--lines=0 --unit=nvargus-daemon.service --unit=getty@*\n", "--no-tail --after-cursor=s=1;i=10 --unit="} {
		if !strings.Contains(calls, want) {
			t.Errorf("no %q in %s", want, calls)
		}
	}
	if strings.Contains(calls, "not-for-children") {
		t.Error("the child has our secrets")
	}
}

func must(data []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return data
}

// A journalctl that ends is started again, from where it was; a position that it doesn't know is forgotten.
func TestJournalEnds(t *testing.T) {
	h := newHost(t)
	fakeJournal(h)
	h.set("entries", `{"__CURSOR":"s=1;i=1","MESSAGE":"one"}`+"\n")
	h.set("end", "echo 'out of order' >&2; exit 3\n")
	h.start()
	h.wants("one")
	until(t, "word of the end", func() bool {
		return len(h.log.FilterMessageSnippet("trying again").All()) > 0 && strings.Contains(fmt.Sprint(h.log.All()[0].ContextMap()), "exit status 3: out of order")
	})
	h.set("entries", "")
	h.set("end", "echo 'Failed to seek to cursor: Invalid argument' >&2; exit 1\n")
	until(t, "word of the position", func() bool {
		all := h.log.All()
		return strings.Contains(fmt.Sprint(all[len(all)-1].ContextMap()), "does not know where")
	})
	h.set("entries", `{"__CURSOR":"s=2;i=1","MESSAGE":"two"}`+"\n")
	h.set("end", "exec sleep 1000\n")
	h.wants("one", "two")
	h.stop()
	if c := h.saved().Journal; c != "s=2;i=1" {
		t.Errorf("cursor %q", c)
	}
}

func TestJournalAbsent(t *testing.T) {
	h := newHost(t)
	h.opts.Units = []string{"x.service"}
	h.edit = func(y *System) { y.journal = func() *journal { return &journal{command: h.path("none")} } }
	h.start()
	until(t, "one clear word", func() bool {
		all := h.log.FilterMessageSnippet("going on without it").All()
		return len(all) == 1 && strings.Contains(fmt.Sprint(all[0].ContextMap()), "install systemd, or remove logs.journal_units")
	})
}

// realJournal starts systemd's journal in a mount namespace of its own, which leaves the machine's alone. It returns the
// programs that speak to it.
func realJournal(t *testing.T, h *host) (journalctl string, say func(string)) {
	t.Helper()
	const daemon = "/usr/lib/systemd/systemd-journald"
	for _, name := range []string{"journalctl", "systemd-cat", "unshare", "nsenter", daemon} {
		if _, err := exec.LookPath(name); err != nil {
			t.Skip("needs systemd's journal and util-linux: ", err)
		}
	}
	h.write("journal.sh", "set -e\nmount -t tmpfs none /run\nmount -t tmpfs none /var/log\nmkdir -p /run/systemd/journal /var/log/journal\nexec "+daemon+"\n")
	c := exec.Command("unshare", "-m", "--propagation", "private", "sh", h.path("journal.sh"))
	if err := c.Start(); err != nil {
		t.Skip("needs to be root: ", err)
	}
	t.Cleanup(func() {
		_ = c.Process.Kill()
		_ = c.Wait() // killed: the error says so
	})
	inside := func(program string, args ...string) *exec.Cmd {
		return exec.Command("nsenter", append([]string{"-t", strconv.Itoa(c.Process.Pid), "-m", program}, args...)...)
	}
	ready := false
	for end := time.Now().Add(patience); !ready && time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		ready = inside("test", "-S", "/run/systemd/journal/stdout").Run() == nil && inside("mountpoint", "-q", "/var/log").Run() == nil
	}
	if !ready {
		t.Skip("systemd's journal cannot be started here")
	}
	h.write("journalctl", fmt.Sprintf("#!/bin/sh\nexec nsenter -t %d -m journalctl \"$@\"\n", c.Process.Pid))
	h.must(os.Chmod(h.path("journalctl"), 0o700))
	return h.path("journalctl"), func(text string) {
		t.Helper()
		cat := inside("systemd-cat", "-t", "gnomon-test", "-p", "warning")
		cat.Stdin = strings.NewReader(text + "\n")
		if out, err := cat.CombinedOutput(); err != nil {
			t.Fatalf("systemd-cat: %v: %s", err, out)
		}
	}
}

// The real journal is followed, and a restart neither loses nor repeats.
func TestRealJournal(t *testing.T) {
	h := newHost(t)
	command, say := realJournal(t, h)
	say("before the agent")
	h.edit = func(y *System) {
		y.journal = func() *journal { return &journal{command: command, extra: []string{"SYSLOG_IDENTIFIER=gnomon-test"}} }
	}
	h.opts.Units = []string{"x"}
	h.start()
	// journalctl says nothing when it is ready: the first lines may come too early for it.
	until(t, "a line", func() bool { say("early"); time.Sleep(100 * time.Millisecond); return len(h.c.seen()) > 0 })
	say("one with password=pw1")
	until(t, "one", func() bool { return slices.Contains(h.c.messages(), "one with password=***") })
	h.stop()
	say("two")
	say(strings.Repeat("long ", 5000))
	h.start()
	until(t, "what was written meanwhile", func() bool { got := h.c.messages(); return strings.HasPrefix(got[len(got)-1], "long long") })
	var got []string
	for _, l := range h.c.seen() {
		if l.Message != "early" {
			got = append(got, l.Message)
		}
		if l.Level != "warn" || l.Logger != "gnomon-test" || l.Source != "journal" {
			t.Errorf("%+v", l)
		}
	}
	if len(got) != 3 || got[1] != "two" {
		t.Errorf("%.60q", got)
	}
}

func FuzzEntry(f *testing.F) {
	f.Add([]byte(`{"__CURSOR":"s=1","MESSAGE":[104,105],"PRIORITY":["3"],"_PID":null}` + "\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		line, whole, err := readLine(bufio.NewReaderSize(strings.NewReader(string(data)), 16), 1<<10)
		if err != nil || !whole {
			return
		}
		var e entry
		if json.Unmarshal(line, &e) != nil {
			return
		}
		r := e.record()
		if out := r.appendJSON(nil, "d", "b", 1); !json.Valid(out) {
			t.Errorf("%q", out)
		}
	})
}
