package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// wire is a way to the broker that can be taken away.
type wire struct {
	t      *testing.T
	target string
	addr   string

	mu    sync.Mutex
	gate  net.Listener // nil: the wire is cut
	conns []net.Conn
}

func newWire(t *testing.T, target int) *wire {
	t.Helper()
	w := &wire{t: t, target: fmt.Sprintf("127.0.0.1:%d", target), addr: fmt.Sprintf("127.0.0.1:%d", freePort(t))}
	t.Cleanup(w.cut)
	return w
}

func (w *wire) mend() {
	w.t.Helper()
	l, err := net.Listen("tcp", w.addr)
	if err != nil {
		w.t.Fatal(err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.gate = l
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", w.target)
			if err != nil {
				_ = c.Close()
				continue
			}
			w.mu.Lock()
			if w.gate != l { // cut meanwhile
				_, _ = c.Close(), far.Close()
			}
			w.conns = append(w.conns, c, far)
			w.mu.Unlock()
			for _, way := range [][2]net.Conn{{c, far}, {far, c}} {
				go func() {
					_, _ = io.Copy(way[0], way[1])
					_ = way[0].Close()
				}()
			}
		}
	}()
}

func (w *wire) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.gate != nil {
		_ = w.gate.Close()
	}
	for _, c := range w.conns {
		_ = c.Close()
	}
	w.gate, w.conns = nil, nil
}

// sent names a message for ever.
type sent struct {
	topic, boot, source string
	seq                 uint64
}

// post is a device with a real broker at the other end of a wire, and a ledger of what has arrived there. The wire is cut at
// first.
type post struct {
	t             *testing.T
	*wire         // to the broker
	state, config string
	metrics       string // address
	lines         <-chan string

	boots  []string // as they began, of those of which a detection has come
	began  map[string]string
	count  map[sent]int
	order  []sent // detections, as each came first
	events []string
}

// newPost makes the device. Telemetry is more of that section; state is its folder, empty for one of its own.
func newPost(t *testing.T, state, telemetry, sources string) *post {
	t.Helper()
	needParts(t)
	port := freePort(t)
	mosquitto(t, port, "allow_anonymous true\nmax_queued_messages 0")
	if state == "" {
		state = t.TempDir()
	}
	p := &post{t: t, wire: newWire(t, port), state: state, metrics: fmt.Sprintf("127.0.0.1:%d", freePort(t)), lines: subscriber(t, port, "dt/gnomon/#"), count: map[sent]int{}, began: map[string]string{}}
	p.config = write(t, filepath.Join(t.TempDir(), "gnomon.yaml"), fmt.Appendf(nil, "device: {thing: thing-1}\nmodel: {path: %q}\nengine: {sessions: 1, threads: 1}\n"+
		"mqtt: {broker: 'mqtt://%s', publish: every-frame}\nlog: {format: json}\ntelemetry: {%s metrics: {listen: '%s'}}\nsources:\n%s",
		absolute(t, "testdata/models/yolov8.onnx"), p.addr, telemetry, p.metrics, sources))
	return p
}

// run starts the agent.
func (p *post) run() *running {
	p.t.Helper()
	return startWith(p.t, []string{"STATE_DIRECTORY=" + p.state}, "run", "--config", p.config)
}

// soon waits for something that is looked at again and again.
func (p *post) soon(what string, ok func() bool) {
	p.t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			p.t.Fatalf("it did not come to this: %s", what)
		}
	}
}

// gauge is a number of the agent's own; -1: it does not say.
func (p *post) gauge(name string) float64 {
	r, err := (&http.Client{Timeout: 10 * time.Second}).Get("http://" + p.metrics + "/metrics")
	if err != nil {
		return -1
	}
	defer func() { _ = r.Body.Close() }()
	for s := bufio.NewScanner(r.Body); s.Scan(); {
		var v float64
		if rest, ok := strings.CutPrefix(s.Text(), name+" "); ok {
			if _, err := fmt.Sscan(rest, &v); err == nil {
				return v
			}
		}
	}
	return -1
}

const waitingDetections = `gnomon_spool_records{class="detections"}`

// waits waits until so many more detections wait for the broker than there were, and returns how many.
func (p *post) waits(before, more float64) float64 {
	p.t.Helper()
	var n float64
	p.soon(fmt.Sprintf("%v detections wait after %v", more, before), func() bool {
		n = p.gauge(waitingDetections)
		return n >= before+more
	})
	return n
}

// take enters what comes into the ledger until ok, which is asked after every message.
func (p *post) take(what string, ok func(line string) bool) {
	p.t.Helper()
	await(p.t, what, p.lines, func(line string) bool {
		topic, payload, _ := strings.Cut(line, " ")
		var m struct {
			BootID string `json:"boot_id"`
			Source string
			Seq    *uint64
			At     string `json:"captured_at"`
		}
		if err := json.Unmarshal([]byte(payload), &m); err != nil {
			p.t.Fatalf("%v in %s", err, line)
		}
		if m.Seq != nil {
			p.noteBoot(m.BootID, m.At)
			key := sent{topic, m.BootID, m.Source, *m.Seq}
			if p.count[key]++; p.count[key] == 1 && strings.HasSuffix(topic, "/detections") {
				p.order = append(p.order, key)
			}
			if strings.HasSuffix(topic, "/events") {
				p.events = append(p.events, payload)
			}
		}
		return ok(line)
	})
}

// noteBoot keeps boots in the order in which they began, which is not that in which they arrive.
func (p *post) noteBoot(boot, at string) {
	if old, known := p.began[boot]; at == "" || known && old <= at {
		return
	} else if !known {
		p.boots = append(p.boots, boot)
	}
	p.began[boot] = at
	slices.SortFunc(p.boots, func(a, b string) int { return strings.Compare(p.began[a], p.began[b]) })
}

// detects waits for so many detections of the boots after a number of them.
func (p *post) detects(boots, more int) {
	p.t.Helper()
	p.take(fmt.Sprintf("%d detections of start %d", more, boots+1), func(string) bool {
		n := 0
		for _, s := range p.order {
			if slices.Index(p.boots, s.boot) >= boots {
				n++
			}
		}
		return n >= more
	})
}

// end stops an agent, which takes its time to send everything, and enters all of it into the ledger.
func (p *post) end(r *running) (out string) {
	p.t.Helper()
	if out = r.stop(syscall.SIGTERM); !strings.Contains(out, "0 dropped, 0 kept on the disk") {
		p.t.Errorf("summary:\n%s", out)
	}
	p.take("the offline status", func(line string) bool { return strings.Contains(line, `"state":"offline"`) })
	return out
}

// whole checks that of no source a detection is missing between its first and last, in any boot, and returns how many there
// are of a boot. Its sources must be ones that lose no frame.
func (p *post) whole(boot string) (n int) {
	p.t.Helper()
	high := map[sent]uint64{}
	all := map[sent]uint64{}
	for _, s := range p.order {
		if s.boot == boot {
			n++
		}
		of := sent{topic: s.topic, boot: s.boot}
		high[of] = max(high[of], s.seq+1)
		all[of]++
	}
	for of, h := range high {
		if all[of] != h {
			p.t.Errorf("%s of %s: %d have arrived of %d", of.topic, of.boot, all[of], h)
		}
	}
	return n
}

// ascending checks that what waited came in its order.
func (p *post) ascending(boot string) {
	p.t.Helper()
	last := map[string]uint64{}
	for _, s := range p.order {
		if s.boot != boot {
			continue
		}
		if before, begun := last[s.topic]; begun && s.seq < before {
			p.t.Errorf("%s: %d came after %d", s.topic, s.seq, before)
		}
		last[s.topic] = s.seq
	}
}

// told reports whether an event of a boot has all of the words.
func (p *post) told(boot string, words ...string) bool {
	return slices.ContainsFunc(p.events, func(e string) bool {
		return !slices.ContainsFunc(append(words, boot), func(w string) bool { return !strings.Contains(e, w) })
	})
}
