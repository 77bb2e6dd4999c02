package telemetry

import (
	"bytes"
	"encoding/json"
	"io"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gnomon/engine/detect"
)

// These mirror the message as a strict reader in another language would declare it.
type (
	readMessage struct {
		Schema     string          `json:"schema"`
		Device     *string         `json:"device"`
		BootID     *string         `json:"boot_id"`
		Source     string          `json:"source"`
		Seq        uint64          `json:"seq"`
		CapturedAt *string         `json:"captured_at"`
		Monotonic  *int64          `json:"monotonic_ms"`
		Synced     *bool           `json:"clock_synced"`
		PTSMs      int64           `json:"pts_ms"`
		Frame      readFrame       `json:"frame"`
		Model      readModel       `json:"model"`
		Detections []readDetection `json:"detections"`
		Omitted    int             `json:"omitted"`
	}
	readFrame struct {
		Width  int `json:"width"`
		Height int `json:"height"`
	}
	readModel struct {
		Name    string `json:"name"`
		Version string `json:"version"`
		SHA256  string `json:"sha256"`
	}
	readDetection struct {
		ClassID int        `json:"class_id"`
		Label   string     `json:"label"`
		Score   float64    `json:"score"`
		Box     [4]float64 `json:"box"`
	}
)

// read decodes one message and fails on an unknown key or anything behind it.
func read(t *testing.T, data []byte) readMessage {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	var m readMessage
	if err := d.Decode(&m); err != nil {
		t.Fatalf("decode %s: %v", data, err)
	}
	if _, err := d.Token(); err != io.EOF {
		t.Fatalf("something follows the message in %s", data)
	}
	return m
}

func example() DetectionMessage {
	return DetectionMessage{
		Device: "thing-1", BootID: "5f0c", Source: "street", Seq: 17,
		CapturedAt: time.Date(2026, 11, 22, 11, 0, 0, 123456789, time.FixedZone("CET", 3600)),
		Monotonic:  5012345 * time.Microsecond, Clock: ClockUnsynced,
		PTS: 680 * time.Millisecond, Width: 768, Height: 576,
		Model:  ModelRef{Name: "nanodet-g", Version: "1", SHA256: "ab12"},
		Labels: []string{"person", "bicycle"},
		Detections: []detect.Detection{
			{Box: detect.Box{X1: 12.5, Y1: 40, X2: 88.1, Y2: 210.4}, Score: 0.87, ClassID: 0},
			{Box: detect.Box{X1: -0.001, Y1: 1.005, X2: 767.996, Y2: 576}, Score: 0.00004, ClassID: 7},
		},
	}
}

func TestDetectionMessageBytes(t *testing.T) {
	m := example()
	const want = `{"schema":"gnomon.detections/1","device":"thing-1","boot_id":"5f0c","source":"street","seq":17,` +
		`"captured_at":"2026-11-22T10:00:00.123456Z","monotonic_ms":5012,"clock_synced":false,"pts_ms":680,"frame":{"width":768,"height":576},` +
		`"model":{"name":"nanodet-g","version":"1","sha256":"ab12"},"detections":[` +
		`{"class_id":0,"label":"person","score":0.87,"box":[12.5,40,88.1,210.4]},` +
		`{"class_id":7,"label":"","score":0,"box":[0,1,768,576]}]}`
	if got := string(m.AppendJSON(nil)); got != want {
		t.Errorf("message\n%s\nwant\n%s", got, want)
	}
	if got := string(m.AppendJSON([]byte("before "))); got != "before "+want {
		t.Errorf("AppendJSON did not append: %s", got)
	}
}

func TestDetectionMessageWithoutDevice(t *testing.T) {
	m := example()
	m.Device, m.BootID, m.CapturedAt, m.Detections = "", "", time.Time{}, nil
	m.Monotonic, m.Clock = 0, ClockUnknown
	const want = `{"schema":"gnomon.detections/1","source":"street","seq":17,"pts_ms":680,` +
		`"frame":{"width":768,"height":576},"model":{"name":"nanodet-g","version":"1","sha256":"ab12"},"detections":[]}`
	if got := string(m.AppendJSON(nil)); got != want {
		t.Errorf("message\n%s\nwant\n%s", got, want)
	}
}

func TestDetectionMessageDecoded(t *testing.T) {
	m := example()
	str := func(s string) *string { return &s }
	want := readMessage{
		Schema: DetectionSchema, Device: str("thing-1"), BootID: str("5f0c"), Source: "street", Seq: 17,
		CapturedAt: str("2026-11-22T10:00:00.123456Z"), Monotonic: new(int64(5012)), Synced: new(false), PTSMs: 680, Frame: readFrame{768, 576},
		Model: readModel{"nanodet-g", "1", "ab12"},
		Detections: []readDetection{
			{ClassID: 0, Label: "person", Score: 0.87, Box: [4]float64{12.5, 40, 88.1, 210.4}},
			{ClassID: 7, Label: "", Score: 0, Box: [4]float64{0, 1, 768, 576}},
		},
	}
	if diff := cmp.Diff(want, read(t, m.AppendJSON(nil))); diff != "" {
		t.Error(diff)
	}
}

func TestDetectionMessageOmitsWhatIsNotFinite(t *testing.T) {
	m := example()
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	sound := m.Detections[0]
	m.Detections = []detect.Detection{
		{Box: sound.Box, Score: nan},
		{Box: detect.Box{X1: inf}, Score: 0.5},
		sound,
		{Box: detect.Box{Y1: -inf}, Score: 0.5},
		{Box: detect.Box{X2: nan}, Score: 0.5},
		{Box: detect.Box{Y2: nan}, Score: 0.5},
	}
	got := read(t, m.AppendJSON(nil))
	if len(got.Detections) != 1 || got.Detections[0].Label != "person" || got.Omitted != 5 {
		t.Errorf("%d detections and %d omitted, want 1 and 5", len(got.Detections), got.Omitted)
	}
}

func TestDetectionMessageLimit(t *testing.T) {
	m := example()
	m.Detections = make([]detect.Detection, 5000)
	for i := range m.Detections {
		m.Detections[i] = detect.Detection{
			Box:   detect.Box{X1: float32(i), Y1: 10.25, X2: float32(i) + 31.75, Y2: 99.99},
			Score: 1 - float32(i)/10000,
		}
	}
	whole := m.AppendJSON(nil)
	if len(whole) <= MaxPayload {
		t.Fatalf("the message has only %d bytes", len(whole))
	}
	m.Limit = MaxPayload
	cut := m.AppendJSON(nil)
	if len(cut) > MaxPayload || len(cut) < MaxPayload-200 {
		t.Errorf("the message has %d bytes, want just under %d", len(cut), MaxPayload)
	}
	all, some := read(t, whole), read(t, cut)
	if all.Omitted != 0 || len(all.Detections) != 5000 {
		t.Errorf("without a limit: %d detections, %d omitted", len(all.Detections), all.Omitted)
	}
	if some.Omitted == 0 || len(some.Detections)+some.Omitted != 5000 {
		t.Errorf("with a limit: %d detections, %d omitted", len(some.Detections), some.Omitted)
	}
	if diff := cmp.Diff(all.Detections[:len(some.Detections)], some.Detections); diff != "" {
		t.Errorf("not the best were kept: %s", diff)
	}
	for limit := 1; limit < 700; limit += 3 {
		m.Limit = limit
		got := m.AppendJSON(nil)
		if r := read(t, got); len(r.Detections) > 0 && len(got) > limit {
			t.Errorf("limit %d: %d bytes with %d detections", limit, len(got), len(r.Detections))
		}
	}
}

func TestAppendJSONDoesNotAllocate(t *testing.T) {
	m := example()
	m.Source = "tor \"süd\"\n\xff"
	dst := make([]byte, 0, 4096)
	if n := testing.AllocsPerRun(100, func() { dst = m.AppendJSON(dst[:0]) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestCapturedAt(t *testing.T) {
	tests := []struct {
		at   time.Time
		want string
	}{
		{time.Date(2026, 1, 2, 3, 4, 5, 999_999_999, time.UTC), "2026-01-02T03:04:05.999999Z"},
		{time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), "2026-01-02T03:04:05.000000Z"},
		{time.Unix(0, 0), "1970-01-01T00:00:00.000000Z"},
		{time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC), ""},
		{time.Date(-1, 1, 1, 0, 0, 0, 0, time.UTC), ""},
		{time.Time{}, ""},
	}
	for _, tt := range tests {
		m := DetectionMessage{CapturedAt: tt.at}
		got := ""
		if r := read(t, m.AppendJSON(nil)); r.CapturedAt != nil {
			got = *r.CapturedAt
		}
		if got != tt.want {
			t.Errorf("captured_at of %v is %q, want %q", tt.at, got, tt.want)
		}
	}
}

func FuzzDetectionMessage(f *testing.F) {
	f.Add("person", "street", int64(680), float32(0.87), float32(12.5), 0)
	f.Add("it's a \"quote\"\\", "a\x00b\x1f\u007f", int64(-1), float32(-0.00001), float32(-0.001), -1)
	f.Add("\xff\xfe", "\xed\xa0\x80 \xf0\x9f\x98", int64(math.MaxInt64), float32(math.MaxFloat32), float32(math.Inf(-1)), math.MaxInt)
	f.Add("\u2028\u2029<&>", "日本", int64(math.MinInt64), float32(math.NaN()), float32(math.SmallestNonzeroFloat32), 1)
	f.Fuzz(func(t *testing.T, label, source string, ns int64, score, x float32, class int) {
		m := DetectionMessage{
			Device: label, BootID: source, Source: source, CapturedAt: time.Unix(0, ns), PTS: time.Duration(ns),
			Model: ModelRef{Name: label, Version: source, SHA256: label}, Labels: []string{label, source},
			Detections: []detect.Detection{{Score: score, Box: detect.Box{X1: x, Y1: -x, X2: score, Y2: x}, ClassID: class}},
		}
		data := m.AppendJSON(nil)
		if bytes.ContainsAny(data, "\n\r\x00") {
			t.Errorf("the message is not on one line: %q", data)
		}
		got := read(t, data)
		// Each offending byte becomes one replacement character, which is also what []rune makes of it.
		clean := func(s string) string { return string([]rune(s)) }
		if got.Source != clean(source) || got.Model != (readModel{clean(label), clean(source), clean(label)}) {
			t.Errorf("source %q and model %q, want %q and %q", got.Source, got.Model, source, label)
		}
		if label != "" && (got.Device == nil || *got.Device != clean(label)) {
			t.Errorf("device is %v, want %q", got.Device, label)
		}
		if at := strings.TrimSuffix(*got.CapturedAt, "Z"); len(at) != len("2026-11-22T10:00:00.123456") {
			t.Errorf("captured_at is %q", *got.CapturedAt)
		}
		if !finite(score) || !finite(x) {
			if len(got.Detections) != 0 || got.Omitted != 1 {
				t.Errorf("score %v and x %v were written: %s", score, x, data)
			}
			return
		}
		d := got.Detections[0]
		near := func(got float64, want float32, scale float64) bool {
			return math.Abs(got-float64(want)) <= 0.5/scale+math.Abs(float64(want))*1e-12
		}
		if d.ClassID != class || !near(d.Score, score, 1e4) || !near(d.Box[0], x, 1e2) || !near(d.Box[1], -x, 1e2) {
			t.Errorf("detection %+v of score %v and x %v", d, score, x)
		}
		want := ""
		if class == 0 || class == 1 {
			want = clean(m.Labels[class])
		}
		if d.Label != want {
			t.Errorf("label %q, want %q", d.Label, want)
		}
		if bytes.Contains(data, []byte("-0,")) || bytes.Contains(data, []byte("-0]")) {
			t.Errorf("a negative zero in %s", data)
		}
	})
}

func BenchmarkAppendJSON(b *testing.B) {
	m := example()
	dst := make([]byte, 0, 4096)
	b.ReportAllocs()
	for b.Loop() {
		dst = m.AppendJSON(dst[:0])
	}
}
