package models

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"gnomon/config/yamldoc"
	"gnomon/engine/detect"
	"gnomon/engine/letterbox"
)

const fullManifest = `gnomon: 1
name: street
version: "2.1"
release: 7
licence: Apache-2.0
sha256: ` + digest + `
external_data: [w.bin, dir/w2.bin]
family: yolox
decoded: true
input: {name: images, width: 416, height: 320, layout: nchw, type: float32}
color: rgb
scale: 0.5
mean: [1, 2.5, 3]
std: 2
resize: stretch
pad: [1, 2, 3]
labels: [cat, dog]
score_threshold: 0.3
iou_threshold: 1
max_detections: 50
`

const digest = "0123456789abcdefABCDEF0123456789abcdef0123456789abcdef0123456789"

func ptr[T any](v T) *T { return &v }

func TestParseManifest(t *testing.T) {
	got, err := ParseManifest("m.yaml", []byte(fullManifest))
	if err != nil {
		t.Fatal(err)
	}
	want := &Manifest{
		Gnomon: 1, Name: "street", Version: "2.1", Release: ptr(int64(7)), Licence: "Apache-2.0", SHA256: digest,
		ExternalData: []string{"w.bin", "dir/w2.bin"},
		Family:       detect.YOLOX, Decoded: ptr(true),
		Input: ManifestInput{Name: "images", Width: 416, Height: 320, Layout: NCHW, Type: detect.Float32},
		Color: RGB, Scale: ptr(0.5), Mean: &Channels{1, 2.5, 3}, Std: &Channels{2, 2, 2},
		Resize: letterbox.Stretch, Pad: &Pad{1, 2, 3}, Labels: Labels{"cat", "dog"},
		ScoreThreshold: ptr(float32(0.3)), IoUThreshold: ptr(float32(1)), MaxDetections: ptr(50),
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(Manifest{})); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	coco, err := ParseManifest("m.yaml", []byte("labels: coco80\npad: 114\n"))
	if err != nil {
		t.Fatal(err)
	}
	if len(coco.Labels) != 80 || coco.Labels[0] != "person" || coco.Labels[79] != "toothbrush" || *coco.Pad != (Pad{114, 114, 114}) {
		t.Errorf("labels %v, pad %v", coco.Labels, coco.Pad)
	}
	for word, want := range map[string]map[int]string{
		"coco90": {0: "person", 10: "fire hydrant", 11: "category 12", 12: "stop sign", 89: "toothbrush", 90: ""},
		"coco91": {0: "category 0", 1: "person", 13: "stop sign", 26: "category 26", 84: "book", 90: "toothbrush", 91: ""},
	} {
		m, err := ParseManifest("m.yaml", []byte("labels: "+word))
		if err != nil {
			t.Fatal(err)
		}
		for i, label := range want {
			if label == "" && len(m.Labels) != i || label != "" && m.Labels[i] != label {
				t.Errorf("%s: label %d of %d is not %q: %v", word, i, len(m.Labels), label, m.Labels)
			}
		}
	}
	coco.Labels[0] = "changed"
	if COCO80()[0] != "person" {
		t.Error("the table of labels can be changed from outside")
	}
	if _, err := ParseManifest("m.yaml", nil); err != nil {
		t.Errorf("an empty manifest is silent about everything, but: %v", err)
	}
}

func TestParseManifestErrors(t *testing.T) {
	long := strings.Repeat("x", 129)
	tests := []struct{ text, want string }{
		{"familly: yolox", `1:1: unknown key "familly" in the top level; did you mean "family"?`},
		{"input:\n  widht: 3", `2:3: unknown key "widht" in input; did you mean "width"?`},
		{"gnomon: 2", `1:9: gnomon is the version of the manifest's layout; this gnomon reads version 1, not 2`},
		{"version: 2.1", `1:10: version must be text, not the number 2.1; put it in quotes: "2.1"`},
		{"name: " + long, `1:7: name has more than 128 characters`},
		{`version: "a\eb"`, `1:10: version has a character that cannot be printed (U+001B)`},
		{"release: 0", `1:10: release must be 1 or more, not 0`},
		{"sha256: abc", `1:9: sha256 must be 64 hexadecimal digits, as sha256sum prints them, not 3 characters like "abc"`},
		{"sha256: " + strings.Repeat("x", 64), `1:9: sha256 must be 64 hexadecimal digits, as sha256sum prints them, not 64 characters like "` + strings.Repeat("x", 64) + `"`},
		{"external_data: w.bin", `1:16: external_data must be a list ([a, b] or lines that begin with -), not the text "w.bin"`},
		{"external_data: []", `1:16: external_data is an empty list; name the files that the model has its weights in, or remove the key`},
		{"external_data: [w, ../w]", `1:20: external_data[1] is "../w"; name a file in the model's folder or below it, in the shortest way`},
		{"external_data: [/etc/w]", `1:17: external_data[0] is "/etc/w"; name a file in the model's folder or below it, in the shortest way`},
		{"external_data: [a/../w]", `1:17: external_data[0] is "a/../w"; name a file in the model's folder or below it, in the shortest way`},
		{"external_data: [.]", `1:17: external_data[0] is "."; name a file in the model's folder or below it, in the shortest way`},
		{`external_data: ["a\\w"]`, `1:17: external_data[0] is "a\\w"; write a name without backslash and colon, with / between folders`},
		{"external_data: [w, w]", `1:20: external_data[1] is "w" a second time; remove it`},
		{`external_data: [""]`, `1:17: external_data[0] is empty`},
		{"external_data: [" + strings.Repeat("w,", 1001) + "]", `1:16: external_data has 1001 entries, more than the 1000 that are allowed`},
		{"family: detr", `1:9: family must be one of yolov8, yolov5, end-to-end, yolox, nanodet, rtdetr, rfdetr, yunet, ssd, not "detr"`},
		{"family: yolo11", `1:9: family "yolo11" is not a family; models of that name are usually read as yolov8: write family: yolov8`},
		{"family: NanoDet_Plus", `1:9: family "NanoDet_Plus" is not a family; models of that name are usually read as nanodet: write family: nanodet`},
		{"family: D-FINE", `1:9: family "D-FINE" is not a family; models of that name are usually read as rtdetr: write family: rtdetr`},
		{"family: ssd\niou_threshold: 0.5", `2:16: iou_threshold has no use with family ssd, whose boxes are final; remove it`},
		{"family: yolov8\ndecoded: true", `2:10: decoded is for family yolox only, and family is yolov8; remove it`},
		{"family: end-to-end\niou_threshold: 0.5", `2:16: iou_threshold has no use with family end-to-end, whose boxes are final; remove it`},
		{"input: {width: 416}", `1:16: input.width is set but input.height is not; write both, or neither where the model's size is fixed`},
		{"input:\n  height: 416", `2:11: input.height is set but input.width is not; write both, or neither where the model's size is fixed`},
		{"input: {width: -1, height: 5000}", "1:16: input.width must be from 1 to 4096 pixels, not -1\nm.yaml:1:28: input.height must be from 1 to 4096 pixels, not 5000"},
		{"input: {layout: hwc}", `1:17: input.layout must be one of nchw, nhwc, not "hwc"`},
		{"input: {type: int8}", `1:15: input.type must be one of float32, float16, uint8, not "int8"`},
		{"color: gray", `1:8: color must be one of rgb, bgr, not "gray"`},
		{"scale: 0", `1:8: scale must be greater than 0, not 0; for an input of 0 to 1 write 0.00392156862745098, for 0 to 255 write 1`},
		{"scale: 1/255", `1:8: scale must be a number, not the text "1/255"`},
		{"mean: [1, 2]", `1:7: mean must have 3 entries, one for each colour channel, not 2`},
		{"mean: a", `1:7: mean must be a number or a list of 3 numbers, not the text "a"`},
		{"mean: [1, 2, a]", `1:14: mean[2] must be a number, not the text "a"`},
		{"std: [1, 0, 1]", `1:6: std divides, so every entry must be greater than 0; entry 2 is 0`},
		{"resize: crop", `1:9: resize must be one of letterbox, letterbox-top-left, stretch, not "crop"`},
		{"pad: 256", `1:6: pad is out of range: 256`},
		{"pad: [0, 0, -1]", `1:13: pad[2] is out of range: -1`},
		{"labels: coco", `1:9: labels must be a list of names or the word coco80, coco90 or coco91, not the text "coco"; for a file with a label a line write labels_file`},
		{"labels: {0: cat}", `1:9: labels must be a list of names or the word coco80, coco90 or coco91, not a mapping`},
		{"labels: []", `1:9: labels is an empty list; write one label for each class, or remove the key`},
		{"labels: [cat, '']", `1:15: labels[1] is empty`},
		{"labels: [cat, 1]", `1:15: labels[1] must be text, not the number 1; put it in quotes: "1"`},
		{"labels:\n- cat\n- \"d\\tg\"", `3:3: labels[1] has a character that cannot be printed (U+0009)`},
		{"labels: [a]\nlabels_file: l.txt", `2:14: labels_file and labels are both set; remove one`},
		{"score_threshold: 1.5", `1:18: score_threshold must be from 0 to 1, not 1.5`},
		{"iou_threshold: -0.1", `1:16: iou_threshold must be from 0 to 1, not -0.1`},
		{"max_detections: 0", `1:17: max_detections must be from 1 to 3000, not 0`},
		{"max_detections: 3001", `1:17: max_detections must be from 1 to 3000, not 3001`},
		{"color: x\nname: y\nresize: z", "1:8: color must be one of rgb, bgr, not \"x\"\nm.yaml:3:9: resize must be one of letterbox, letterbox-top-left, stretch, not \"z\""},
	}
	for _, tt := range tests {
		_, err := ParseManifest("m.yaml", []byte(tt.text))
		if want := "m.yaml:" + tt.want; err == nil || err.Error() != want {
			t.Errorf("%s:\ngot  %v\nwant %s", tt.text, err, want)
		}
	}
}

func TestLoadManifest(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	write("in/labels.txt", "\uFEFFcat\r\n big dog \n\n")
	write("in/empty.txt", "\n")
	write("in/hole.txt", "cat\n\ndog\n")
	write("in/large.txt", strings.Repeat("x\n", yamldoc.MaxSize/2+1))
	write("outside.txt", "cat\n")
	if err := os.Symlink("../outside.txt", filepath.Join(dir, "in/link.txt")); err != nil {
		t.Fatal(err)
	}
	m, err := LoadManifest(write("in/m.yaml", "labels_file: labels.txt"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Labels{"cat", "big dog"}, m.Labels); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	for name, want := range map[string]string{
		"none.txt":                         "no such file",
		"empty.txt":                        "it is empty; write one label a line",
		"hole.txt":                         "line 2 is empty",
		"large.txt":                        "it is larger than the 262144 bytes that are allowed",
		".":                                "it is a directory; give the path of a file in it",
		"../outside.txt":                   "path escapes from parent",
		"link.txt":                         "path escapes from parent",
		filepath.Join(dir, "in/empty.txt"): "path escapes from parent",
	} {
		path := write("in/bad.yaml", "name: x\nlabels_file: "+name)
		_, err := LoadManifest(path)
		if want := path + `:2:14: labels_file "` + name + `": ` + want; err == nil || err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
	missing := filepath.Join(dir, "none.yaml")
	if _, err := LoadManifest(missing); !errors.Is(err, os.ErrNotExist) || err.Error() != "manifest "+missing+": no such file" {
		t.Errorf("no manifest: %v", err)
	}
	if _, err := LoadManifest(dir); err == nil || err.Error() != "manifest "+dir+": it is a directory; give the path of a file in it" {
		t.Errorf("a directory: %v", err)
	}
}

// FuzzParseManifest asks that every manifest that passes the checks can be resolved, or refused, without a panic, and
// that every error is one line for each problem.
func FuzzParseManifest(f *testing.F) {
	f.Add([]byte(fullManifest))
	for _, s := range []string{
		"", "family: yolov8\nlabels: coco80", "labels_file: x", "pad: 300", "input: {width: 1}", "mean: [1, 2]", "scale: 1e-300", "release: -1",
		"family: end-to-end\nlabels: [a]", "family: nanodet", "sha256: x", "std: [0.0000001, 1, 1]", "decoded: false\nfamily: yolox", "input: {layout: nhwc, type: uint8}",
	} {
		f.Add([]byte(s))
	}
	info := testInfo(fixed(1, 3, 416, 416), fixed(1, 3549, 7))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := ParseManifest("m.yaml", data)
		if err == nil {
			_, err = Resolve(m, info, nil)
		}
		if err == nil {
			return
		}
		var inManifest *yamldoc.Error
		for _, line := range strings.Split(err.Error(), "\n") {
			if errors.As(err, &inManifest) && !strings.HasPrefix(line, "m.yaml:") {
				t.Fatalf("a problem of more than one line: %q", err)
			}
		}
	})
}
