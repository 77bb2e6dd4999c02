package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"gnomon/config"
	"gnomon/engine"
	"gnomon/engine/detect"
	"gnomon/engine/letterbox"
	"gnomon/supervise"
	"gnomon/telemetry"
)

// Five crashes in a row make the next start a safe one, which still sees, and says so; an ordinary stop ends that. systemd
// hears when the agent is ready, how it is, that it reloads and that it ends.
func TestSafeMode(t *testing.T) {
	t.Parallel()
	port := freePort(t)
	mosquitto(t, port, "allow_anonymous true")
	lines := subscriber(t, port, "dt/gnomon/#")
	state := t.TempDir()
	path := write(t, filepath.Join(t.TempDir(), "gnomon.yaml"), fmt.Appendf(nil,
		"device: {thing: thing-1}\nmqtt: {broker: mqtt://127.0.0.1:%d, publish: every-frame}\ntelemetry: {metrics: {listen: \"\"}}\nsources: {one: {uri: \"test:\", width: 160, height: 120, fps: 5}}\n", port))
	socket := filepath.Join(t.TempDir(), "notify")
	systemd, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = systemd.Close() }()
	hears := func(what string) {
		t.Helper()
		buf := make([]byte, 4096)
		for {
			_ = systemd.SetReadDeadline(time.Now().Add(time.Minute))
			n, err := systemd.Read(buf)
			if err != nil {
				t.Fatalf("systemd did not hear %s: %v", what, err)
			}
			if strings.Contains(string(buf[:n]), what) {
				return
			}
		}
	}
	run := func() *running {
		return startWith(t, []string{"STATE_DIRECTORY=" + state, "NOTIFY_SOCKET=" + socket, "WATCHDOG_USEC=3000000"}, "run", "--config", path)
	}
	// Killed as soon as the start is on record: five of them must fit into a minute, on slow machines too.
	record := filepath.Join(state, "starts", "thing-1", "starts.json")
	for n := range 6 {
		r := run()
		for end := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
			if data, _ := os.ReadFile(record); strings.Count(string(data), `"pid"`) > n {
				break
			}
			if time.Now().After(end) {
				t.Fatalf("start %d is not on record", n)
			}
		}
		r.kill()
	}
	r := run()
	await(t, "word of safe mode", r.lines, func(s string) bool { return strings.Contains(s, "safe mode") && strings.Contains(s, `"level":"error"`) })
	await(t, "the event", lines, func(s string) bool {
		return strings.Contains(s, "agent_started") && strings.Contains(s, `"safe_mode":true`) && strings.Contains(s, `"how":"crashed"`)
	})
	await(t, "a frame", lines, func(s string) bool { return strings.Contains(s, "/one/detections") })
	hears("WATCHDOG=1")
	hears("STATUS=SAFE MODE: 1 of 1 sources run")
	if err := r.cmd.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	hears("RELOADING=1")
	hears("READY=1")
	if err := r.cmd.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	hears("STOPPING=1")
	if err := r.wait(); err != nil {
		t.Error(err)
	}
	r = run()
	hears("STATUS=1 of 1 sources run")
	r.stop(syscall.SIGTERM)
}

// deaf is a camera, and a model, that never come back.
type deaf struct {
	engine.Session
	hang chan struct{}
	runs bool // the camera delivers, and the model hangs
}

func (d *deaf) Name() string { return "one" }
func (d *deaf) Live() bool   { return true }
func (d *deaf) Close() error { return nil }
func (d *deaf) Read(ctx context.Context, f *engine.Frame) error {
	if !d.runs {
		<-d.hang
	}
	select {
	case <-time.After(100 * time.Millisecond):
	case <-ctx.Done():
		return ctx.Err()
	}
	f.Pix, f.Width, f.Height, f.Stride, f.Format, f.CapturedAt = make([]byte, 12), 2, 2, 6, engine.BGR24, time.Now()
	return nil
}

func (d *deaf) Process(*engine.Frame, letterbox.Transform, engine.Input) error { return nil }
func (d *deaf) Input() engine.Input                                            { return engine.Input{Width: 2, Height: 2} }

func (d *deaf) Run(context.Context) ([]detect.Tensor, error) { <-d.hang; return nil, context.Canceled }
func (d *deaf) Interrupt()                                   {}
func (d *deaf) Handle(*engine.Result) error                  { return nil }

// A camera whose reader never comes back, and a model that does not, end the agent with the reason; one that is known to
// be away does not, however long.
func TestHeartbeat(t *testing.T) {
	for name, want := range map[string]string{"camera": "source one gives no sign of life", "model": "the model of slot default gives no sign of life", "away": ""} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := &deaf{hang: make(chan struct{}), runs: name == "model"}
				slot := engine.NewSlot(&engine.Model{Lanes: []*engine.Lane{engine.NewLane(d, d, nil, letterbox.Center)}})
				p, err := engine.NewPipeline(engine.PipelineOptions{Source: d, Slot: slot, Sink: d})
				if err != nil {
					t.Fatal(err)
				}
				mqtt, err := telemetry.New(telemetry.Options{Broker: "mqtt://127.0.0.1:1", Thing: "thing-1", BootID: "boot-1", TopicPrefix: "dt/gnomon"})
				if err != nil {
					t.Fatal(err)
				}
				cfg := &config.Config{}
				a := &agent{cfg: cfg, log: zap.NewNop(), crew: newCrew(zap.NewNop()), mqtt: mqtt, slots: &slots{byName: map[string]*place{"default": {name: "default", slot: slot}}}}
				w := &watcher{name: "one", want: config.Source{URI: "test:", Enabled: true}, state: stateRunning, pipeline: p}
				if name == "away" {
					w.state = stateRetrying
				}
				a.crew.add(w)
				over := &supervision{log: zap.NewNop(), leave: func() {}}
				ended := make(chan struct{})
				over.stop = func() { close(ended) }
				over.dog, err = supervise.NewDog(supervise.DogOptions{Stuck: over.stuck})
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithCancel(t.Context())
				var parts sync.WaitGroup
				parts.Go(func() { _ = over.dog.Run(ctx) })
				parts.Go(func() { _ = newHeartbeat(a, over).run(ctx) })
				parts.Go(func() { _ = p.Run(ctx) })
				began := time.Now()
				select {
				case <-ended:
				case <-time.After(24 * time.Hour):
				}
				_, err = over.restarting()
				switch {
				case want == "" && err != nil:
					t.Errorf("it ended: %v", err)
				case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
					t.Errorf("%v, want %s", err, want)
				case want != "" && time.Since(began) > 3*time.Minute:
					t.Errorf("it took %v", time.Since(began))
				}
				cancel()
				close(d.hang)
				parts.Wait()
				time.Sleep(stopLimit)
				if err := slot.Close(context.Background()); err != nil {
					t.Error(err)
				}
			})
		})
	}
}
