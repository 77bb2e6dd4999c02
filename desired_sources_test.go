package main

import (
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// The settings of sources follow the shadow while frames flow: thresholds up and below the model's own, sources off and
// on and from one slot to the other; a model in one slot leaves the other alone; and what cannot be done is told.
func TestDesiredSources(t *testing.T) {
	t.Parallel()
	pictures := t.TempDir()
	for _, name := range []string{"native_128x64.png", "wide_256x128.png"} {
		write(t, filepath.Join(pictures, name), read(t, filepath.Join("testdata", "pictures", name)))
	}
	manifest := write(t, t.TempDir()+"/high.yaml", []byte("score_threshold: 0.7\n"))
	f := newField(t, paced(t, pictures, "left", "left", "left", "right", "right", "right"), "",
		"model: {path: "+absolute(t, "testdata/models/yolov8.onnx")+", manifest: "+manifest+"}\n")
	r := f.agent()
	f.sees("s0", "yolov8")
	// A round shows both pictures. Strong objects have a score of 0.9, weak ones 0.47.
	const round = 3
	least := func(source string) float64 {
		low := 2.0
		for _, m := range f.news(source, round) {
			for _, d := range m.Detections {
				low = min(low, d.Score)
			}
		}
		return low
	}
	set := func(sources string, ok func(told) bool) {
		t.Helper()
		f.desire(map[string]any{"sources": json.RawMessage(sources)})
		f.until("the sources are "+sources, func() bool { return ok(f.told()) })
	}
	score := func(source string, want float32) func(told) bool {
		return func(d told) bool { s := d.Sources[source]; return s.Score != nil && *s.Score == want && s.Error == nil }
	}

	if v := least("s0"); v < 0.7 || v > 0.95 {
		t.Errorf("before: %v", v)
	}
	set(`{"s0": {"score_threshold": 0.92}}`, score("s0", 0.92))
	f.news("s0", 2) // frames in work
	if v := least("s0"); v != 2 {
		t.Errorf("above all scores: %v", v)
	}
	set(`{"s0": {"score_threshold": 0.3}}`, score("s0", 0.3))
	f.news("s0", 2)
	if v := least("s0"); v < 0.3 || v > 0.5 {
		t.Errorf("below the model's own threshold: %v", v)
	}
	if v := least("s1"); v < 0.7 || v > 0.95 {
		t.Errorf("another source of the same model: %v", v)
	}

	set(`{"s1": {"enabled": false}}`, func(d told) bool { s, ok := d.Sources["s1"]; return ok && !s.Enabled })
	f.news("s0", 2)
	if off := len(f.seen("s1")); len(f.news("s0", round)) < round || len(f.seen("s1")) > off+1 {
		t.Error("a source that is switched off goes on")
	}
	set(`{"s1": {"enabled": true}}`, func(d told) bool { return d.Sources["s1"].Enabled })
	f.news("s1", 2)

	m, _ := f.upload(packOptions{model: "yolov5"})
	f.deploy("right", m)
	f.runs("right", m.SHA256)
	f.sees("s3", "yolov5")
	f.news("s0", 2)
	f.sees("s0", "yolov8")

	set(`{"s0": {"slot": "right"}}`, func(d told) bool { return d.Sources["s0"].Slot == "right" })
	f.sees("s0", "yolov5")
	f.news("s1", 2)
	f.sees("s1", "yolov8")

	// A threshold outlives the exchange of the model, whose own is 0.7.
	high, _ := f.upload(packOptions{model: "yolov8", manifest: manifest})
	f.deploy("right", high)
	f.runs("right", high.SHA256)
	f.sees("s0", "yolov8")
	if v := least("s0"); v < 0.3 || v > 0.5 {
		t.Errorf("after the exchange: %v", v)
	}

	set(`{"s0": {"score_threshold": 7}, "s2": {"slot": "none"}, "s4": {"enable": true}, "door": {"enabled": true}, "s5": {"enabled": false}}`, func(d told) bool {
		code := func(name, code string) bool { e := d.Sources[name].Error; return e != nil && e.Code == code }
		return code("s0", "bad_setting") && code("s2", "bad_setting") && code("s4", "bad_setting") && code("door", "unknown_source") &&
			!d.Sources["s5"].Enabled && d.Sources["s5"].Error == nil && *d.Sources["s0"].Score == 0.3 && d.Sources["s0"].Slot == "right"
	})
	f.desire(map[string]any{"sources": []int{1}})
	f.until("word of what is no object", func() bool { return f.told().Error != "" })
	f.desire(map[string]any{"sources": nil})
	f.until("all is as configured", func() bool { d := f.told(); return len(d.Sources) == 0 && d.Error == "" })
	f.news("s5", 2)
	f.until("s0 is in its slot again", func() bool { return least("s0") > 0.5 })
	f.end(r)
}

func TestClipText(t *testing.T) {
	long := clipText(strings.Repeat("é", maxSourceError))
	if len(long) > maxSourceError+len("…") || !strings.HasSuffix(long, "é…") || slices.Contains([]rune(long), '\uFFFD') {
		t.Errorf("clipped to %q", long)
	}
}
