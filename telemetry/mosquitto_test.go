package telemetry_test

import (
	"bufio"
	"crypto/pbkdf2"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"gnomon/telemetry"
)

// mosquitto is a real broker in a process of its own.
type mosquitto struct {
	binary, dir, config string
	ports               map[string]string // by what stands for them in the configuration

	mu       sync.Mutex
	log      []string
	received map[string]int // PUBLISH packets, by topic

	cmd  *exec.Cmd
	done chan struct{}
}

// findMosquitto skips the test where there is no mosquitto, unless the environment says that there must be one.
func findMosquitto(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("mosquitto")
	if err != nil {
		path = "/usr/sbin/mosquitto" // where Debian puts it, which is not on everybody's PATH
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			if os.Getenv("GNOMON_REQUIRE_MOSQUITTO") == "1" {
				t.Fatal("mosquitto is not installed, and GNOMON_REQUIRE_MOSQUITTO=1 says that it must be")
			}
			t.Skip("mosquitto is not installed: apt-get install mosquitto")
		}
	}
	return path
}

// startMosquitto runs mosquitto with a configuration in which {name} stands for a free port, and {dir} for a folder
// of the test's own.
func startMosquitto(t *testing.T, config string) *mosquitto {
	t.Helper()
	m := &mosquitto{binary: findMosquitto(t), dir: t.TempDir(), ports: map[string]string{}, received: map[string]int{}}
	config = strings.ReplaceAll(config, "{dir}", m.dir)
	config = regexp.MustCompile(`\{(\w+)\}`).ReplaceAllStringFunc(config, func(name string) string {
		port := freePort(t)
		m.ports[strings.Trim(name, "{}")] = port
		return port
	})
	// Started as root it would change to a user who can't read the test's folder.
	config = "per_listener_settings true\nuser root\nlog_dest stderr\nlog_type all\n" + config
	m.config = filepath.Join(m.dir, "mosquitto.conf")
	if err := os.WriteFile(m.config, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		m.kill(syscall.SIGKILL)
		if t.Failed() {
			m.mu.Lock()
			defer m.mu.Unlock()
			t.Logf("mosquitto's last words:\n%s", strings.Join(m.log[max(0, len(m.log)-20):], "\n"))
		}
	})
	m.start(t)
	return m
}

// address is that of a listener.
func (m *mosquitto) address(listener string) string { return "127.0.0.1:" + m.ports[listener] }

// start starts the process and waits until every port is open.
func (m *mosquitto) start(t *testing.T) {
	t.Helper()
	m.cmd = exec.Command(m.binary, "-c", m.config)
	m.done = make(chan struct{})
	out, err := m.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := m.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	cmd, done := m.cmd, m.done
	go func() {
		defer close(done)
		// 1763817600: Received PUBLISH from thing-1 (d0, q1, r0, m2, 'dt/gnomon/thing-1/s0/detections', ... (1 bytes))
		publish := regexp.MustCompile(`Received PUBLISH from .*? \(.*?, '(.*?)', `)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			m.mu.Lock()
			m.log = append(m.log, lines.Text())
			if hit := publish.FindStringSubmatch(lines.Text()); hit != nil {
				m.received[hit[1]]++
			}
			m.mu.Unlock()
		}
		_ = cmd.Wait()
	}()
	for name := range m.ports {
		eventually(t, "mosquitto listens", func() bool {
			c, err := net.Dial("tcp", m.address(name))
			if err == nil {
				_ = c.Close()
			}
			return err == nil
		})
	}
}

// kill ends the process and waits for it.
func (m *mosquitto) kill(sig syscall.Signal) {
	if m.cmd != nil && m.cmd.Process != nil {
		_ = m.cmd.Process.Signal(sig)
		<-m.done
	}
}

// topics is how many different topics have been published on below the prefix.
func (m *mosquitto) topics(prefix string) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := 0
	for topic := range m.received {
		if strings.HasPrefix(topic, prefix) {
			n++
		}
	}
	return n
}

// subscribe collects what a subscriber of mosquitto gets.
func subscribe(t *testing.T, addr, filter string) <-chan mqtt.Message {
	t.Helper()
	got := make(chan mqtt.Message, 100)
	o := mqtt.NewClientOptions().AddBroker("tcp://" + addr).SetClientID("subscriber-" + fmt.Sprint(time.Now().UnixNano()))
	o.SetAutoReconnect(false)
	c := mqtt.NewClient(o)
	for _, token := range []func() mqtt.Token{
		c.Connect,
		func() mqtt.Token { return c.Subscribe(filter, 1, func(_ mqtt.Client, m mqtt.Message) { got <- m }) },
	} {
		if tok := token(); !tok.WaitTimeout(patience) || tok.Error() != nil {
			t.Fatalf("subscribe: %v", tok.Error())
		}
	}
	t.Cleanup(func() { c.Disconnect(250) })
	return got
}

func receive(t *testing.T, ch <-chan mqtt.Message) mqtt.Message {
	t.Helper()
	select {
	case m := <-ch:
		return m
	case <-time.After(patience):
		t.Fatal("no message came")
		return nil
	}
}

func TestMosquitto(t *testing.T) {
	t.Parallel()
	m := startMosquitto(t, "listener {plain} 127.0.0.1\nallow_anonymous true\n")
	got := subscribe(t, m.address("plain"), "dt/gnomon/#")
	p := newProxy(t, m.address("plain"), func(int, byte, int) verdict { return pass })

	a := start(t, options(p.url()).WithTiming(telemetry.Timing{BackoffStart: 300 * time.Millisecond}))
	if s := parseStatus(t, receive(t, got).Payload()); s.State != telemetry.Online || s.Reason != telemetry.Connected {
		t.Errorf("first status %+v", s)
	}
	topic, err := telemetry.DetectionsTopic("dt/gnomon", "thing-1", "street")
	if err != nil {
		t.Fatal(err)
	}
	payload := (&telemetry.DetectionMessage{Source: "street", Seq: 1}).AppendJSON(nil)
	if err := a.Publish(topic, payload); err != nil {
		t.Fatal(err)
	}
	if msg := receive(t, got); msg.Topic() != "dt/gnomon/thing-1/street/detections" || string(msg.Payload()) != string(payload) || msg.Qos() != 1 {
		t.Errorf("got %s on %s with QoS %d", msg.Payload(), msg.Topic(), msg.Qos())
	}
	big := make([]byte, telemetry.MaxPayload)
	if err := a.Publish(topic, big); err != nil {
		t.Fatal(err)
	}
	if msg := receive(t, got); len(msg.Payload()) != len(big) {
		t.Errorf("got %d bytes, want %d", len(msg.Payload()), len(big))
	}

	// A message whose acknowledgement the cut catches would come twice.
	eventually(t, "all acknowledged", func() bool { return a.Stats().Acked == 2 })
	p.cut()
	if s := parseStatus(t, receive(t, got).Payload()); s.State != telemetry.Offline || s.Reason != telemetry.ConnectionLost {
		t.Errorf("the will is %+v", s)
	}
	if s := parseStatus(t, receive(t, got).Payload()); s.State != telemetry.Online {
		t.Errorf("status after the reconnect %+v", s)
	}
	a.stop(t)
	if s := parseStatus(t, receive(t, got).Payload()); s.State != telemetry.Offline || s.Reason != telemetry.Stopped {
		t.Errorf("last status %+v", s)
	}
	late := receive(t, subscribe(t, m.address("plain"), statusTopic))
	if s := parseStatus(t, late.Payload()); !late.Retained() || s.Reason != telemetry.Stopped {
		t.Errorf("a late subscriber got %+v, retained %v", s, late.Retained())
	}
}

// TestMosquittoKilled kills mosquitto under load, with SIGKILL while it works and after SIGSTOP has made a black hole
// of it, and expects every message in its log: each has a topic of its own, and what mosquitto acknowledged it has
// logged before.
func TestMosquittoKilled(t *testing.T) {
	t.Parallel()
	const messages, rounds = 3000, 4
	m := startMosquitto(t, "listener {plain} 127.0.0.1\nallow_anonymous true\n")
	a := start(t, options("mqtt://"+m.address("plain")).WithTiming(telemetry.Timing{
		BackoffStart: 10 * time.Millisecond, BackoffMax: 50 * time.Millisecond, Ack: 2 * time.Second,
	}))
	for i := range messages {
		if err := a.Publish(fmt.Sprintf("dt/gnomon/thing-1/s%d/detections", i), []byte("x")); err != nil {
			t.Fatal(err)
		}
		if i%(messages/rounds) == messages/rounds/2 {
			eventually(t, "messages flow", func() bool { return a.Stats().Acked > uint64(i-messages/rounds/2) })
			if i < messages/2 {
				_ = m.cmd.Process.Signal(syscall.SIGSTOP)
				time.Sleep(10 * time.Millisecond)
			}
			m.kill(syscall.SIGKILL)
			m.start(t)
		}
		time.Sleep(100 * time.Microsecond)
	}
	eventually(t, "all acknowledged", func() bool { return a.Stats().Acked == messages })
	eventually(t, "all in mosquitto's log", func() bool { return m.topics("dt/gnomon/thing-1/s") >= messages })
	if s := a.Stats(); s.Reconnects < rounds || s.Dropped != 0 {
		t.Errorf("stats %+v", s)
	}
}

// passwordLine is a line of mosquitto's password file: PBKDF2 with SHA-512, as mosquitto_passwd writes it.
func passwordLine(t *testing.T, user, password string) string {
	t.Helper()
	const rounds, length = 101, 64
	salt := []byte("0123456789ab")
	key, err := pbkdf2.Key(sha512.New, password, salt, rounds, length)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%s:$7$%d$%s$%s\n", user, rounds,
		base64.StdEncoding.EncodeToString(salt), base64.StdEncoding.EncodeToString(key))
}

// publishAs publishes with a client that has no limits of ours.
func publishAs(t *testing.T, addr, topic string, payload []byte) error {
	t.Helper()
	c := mqtt.NewClient(mqtt.NewClientOptions().AddBroker("tcp://" + addr).SetClientID("publisher").SetAutoReconnect(false))
	if tok := c.Connect(); !tok.WaitTimeout(patience) || tok.Error() != nil {
		return fmt.Errorf("connect: %w", tok.Error())
	}
	defer c.Disconnect(50)
	tok := c.Publish(topic, 1, false, payload)
	tok.WaitTimeout(patience)
	return tok.Error()
}
