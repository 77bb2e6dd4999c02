package main

import (
	"bytes"
	"encoding/json"
	"image"
	"image/draw"
	"image/png"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gnomon/engine/detect"
	"gnomon/models"
	"gnomon/models/onnx"
)

// root is the folder testdata, seen from a test.
const root = ".."

func made(t *testing.T) map[string][]byte {
	t.Helper()
	files, err := generate()
	if err != nil {
		t.Fatal(err)
	}
	content := map[string][]byte{}
	for _, f := range files {
		if content[f.path] != nil {
			t.Errorf("%s is made twice", f.path)
		}
		content[f.path] = f.data
	}
	return content
}

func TestFilesAreWhatTheGeneratorMakes(t *testing.T) {
	const hint = "; run go run ./testdata/gen in the repository's root"
	total := 0
	want := made(t)
	for name, data := range want {
		got, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(name)))
		if err != nil {
			t.Errorf("%v%s", err, hint)
			continue
		}
		total += len(got)
		if path.Ext(name) == ".png" {
			// How well a picture is compressed may change with Go's version; its pixels may not.
			if !bytes.Equal(pixels(t, data), pixels(t, got)) {
				t.Errorf("%s shows something else%s", name, hint)
			}
			continue
		}
		if !bytes.Equal(data, got) {
			t.Errorf("%s differs%s", name, hint)
		}
	}
	const most = 200 << 10 // bytes; the folder is cloned by everybody
	if total > most {
		t.Errorf("the files have %d bytes, at most %d are agreed", total, most)
	}
	for _, folder := range []string{"models", "hostile", "pictures"} {
		err := fs.WalkDir(os.DirFS(root), folder, func(name string, e fs.DirEntry, err error) error {
			if err == nil && !e.IsDir() && want[name] == nil {
				t.Errorf("%s is not made by the generator; remove it or teach the generator", name)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

func pixels(t *testing.T, data []byte) []byte {
	t.Helper()
	img, err := png.Decode(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	plain := image.NewNRGBA(img.Bounds())
	draw.Draw(plain, plain.Bounds(), img, image.Point{}, draw.Src)
	return append([]byte(img.Bounds().String()), plain.Pix...)
}

func TestRunWritesTheSameTwice(t *testing.T) {
	read := func() map[string]string {
		dir := t.TempDir()
		if err := run(dir); err != nil {
			t.Fatal(err)
		}
		content := map[string]string{}
		err := fs.WalkDir(os.DirFS(dir), ".", func(name string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() {
				return err
			}
			data, err := os.ReadFile(filepath.Join(dir, name))
			content[name] = string(data)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return content
	}
	first := read()
	if len(first) != len(made(t)) {
		t.Errorf("%d files were written, %d made", len(first), len(made(t)))
	}
	if diff := cmp.Diff(first, read()); diff != "" {
		t.Errorf("two runs differ:\n%s", diff)
	}
	if err := run(filepath.Join(root, "README.md", "no folder")); err == nil {
		t.Error("an output that cannot be written to is no error")
	}
}

// What gnomon makes of each model before it runs: the family, the input and the labels, from wherever they come.
func TestModelsAreRead(t *testing.T) {
	want := map[string]detect.Family{
		"yolov8": detect.YOLOv8, "yolov8_square": detect.YOLOv8, "yolov5": detect.YOLOv5, "end_to_end": detect.EndToEnd,
		"yolox": detect.YOLOX, "nanodet": detect.NanoDet, "nhwc": detect.YOLOv8, "uint8": detect.YOLOv8,
		"float16": detect.YOLOv8, "dynamic": detect.YOLOv8, "nan": detect.YOLOv8, "nanodet_plus": detect.NanoDet,
		"rtdetr": detect.RTDETR, "rfdetr": detect.RFDETR, "yunet": detect.YuNet, "ssd": detect.SSD,
	}
	files := made(t)
	for _, m := range allModels() {
		t.Run(m.name, func(t *testing.T) {
			info, err := onnx.Inspect(files["models/"+m.name+".onnx"])
			if err != nil {
				t.Fatal(err)
			}
			var manifest *models.Manifest
			if data := files["models/"+m.name+".yaml"]; data != nil {
				if strings.Contains(string(data), "SHA256") {
					t.Error("the digest was not filled in")
				}
				if manifest, err = models.ParseManifest(m.name+".yaml", data); err != nil {
					t.Fatal(err)
				}
			}
			spec, err := models.Resolve(manifest, info, nil)
			if !m.sees {
				if err == nil {
					t.Errorf("taken for %s, should be refused", spec.Family)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if spec.Family != want[m.name] {
				t.Errorf("family %s, want %s", spec.Family, want[m.name])
			}
			if spec.Width != m.grid.width || spec.Height != m.grid.height || spec.Resize != m.resize {
				t.Errorf("input %dx%d %s, want %dx%d %s", spec.Width, spec.Height, spec.Resize, m.grid.width, m.grid.height, m.resize)
			}
			if diff := cmp.Diff(m.labels(), spec.Labels); diff != "" {
				t.Errorf("labels (-want +got):\n%s", diff)
			}
		})
	}
}

// Hostile models are refused by nothing that only reads them: the trial has to do it.
func TestHostileModelsAreRead(t *testing.T) {
	files := made(t)
	for _, m := range hostileModels() {
		info, err := onnx.Inspect(files[m.path()+".onnx"])
		if err != nil {
			t.Fatal(m.name, err)
		}
		if spec, err := models.Resolve(nil, info, nil); err != nil || spec.Family != detect.YOLOv8 {
			t.Errorf("%s: %v, %v", m.name, spec, err)
		}
	}
}

// The expectations must not become empty by a change of a picture or a letterbox.
func TestExpectationsCoverModelsAndPictures(t *testing.T) {
	var doc document
	if err := json.Unmarshal(made(t)["expect.json"], &doc); err != nil {
		t.Fatal(err)
	}
	pictures, objects := map[string]int{}, map[string]int{}
	for _, p := range doc.Pictures {
		if len(p.Models) == 0 {
			t.Errorf("no model meets %s", p.File)
		}
		for _, m := range p.Models {
			pictures[m]++
			objects[m] += len(p.Objects)
		}
		for _, o := range p.Objects {
			if o.Label != classes()[o.ClassID] || o.Score < 0.4 || o.Score > 0.95 {
				t.Errorf("%s: %+v", p.File, o)
			}
		}
	}
	for _, m := range allModels() {
		if m.sees && (pictures[m.name] < 4 || objects[m.name] < 8) {
			t.Errorf("%s meets %d pictures with %d objects, that is too few to notice anything", m.name, pictures[m.name], objects[m.name])
		}
		if !m.sees && pictures[m.name] != 0 {
			t.Errorf("%s finds nothing, but is expected to", m.name)
		}
	}
}

// An object that is not on a model's grid, or whose edges would blur, is not expected of it.
func TestMeets(t *testing.T) {
	byName := map[string]model{}
	for _, m := range allModels() {
		byName[m.name] = m
	}
	at := func(width, height int, box ...int) picture {
		return picture{width: width, height: height, objects: []object{{red, [4]int(box), strong()}}}
	}
	for _, tt := range []struct {
		model   string
		picture picture
		want    bool
	}{
		{"yolov8", at(256, 128, 32, 16, 64, 32), true},
		{"yolov8", at(256, 128, 0, 0, 64, 32), true},
		{"yolov8", at(256, 128, 32, 0, 96, 32), false}, // a block starts at a multiple of its width
		{"yolov8", at(256, 128, 34, 16, 66, 32), false},
		{"yolov8", at(256, 128, 32, 16, 62, 32), false},
		{"yolov8", at(64, 32, 8, 4, 16, 8), false}, // enlarged: the edges blur
		{"yolov8", at(192, 96, 24, 12, 48, 24), false},
		{"yolov8", at(256, 130, 32, 16, 64, 32), false},
		{"yolox", at(128, 128, 32, 16, 64, 32), true},
		{"nanodet", at(128, 128, 32, 16, 64, 32), false}, // stretched
		{"nanodet", at(128, 128, 32, 16, 48, 32), true},
		{"unknown_head", at(256, 128, 32, 16, 64, 32), false},
		{"yunet", at(256, 128, 32, 16, 64, 32), true},
		{"yunet", picture{width: 256, height: 128, objects: []object{{green, [4]int{32, 16, 64, 32}, strong()}}}, false},
	} {
		got, err := meets(byName[tt.model], tt.picture)
		if err != nil || got != tt.want {
			t.Errorf("%s meets %+v: %t (%v), want %t", tt.model, tt.picture, got, err, tt.want)
		}
	}
	if _, err := meets(byName["yolov8"], at(0, 1, 0, 0, 0, 0)); err == nil {
		t.Error("a picture without width is no error")
	}
}

// The colour of an object gives the score that is expected, by the formula in vision.go, in every encoding.
func TestStrengths(t *testing.T) {
	for name, e := range map[string]encoding{"rgb01": rgb01(), "rgb255": rgb255(), "bgr255": bgr255(), "nanodet": bgrNanoDet(), "imagenet": rgbImageNet()} {
		weights, bias := e.strengths()
		for class := range 3 {
			o := object{class: class, paint: medium()}
			c := o.color()
			pixel := [3]float32{float32(c.R), float32(c.G), float32(c.B)}
			if e.bgr {
				pixel[0], pixel[2] = pixel[2], pixel[0]
			}
			for out := range 3 {
				got := bias[out]
				for channel, v := range pixel {
					got += weights[3*out+channel] * (v*e.scale - e.mean[channel]) / e.std[channel]
				}
				want := float32(o.score())
				if out != class {
					want /= -2
				}
				if d := got - want; d > 1e-5 || d < -1e-5 {
					t.Errorf("%s: strength %d of an object of class %d is %v, want %v", name, out, class, got, want)
				}
			}
		}
	}
}

func TestModelErrorsAreReported(t *testing.T) {
	m := model{name: "bad", build: func(g *graph, _ grid) { g.output("y", "nowhere", "float32") }}
	if _, err := m.files(); err == nil || !strings.Contains(err.Error(), `"nowhere"`) {
		t.Errorf("a graph that is not well formed: %v", err)
	}
}
