package logs

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"math"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"gnomon/telemetry/redact"
)

// talkative is an error with more to say than its text.
type talkative struct{}

func (talkative) Error() string { return "open rtsp://u:pw1@cam" }
func (talkative) Format(s fmt.State, verb rune) {
	_, _ = fmt.Fprint(s, "open rtsp://u:pw1@cam with password=pw2")
}

type settings struct {
	Name     string
	Password string
	Nested   map[string]any
}

// leaky are fields with secrets in every place where there may be some.
func leaky() []zap.Field {
	return []zap.Field{
		zap.String("url", "https://b/k?X-Amz-Signature=pw3"), zap.Error(talkative{}), zap.NamedError("cause", errors.Join(errors.New("a token=pw4 b"), talkative{})),
		zap.Any("settings", settings{"x", "pw5", map[string]any{"api_key": 5, "list": []string{"Basic cHc2cHc2cHc2"}, "n": 1}}),
		zap.Strings("args", []string{"--password=pw7", "the-camera-password"}), zap.ByteString("body", []byte(`{"secret":"pw8"}`)), zap.String("password", "pw9"), zap.Int("pin_token", 4711),
		zap.Dict("d", zap.String("psk", "pw10"), zap.Stringer("s", bytes.NewBufferString("rtsp://u:pw11@h"))), zap.Duration("took", time.Second), zap.Int("n", 7),
	}
}

var secrets = []string{"pw1", "pw2", "pw3", "pw4", "pw5", "cHc2", "pw7", "pw8", "pw9", "4711", "the-camera-password"}

func checkClean(t *testing.T, text string) {
	t.Helper()
	for _, s := range secrets {
		if strings.Contains(text, s) {
			t.Errorf("%s is in %s", s, text)
		}
	}
}

// What the agent logs arrives in the form that is promised, without secrets, at the level that is set at the time.
func TestAgentLines(t *testing.T) {
	level := zap.NewAtomicLevelAt(zap.WarnLevel)
	c := &cloud{}
	s := newShipper(t, c, Options{Level: level})
	stop := background(t, s.Run)
	log := zap.New(s.Core()).Named("cam").With(zap.String("uri", "rtsp://u:pw1@cam/x"), zap.String("street", "1"))
	log.Info("too low")
	level.SetLevel(zap.DebugLevel)
	log.Debug("opened with the-camera-password", leaky()...)
	log.Error("bad\xff <ütf>")
	until(t, "two lines", func() bool { return len(c.seen()) == 2 })
	if err := stop(); err != nil {
		t.Error(err)
	}
	checkClean(t, strings.Join(c.payloads, "\n"))
	got := c.seen()[0]
	at, err := time.Parse(time.RFC3339Nano, got.Time)
	if err != nil || time.Since(at) > time.Minute || len(got.Time) != len("2026-11-22T10:00:00.123456Z") {
		t.Errorf("time %s, %v", got.Time, err)
	}
	if got.Schema != Schema || got.Device != "thing-1" || got.BootID != "boot-1" || got.Source != "agent" || got.Seq != 0 || got.Level != "debug" || got.Logger != "cam" || got.Message != "opened with ***" {
		t.Errorf("%+v", got)
	}
	f := got.Fields
	nested, _ := f["settings"].(map[string]any)
	if f["uri"] != "rtsp://***@cam/x" || f["street"] != "1" || f["took"] != "1s" || f["n"] != 7.0 || nested["Name"] != "x" || f["password"] != redact.Mark {
		t.Errorf("fields %v", f)
	}
	if second := c.seen()[1]; second.Seq != 1 || second.Message != "bad\uFFFD <ütf>" || second.Level != "error" {
		t.Errorf("%+v", second)
	}
	if !strings.Contains(c.payloads[len(c.payloads)-1], "<ütf>") {
		t.Error("escaped for web pages")
	}
}

// A core that is wrapped gets no secrets, and everything else as it was.
func TestRedacting(t *testing.T) {
	var out bytes.Buffer
	inner := zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), zapcore.AddSync(&out), zap.InfoLevel)
	log := zap.New(Redacting(inner, redact.New("the-camera-password")), zap.AddStacktrace(zap.ErrorLevel)).With(leaky()...)
	log.Debug("too low")
	log.Error("with the-camera-password", append(leaky(), zap.Namespace("inside"), zap.Error(errors.New("plain")), zap.Bool("ok", true), zap.Time("at", time.Unix(1, 0)), zap.Float64("nan", math.NaN()))...)
	checkClean(t, out.String())
	var got map[string]any
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	inside, _ := got["inside"].(map[string]any)
	if got["msg"] != "with ***" || got["n"] != 7.0 || got["took"] != 1.0 || inside["error"] != "plain" || inside["ok"] != true || !strings.Contains(fmt.Sprint(got["stacktrace"]), "TestRedacting") {
		t.Errorf("%s", out.String())
	}
	fields := []zap.Field{zap.String("a", "b"), zap.Int("c", 1)}
	if n := testing.AllocsPerRun(10, func() { _ = redactFields(nil, fields) }); n != 0 {
		t.Errorf("%v allocations for nothing", n)
	}
}

// Whatever is logged, records and payloads keep their bounds and stay JSON.
func TestBounds(t *testing.T) {
	c := &cloud{}
	s := newShipper(t, c, Options{Rate: 1e6})
	log := zap.New(s.Core())
	deep := map[string]any{}
	for range 50 {
		deep = map[string]any{"x": deep}
	}
	cyclic := &struct{ Next any }{}
	cyclic.Next = cyclic
	for i := range 100 {
		log.Warn(strings.Repeat(string(rune(i%32)), 1<<20)+"end", zap.Int("i", i))
	}
	log.Warn("fields", zap.Any("deep", deep), zap.Any("cyclic", cyclic), zap.Float64("inf", math.Inf(1)), zap.Complex128("c", 1i), zap.Binary("b", make([]byte, 1<<20)), zap.Any("f", func() {}), zap.String("long", strings.Repeat("é", 1<<20)), zap.Any("nothing", nil))
	log.Warn("many", zap.Any("list", make([]int, 1<<16)), zap.Any("strings", make([]string, 1<<16)))
	log.Warn("cut", zap.Strings("s", []string{strings.Repeat("a", maxString), strings.Repeat("b", maxString), strings.Repeat("c", maxString), strings.Repeat("d", maxString)}))
	log.Named(strings.Repeat("n", 1<<16)).Warn("named")
	stop := background(t, s.Run)
	until(t, "all lines", func() bool { return len(c.seen()) == 104 })
	if err := stop(); err != nil {
		t.Error(err)
	}
	for i, l := range c.seen() {
		if l.Seq != uint64(i) || len(l.Message) > maxMessage || i < 100 && !strings.HasSuffix(l.Message, cutMark) {
			t.Errorf("line %d: seq %d, %d bytes", i, l.Seq, len(l.Message))
		}
	}
	f := c.seen()[100].Fields
	if f["inf"] != "+Inf" || f["b"] != "1048576 bytes" || !strings.HasSuffix(fmt.Sprint(f["long"]), "é"+cutMark) || f["cyclic"] == nil {
		t.Errorf("%v", f)
	}
	if c.seen()[102].Fields["cut"] != true || len(c.seen()[103].Logger) != maxName {
		t.Errorf("%v", c.seen()[102:])
	}
	if n := s.Stats(); n.Sent != 104 || n.Batches < 2 || n.Queued != 0 || n.Limited+n.Overflow != 0 || n.Trouble != "" {
		t.Errorf("%+v", n)
	}
}

// Nobody waits for the cloud; what is too much is left out, counted and told, and what was refused comes later.
func TestNeverBlocks(t *testing.T) {
	c := &cloud{}
	s := newShipper(t, c, Options{Rate: 1e6})
	c.set(errors.New("the disk is full, token=pw1pw1pw1"))
	stop := background(t, s.Run)
	log := zap.New(s.Core())
	log.Info("first")
	until(t, "a refusal", func() bool { return s.Stats().Trouble != "" })
	checkClean(t, s.Stats().Trouble)
	const more = 100
	for i := range ownQueue + more {
		log.Info(fmt.Sprint("line ", i))
	}
	if n := s.Stats(); n.Overflow != more || n.Queued != ownQueue {
		t.Errorf("%+v", n)
	}
	c.set(nil)
	until(t, "the lines that were kept", func() bool { return len(c.seen()) >= 1+ownQueue })
	if err := stop(); err != nil {
		t.Error(err)
	}
	got := c.seen()
	if got[0].Message != "first" || got[ownQueue].Message != fmt.Sprint("line ", ownQueue-1) || s.Stats().Trouble != "" {
		t.Errorf("%+v, %+v", got[0], got[ownQueue])
	}
	if last := got[len(got)-1]; last.Message != "100 log lines were left out: there were too many" || last.Fields["overflow_total"] != 100.0 || last.Level != "warn" {
		t.Errorf("%+v", last)
	}
}

// At the end nothing is lost without a word.
func TestEnd(t *testing.T) {
	for name, refuse := range map[string]error{"taken": nil, "refused": errors.New("no room")} {
		t.Run(name, func(t *testing.T) {
			c := &cloud{}
			s := newShipper(t, c, Options{})
			s.every = time.Hour
			c.set(refuse)
			log := zap.New(s.Core())
			log.Info("one")
			log.Info("two")
			err := background(t, s.Run)()
			if refuse == nil && (err != nil || len(c.seen()) != 2) || refuse != nil && (err == nil || err.Error() != "logs: 2 lines were not sent: no room" || c.refused != 1) {
				t.Errorf("%v, %d lines", err, len(c.seen()))
			}
			if err := s.Run(t.Context()); err == nil {
				t.Error("ran twice")
			}
		})
	}
}

// A loop does not hide what else happens.
func TestLimiter(t *testing.T) {
	l := newLimiter(10, maphash.MakeSeed())
	now := time.Unix(1000, 0)
	loop, rare, taken := 0, 0, 0
	for ms := range 10_000 {
		at := now.Add(time.Duration(ms) * time.Millisecond)
		if l.allow(at, &zapcore.Entry{Message: "loop"}) {
			loop++
		}
		if ms%500 == 250 { // different ones
			rare++
			if l.allow(at, &zapcore.Entry{Message: fmt.Sprint("rare ", ms)}) {
				taken++
			}
		}
	}
	if taken != rare || loop < 60 || loop > 120 {
		t.Errorf("%d of %d rare ones, and %d of the loop", taken, rare, loop)
	}
	l.set(1000)
	if l.rate != 1000 || !l.allow(now.Add(-time.Hour), &zapcore.Entry{Message: "the clock stepped back"}) {
		t.Error("not live")
	}
	for i := range 10 * maxKinds {
		l.allow(now, &zapcore.Entry{Message: fmt.Sprint(i)})
	}
	if len(l.kinds) > maxKinds {
		t.Errorf("%d kinds", len(l.kinds))
	}
}

func TestBadOptions(t *testing.T) {
	publish := func([]byte) error { return nil }
	for want, o := range map[string]Options{
		"Publish is missing": {}, "must not be negative": {Publish: publish, Rate: -1}, "may have 256 bytes": {Publish: publish, Device: strings.Repeat("x", 257)},
	} {
		if _, err := New(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
	s := newShipper(t, &cloud{}, Options{})
	for want, o := range map[string]SystemOptions{
		"not the name of a unit": {Units: []string{"--vacuum-size=1"}}, "from the root": {Files: []string{"syslog"}}, "is there twice": {Files: []string{"/a", "/a"}},
		"must not be negative": {Rate: -1}, "at most 64": {Files: make([]string, 65)},
	} {
		if _, err := NewSystem(s, o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}
