package bench

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// sound is an instances file with everything in it that occurs and some that is passed over, annotations first.
const sound = `{
  "info": {"year": 2017, "images": [1, 2]},
  "annotations": [
    {"id": 1, "image_id": 40, "category_id": 3, "bbox": [1.5, 2, 30, 40], "area": 1200.25, "iscrowd": 0, "segmentation": [[1, 2, 3, 4]]},
    {"id": 2, "image_id": 40, "category_id": 90, "bbox": [0, 0, 0, 0], "area": 0, "iscrowd": 1, "segmentation": {"counts": [1], "size": [2, 2]}},
    {"id": 2, "image_id": 908400255165, "category_id": 3, "bbox": [-1, 0, 5, 5], "area": 25}
  ],
  "images": [
    {"id": 40, "file_name": "street/0001.jpg", "width": 640, "height": 427, "license": 4},
    {"id": 908400255165, "file_name": "b.png", "width": 1, "height": 100000}
  ],
  "licenses": [{}],
  "categories": [{"id": 90, "name": "toothbrush", "supercategory": "indoor"}, {"id": 3, "name": "car"}]
}
`

func TestLoadAnnotations(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "instances.json")
	if err := os.WriteFile(path, []byte(sound), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := LoadAnnotations(path)
	if err != nil {
		t.Fatal(err)
	}
	want := &Annotations{
		Images: []Image{
			{ID: 40, FileName: "street/0001.jpg", Width: 640, Height: 427},
			{ID: 908400255165, FileName: "b.png", Width: 1, Height: 100000},
		},
		Objects: []Object{
			{ImageID: 40, CategoryID: 3, BBox: [4]float64{1.5, 2, 30, 40}, Area: 1200.25},
			{ImageID: 40, CategoryID: 90, Crowd: true},
			{ImageID: 908400255165, CategoryID: 3, BBox: [4]float64{-1, 0, 5, 5}, Area: 25},
		},
		Categories: []Category{{ID: 90, Name: "toothbrush"}, {ID: 3, Name: "car"}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestLoadAnnotationsNamesTheFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	bad := filepath.Join(dir, "bad.json")
	if err := os.WriteFile(bad, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		bad:                             "read annotations " + bad + `: no "images"`,
		filepath.Join(dir, "none.json"): "read annotations: open " + filepath.Join(dir, "none.json"),
		dir:                             "read annotations " + dir,
	} {
		if _, err := LoadAnnotations(path); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("error = %v, want %s…", err, want)
		}
	}
}

func TestParseAnnotationsRefuses(t *testing.T) {
	t.Parallel()
	const (
		images     = `"images": [{"id": 1, "file_name": "a.jpg", "width": 2, "height": 2}]`
		categories = `"categories": [{"id": 1, "name": "cat"}]`
	)
	// Each object stands alone on line 2.
	object := func(text string) string {
		return `{"annotations": [` + "\n" + text + "], " + images + ", " + categories + "}"
	}
	image := func(text string) string { return `{"images": [` + "\n" + text + "]}" }
	tests := []struct{ name, text, want string }{
		{"empty", "", "line 1, column 1: not JSON: unexpected end of JSON input"},
		{"truncated", "{\"images\": [\n{\"id\": 1,", "line 2, column 9: not JSON: unexpected end of JSON input"},
		{"not JSON", "{\n  images: 1}", "line 2, column 3: not JSON: invalid character 'i' looking for beginning of object key string"},
		{"text after the end", "{}\n x", "line 2, column 2: not JSON: invalid character 'x' after top-level value"},
		{"results instead", `[{"image_id": 1}]`, "line 1, column 1: there must be an object {…} here"},
		{"null", " null", "line 1, column 2: there must be an object {…} here"},
		{"no images", `{"annotations": [], ` + categories + "}", `no "images"; a COCO instances file is an object with images, annotations and categories`},
		{"no annotations", "{" + images + ", " + categories + "}", `no "annotations"; a COCO instances file is an object with images, annotations and categories`},
		{"no categories", `{"annotations": [], ` + images + "}", `no "categories"; a COCO instances file is an object with images, annotations and categories`},
		{"images twice", "{" + images + ",\n" + images + "}", `line 2, column 11: "images" is there twice; keep one`},
		{"images no list", `{"images": {}}`, "images: line 1, column 12: there must be a list […] here"},
		{"element no object", image(" 7"), "images[0] (line 2, column 2): is a number; it must be an object"},
		{"element null", image("null"), "images[0] (line 2, column 1): has no id (a whole number)"},
		{"id a string", image(`{"id": "7"}`), "images[0] (line 2, column 1): id is a string; it must be a whole number"},
		{"id a fraction", image(`{"id": 7.5}`), "images[0] (line 2, column 1): id is a number 7.5; it must be a whole number"},
		{"no file name", image(`{"id": 7}`), "images[0] (line 2, column 1): has no file_name (the picture's name in its folder)"},
		{"no width", image(`{"id": 7, "file_name": "a"}`), "images[0] (line 2, column 1): has no width (in pixels)"},
		{"no height", image(`{"id": 7, "file_name": "a", "width": 1}`), "images[0] (line 2, column 1): has no height (in pixels)"},
		{"no width at all", image(`{"id": 7, "file_name": "a", "width": 0, "height": 9}`), "images[0] (line 2, column 1): the size 0x9 is impossible; both sides must be within 1..100000 pixels"},
		{"too high", image(`{"id": 7, "file_name": "a", "width": 1, "height": 100001}`), "images[0] (line 2, column 1): the size 1x100001 is impossible; both sides must be within 1..100000 pixels"},
		{"path outside", image(`{"id": 7, "file_name": "a/../../b", "width": 1, "height": 1}`), `images[0] (line 2, column 1): file_name "a/../../b" leads out of the folder of pictures; it must stay inside`},
		{"absolute path", image(`{"id": 7, "file_name": "/b", "width": 1, "height": 1}`), `images[0] (line 2, column 1): file_name "/b" leads out of the folder of pictures; it must stay inside`},
		{"empty path", image(`{"id": 7, "file_name": "", "width": 1, "height": 1}`), `images[0] (line 2, column 1): file_name "" leads out of the folder of pictures; it must stay inside`},
		{"no image_id", object(`{"category_id": 1, "bbox": [0, 0, 1, 1], "area": 1}`), "annotations[0] (line 2, column 1): has no image_id (the id of one of the images)"},
		{"no category_id", object(`{"image_id": 1, "bbox": [0, 0, 1, 1], "area": 1}`), "annotations[0] (line 2, column 1): has no category_id (the id of one of the categories)"},
		{"no bbox", object(`{"image_id": 1, "category_id": 1, "area": 1}`), "annotations[0] (line 2, column 1): has no bbox ([x, y, width, height] in pixels)"},
		{"no area", object(`{"image_id": 1, "category_id": 1, "bbox": [0, 0, 1, 1]}`), "annotations[0] (line 2, column 1): has no area (in square pixels: width times height of the bbox where there is no mask)"},
		{"bbox of three", object(`{"image_id": 1, "category_id": 1, "bbox": [0, 0, 1], "area": 1}`), "annotations[0] (line 2, column 1): bbox has 3 numbers; it must be [x, y, width, height]"},
		{"bbox of five", object(`{"image_id": 1, "category_id": 1, "bbox": [0, 0, 1, 1, 1], "area": 1}`), "annotations[0] (line 2, column 1): bbox has 5 numbers; it must be [x, y, width, height]"},
		{"bbox with null", object(`{"image_id": 1, "category_id": 1, "bbox": [0, 0, 1, null], "area": 1}`), "annotations[0] (line 2, column 1): bbox holds null; it must be four numbers [x, y, width, height]"},
		{"bbox with text", object(`{"image_id": 1, "category_id": 1, "bbox": [0, 0, 1, "1"], "area": 1}`), "annotations[0] (line 2, column 1): bbox is a string; it must be a number that fits 64 bits"},
		{"bbox no list", object(`{"image_id": 1, "category_id": 1, "bbox": 4, "area": 1}`), "annotations[0] (line 2, column 1): bbox is a number; it must be a list"},
		{"negative size", object(`{"image_id": 1, "category_id": 1, "bbox": [5, 5, -3, 1], "area": 1}`), "annotations[0] (line 2, column 1): bbox width is -3; bbox is [x, y, width, height] with sizes of 0 or more (not corners)"},
		{"far away", object(`{"image_id": 1, "category_id": 1, "bbox": [1e300, 5, 3, 1], "area": 1}`), "annotations[0] (line 2, column 1): bbox x must be a number of pixels within ±100000, not 1e+300"},
		{"beyond float64", object(`{"image_id": 1, "category_id": 1, "bbox": [1e999, 5, 3, 1], "area": 1}`), "annotations[0] (line 2, column 1): bbox is a number 1e999; it must be a number that fits 64 bits"},
		{"negative area", object(`{"image_id": 1, "category_id": 1, "bbox": [0, 0, 1, 1], "area": -1}`), "line 2, column 1: annotations[0]: area is -1; it must be within 0..1e+10 square pixels"},
		{"crowd of two", object(`{"image_id": 1, "category_id": 1, "bbox": [0, 0, 1, 1], "area": 1, "iscrowd": 2}`), "annotations[0] (line 2, column 1): iscrowd is 2; it must be 0 or 1"},
		{"crowd true", object(`{"image_id": 1, "category_id": 1, "bbox": [0, 0, 1, 1], "area": 1, "iscrowd": true}`), "annotations[0] (line 2, column 1): iscrowd is a bool; it must be a whole number"},
		{"unknown image", object(`{"image_id": 2, "category_id": 1, "bbox": [0, 0, 1, 1], "area": 1}`), "line 2, column 1: annotations[0]: image_id 2 is not the id of any of the 1 images"},
		{"unknown category", object("\n" + `  {"image_id": 1, "category_id": 2, "bbox": [0, 0, 1, 1], "area": 1}`), "line 3, column 3: annotations[0]: category_id 2 is not the id of any of the 1 categories"},
		{"nameless category", `{"categories": [{"id": 1}]}`, "categories[0] (line 1, column 17): has no name (the category's name)"},
		{"category without id", `{"categories": [{"name": "x"}]}`, "categories[0] (line 1, column 17): has no id (a whole number)"},
		{"image id twice", `{"annotations": [], "categories": [], "images": [{"id": 1, "file_name": "a", "width": 1, "height": 1}, {"id": 1, "file_name": "b", "width": 1, "height": 1}]}`, "images[0] and images[1] share the id 1; ids must differ"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := parseAnnotations(strings.NewReader(tt.text), 1<<20)
			if err == nil || err.Error() != tt.want {
				t.Errorf("error = %v\nwant    %s", err, tt.want)
			}
		})
	}
}

func TestParseAnnotationsLimit(t *testing.T) {
	t.Parallel()
	if _, err := parseAnnotations(strings.NewReader(sound), int64(len(sound))); err != nil {
		t.Errorf("a file of just the limit: %v", err)
	}
	_, err := parseAnnotations(strings.NewReader(sound), int64(len(sound))-1)
	if err == nil || !strings.Contains(err.Error(), "which is the limit; take the annotations of fewer images") {
		t.Errorf("a file of one byte more than the limit: %v", err)
	}
}

func FuzzLoadAnnotations(f *testing.F) {
	f.Add([]byte(sound))
	f.Add([]byte(sound[:len(sound)/2]))
	f.Add([]byte(`{"images":[],"annotations":[],"categories":[]}`))
	f.Add([]byte(`{"images":[null],"annotations":[{"bbox":[null,1e999,{},"x"]}],"categories":[[]]}`))
	f.Add([]byte(`{"images":[{"id":1,"file_name":"..","width":1e9}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		a, err := parseAnnotations(strings.NewReader(string(text)), 1<<16)
		if err != nil {
			return
		}
		for _, image := range a.Images {
			if !filepath.IsLocal(image.FileName) || image.Width < 1 || image.Height < 1 {
				t.Fatalf("accepted %+v", image)
			}
		}
		// What was accepted can be scored, and what comes out is a precision.
		var perfect []Result
		for _, o := range a.Objects {
			if !o.Crowd {
				perfect = append(perfect, Result{ImageID: o.ImageID, CategoryID: o.CategoryID, BBox: o.BBox, Score: 1})
			}
		}
		s, err := Evaluate(a, perfect)
		if err != nil {
			t.Fatal(err)
		}
		for _, ap := range []float64{s.AP, s.AP50, s.AP75, s.APs, s.APm, s.APl} {
			if ap != NoObjects && !(ap >= 0 && ap <= 1+1e-9) {
				t.Fatalf("average precision of %v in %+v", ap, s)
			}
		}
	})
}
