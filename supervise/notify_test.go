package supervise

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// systemd is the other end of NOTIFY_SOCKET.
type systemd struct {
	t *testing.T
	c *net.UnixConn
}

func listen(t *testing.T, address string) *systemd {
	t.Helper()
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: address, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return &systemd{t, c}
}

// next is the next message, empty if none is there.
func (s *systemd) next(wait time.Duration) string {
	s.t.Helper()
	b := make([]byte, 4096)
	if err := s.c.SetReadDeadline(time.Now().Add(wait)); err != nil {
		s.t.Fatal(err)
	}
	n, err := s.c.Read(b)
	if err != nil {
		return ""
	}
	return string(b[:n])
}

const longWait = 20 * time.Second

func TestNotifier(t *testing.T) {
	for kind, address := range map[string]string{
		"file": filepath.Join(t.TempDir(), "notify"), "abstract": fmt.Sprintf("@gnomon-test-%d", os.Getpid()),
	} {
		t.Run(kind, func(t *testing.T) {
			other := listen(t, address)
			t.Setenv(envSocket, address)
			t.Setenv(envWatchdog, "30000000")
			t.Setenv(envWatchdogFrom, strconv.Itoa(os.Getpid()))
			n, err := FromEnvironment()
			if err != nil || n.Interval() != 30*time.Second {
				t.Fatalf("a watchdog of %v, %v", n.Interval(), err)
			}
			for _, name := range []string{envSocket, envWatchdog, envWatchdogFrom} {
				if v, there := os.LookupEnv(name); there {
					t.Errorf("children would find %s=%s", name, v)
				}
			}
			long := strings.Repeat("ä", maxStatus)
			for i, c := range []struct {
				do   func() error
				want string // a pattern; empty: nothing is sent
			}{
				{func() error { return n.alive(time.Minute) }, `WATCHDOG=1\nEXTEND_TIMEOUT_USEC=60000000`},
				{n.Ready, `READY=1`},
				{func() error { return n.alive(time.Minute) }, `WATCHDOG=1`},
				{func() error { return n.Status("2 of 2\ncameras\x1b[31m, rtsp://a:secret@b/") }, `STATUS=2 of 2 cameras \[31m, rtsp://\*\*\*@b/`},
				{func() error { return n.Status("2 of 2\ncameras\x1b[31m, rtsp://a:secret@b/") }, ``},
				{func() error { return n.Status(long) }, `STATUS=ä{90,99}…`},
				{n.Reloading, `RELOADING=1\nMONOTONIC_USEC=[1-9]\d*`},
				{n.Stopping, `STOPPING=1`},
			} {
				if err := c.do(); err != nil {
					t.Fatal(err)
				}
				if c.want == "" {
					continue // the next message is that of the next case
				}
				if got := other.next(longWait); !regexp.MustCompile("^" + c.want + "$").MatchString(got) {
					t.Errorf("%d: %q, want %s", i, got, c.want)
				}
			}
		})
	}
}

func TestNoNotifier(t *testing.T) {
	t.Setenv(envSocket, "")
	n, err := FromEnvironment()
	if err != nil {
		t.Fatal(err)
	}
	for name, n := range map[string]*Notifier{"without systemd": n, "nil": nil} {
		for _, do := range []func() error{n.Ready, n.Reloading, n.Stopping, func() error { return n.Status("x") }, func() error { return n.alive(0) }} {
			if err := do(); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		if n.Interval() != 0 {
			t.Errorf("%s: a watchdog of %v", name, n.Interval())
		}
	}
}

func TestEnvironment(t *testing.T) {
	self := strconv.Itoa(os.Getpid())
	for name, c := range map[string]struct {
		env  map[string]string
		want time.Duration
		err  bool
	}{
		"no watchdog":         {env: map[string]string{envSocket: "/run/n"}},
		"anybody's":           {env: map[string]string{envSocket: "/run/n", envWatchdog: "3000000"}, want: 3 * time.Second},
		"ours":                {env: map[string]string{envSocket: "/run/n", envWatchdog: "3000000", envWatchdogFrom: self}, want: 3 * time.Second},
		"another's":           {env: map[string]string{envSocket: "/run/n", envWatchdog: "3000000", envWatchdogFrom: "1"}},
		"no number":           {env: map[string]string{envSocket: "/run/n", envWatchdog: "3s"}, err: true},
		"negative":            {env: map[string]string{envSocket: "/run/n", envWatchdog: "-3"}, err: true},
		"huge":                {env: map[string]string{envSocket: "/run/n", envWatchdog: "99999999999999"}, err: true},
		"vsock":               {env: map[string]string{envSocket: "vsock:2:1"}, err: true},
		"watchdog, no socket": {env: map[string]string{envWatchdog: "3000000"}},
	} {
		n, err := newNotifier(func(key string) string { return c.env[key] })
		if (err != nil) != c.err || n.Interval() != c.want {
			t.Errorf("%s: %v, %v", name, n.Interval(), err)
		}
	}
	gone, err := newNotifier(func(key string) string { return map[string]string{envSocket: filepath.Join(t.TempDir(), "gone")}[key] })
	if err != nil {
		t.Fatal(err)
	}
	if gone.Ready() == nil || gone.Status("x") == nil || gone.Status("x") == nil {
		t.Error("a socket that is not there is no trouble")
	}
}
