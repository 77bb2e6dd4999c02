// Package supervise keeps an eye on the agent as a whole: it tells systemd how the service is, decides whether the agent
// is alive, and remembers how earlier starts have ended, so that one that crashes again and again gets a safe mode.
//
// It knows none of the agent's parts. Linux only, without cgo.
package supervise

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"

	"golang.org/x/sys/unix"

	"gnomon/telemetry/redact"
)

const (
	// maxStatus bounds the line for people, in bytes: systemctl shows one line of a terminal.
	maxStatus = 200
	// sendTimeout is how long a message may wait for systemd to take it. One that does not answer is no reason to stand
	// still.
	sendTimeout = time.Second
)

// What systemd passes to a service (sd_notify(3), sd_watchdog_enabled(3)).
const (
	envSocket       = "NOTIFY_SOCKET"
	envWatchdog     = "WATCHDOG_USEC"
	envWatchdogFrom = "WATCHDOG_PID"
)

// Notifier tells systemd how the service is, with the datagrams of sd_notify(3). One of a process that systemd did not
// start, or that is nil, does nothing. Any goroutine may call its methods; none takes longer than a second.
//
// systemd's own library for Go sends without a time limit; this is one datagram, and the watchdog must not wait for it.
type Notifier struct {
	to       *net.UnixAddr // nil: nobody listens
	interval time.Duration

	mu    sync.Mutex
	said  string // the last line for people
	ready bool
}

// FromEnvironment makes the Notifier of this process and takes what it read out of the environment: programs that the
// process starts must not speak for it. An error is about what cannot be understood; the Notifier does without that.
func FromEnvironment() (*Notifier, error) {
	n, err := newNotifier(os.Getenv)
	for _, name := range []string{envSocket, envWatchdog, envWatchdogFrom} {
		err = errors.Join(err, os.Unsetenv(name))
	}
	return n, err
}

func newNotifier(env func(string) string) (*Notifier, error) {
	n := &Notifier{}
	switch path := env(envSocket); {
	case path == "":
		return n, nil
	case path[0] != '/' && path[0] != '@': // @ is the namespace without files (unix(7))
		return n, fmt.Errorf("%s is %q, which is no address of a socket here; systemd is told nothing", envSocket, path)
	default:
		n.to = &net.UnixAddr{Name: path, Net: "unixgram"}
	}
	every := env(envWatchdog)
	if pid := env(envWatchdogFrom); every == "" || pid != "" && pid != strconv.Itoa(os.Getpid()) {
		return n, nil // no watchdog, or that of another process
	}
	us, err := strconv.ParseInt(every, 10, 64)
	if err != nil || us <= 0 || us > int64(24*time.Hour/time.Microsecond) {
		return n, fmt.Errorf("%s is %q, which is no number of microseconds up to a day; systemd's watchdog gets no answer", envWatchdog, every)
	}
	n.interval = time.Duration(us) * time.Microsecond
	return n, nil
}

// Interval is how long systemd waits for a sign of life before it ends the service; 0: it does not.
func (n *Notifier) Interval() time.Duration {
	if n == nil {
		return 0
	}
	return n.interval
}

// Ready says that the service does its work: after the start, and after each Reloading.
func (n *Notifier) Ready() error {
	if n == nil {
		return nil
	}
	n.mu.Lock()
	n.ready = true
	n.mu.Unlock()
	return n.send("READY=1")
}

// Reloading says that the configuration is being read again; Ready ends it. The moment lets systemd tell this reload from
// an earlier one, which Type=notify-reload demands.
func (n *Notifier) Reloading() error {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return fmt.Errorf("tell systemd of a reload: %w", err)
	}
	return n.send(fmt.Sprintf("RELOADING=1\nMONOTONIC_USEC=%d", now.Nano()/int64(time.Microsecond)))
}

// Stopping says that the service ends.
func (n *Notifier) Stopping() error { return n.send("STOPPING=1") }

// Status is one line for people, which systemctl status shows. Secrets are taken out, and a line is sent only when it is
// another than before.
func (n *Notifier) Status(line string) error {
	if n == nil || n.to == nil {
		return nil
	}
	line = oneLine(redact.Text(line), maxStatus)
	n.mu.Lock()
	same := line == n.said
	n.mu.Unlock()
	if same {
		return nil
	}
	if err := n.send("STATUS=" + line); err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.said = line
	return nil
}

// alive is a sign of life, which is good for a while. Until the service is ready it also gives the start more time, up to
// more from now: loading a model may take minutes.
func (n *Notifier) alive(more time.Duration) error {
	if n == nil {
		return nil
	}
	n.mu.Lock()
	ready := n.ready
	n.mu.Unlock()
	state := "WATCHDOG=1"
	if !ready {
		state += fmt.Sprintf("\nEXTEND_TIMEOUT_USEC=%d", more.Microseconds())
	}
	return n.send(state)
}

func (n *Notifier) send(state string) error {
	if n == nil || n.to == nil {
		return nil
	}
	c, err := net.DialUnix(n.to.Net, nil, n.to)
	if err != nil {
		return fmt.Errorf("tell systemd how the service is: %w", err)
	}
	defer c.Close()
	if err := c.SetWriteDeadline(time.Now().Add(sendTimeout)); err != nil {
		return fmt.Errorf("tell systemd how the service is: %w", err)
	}
	if _, err := c.Write([]byte(state)); err != nil {
		return fmt.Errorf("tell systemd how the service is: %w", err)
	}
	return nil
}

// oneLine is a text on one line of at most so many bytes, without what a terminal would obey.
func oneLine(s string, most int) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, string(unicode.ReplacementChar)))
	s = strings.Join(strings.Fields(s), " ")
	if len(s) <= most {
		return s
	}
	const mark = "…"
	return strings.ToValidUTF8(s[:most-len(mark)], "") + mark
}
