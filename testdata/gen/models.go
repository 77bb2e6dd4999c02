package main

import (
	"crypto/sha256"
	"fmt"
	"strings"

	"gnomon/engine/letterbox"
	"gnomon/models/onnx"
)

// model is a test model: models/NAME.onnx, and models/NAME.yaml if it has a manifest.
type model struct {
	name     string
	about    string // for the README
	folder   string // empty: models
	grid     grid
	resize   letterbox.Mode // how pictures are to be fitted into the input
	metadata []onnx.Property
	manifest string // SHA256 in it stands for the digest of the ONNX file; empty for none
	build    func(g *graph, d grid)

	sees     bool // finds the objects in expect.json
	redsOnly bool // has one class, red, and does not see the others
	dazzling bool // its scores are not finite where a picture is bright
}

// files makes the files of a model.
func (m *model) files() ([]file, error) {
	g := &graph{Graph: onnx.Graph{Name: m.name}}
	m.build(g, m.grid)
	data, err := (&onnx.Model{
		IRVersion: 7, Opset: 13, Producer: "gnomon testdata/gen", Description: "a test model of gnomon: " + m.about,
		Graph: g.Graph, Metadata: m.metadata,
	}).Marshal()
	if err != nil {
		return nil, err
	}
	files := []file{{m.path() + ".onnx", data}}
	if m.manifest == "" {
		return files, nil
	}
	manifest := strings.ReplaceAll(m.manifest, "SHA256", fmt.Sprintf("%x", sha256.Sum256(data)))
	return append(files, file{m.path() + ".yaml", []byte(manifest)}), nil
}

// path is that of the files, without an ending.
func (m *model) path() string {
	if m.folder != "" {
		return m.folder + "/" + m.name
	}
	return "models/" + m.name
}

// ultralytics is metadata in the form of the Ultralytics exporters: Python literals.
func ultralytics(d grid, more ...onnx.Property) []onnx.Property {
	return append([]onnx.Property{
		{Key: "author", Value: "gnomon"},
		{Key: "license", Value: "Apache-2.0"},
		{Key: "stride", Value: "32"},
		{Key: "task", Value: "detect"},
		{Key: "batch", Value: "1"},
		{Key: "imgsz", Value: fmt.Sprintf("[%d, %d]", d.height, d.width)},
		{Key: "names", Value: `{0: 'red', 1: "gardener's green", 2: 'blue'}`},
		{Key: "channels", Value: "3"},
	}, more...)
}

// licence is the metadata of models whose manifest says the rest.
func licence() []onnx.Property {
	return []onnx.Property{{Key: "author", Value: "gnomon"}, {Key: "license", Value: "Apache-2.0"}}
}

// picture declares a float32 input "images" that lies channels-first, and returns its name.
func (g *graph) picture(d grid) string {
	g.Inputs = append(g.Inputs, value("images", "float32", 1, 3, int64(d.height), int64(d.width)))
	return "images"
}

// labels are the names of the model's classes.
func (m *model) labels() []string {
	if m.redsOnly {
		return classes()[:1]
	}
	return classes()
}

// allModels is the list of test models.
func allModels() []model { return append(plainModels(), namedModels()...) }

// plainModels are those whose outputs are told apart by their shapes.
func plainModels() []model {
	wide := grid{width: 128, height: 64, scale: 1}
	square := grid{width: 64, height: 64, scale: 1}
	large := grid{width: 256, height: 128, scale: 2}
	return []model{
		{
			name: "yolov8", about: "YOLOv8 layout; all that is needed is in the Ultralytics metadata",
			grid: wide, resize: letterbox.Center, metadata: ultralytics(wide), sees: true,
			build: func(g *graph, d grid) {
				g.output("output0", g.yolov8(g.look(g.picture(d), rgb01(), d), d), "float32", 1, 7, d.rows())
			},
		},
		{
			name: "yolov8_square", about: "the same for square pictures of 64x64",
			grid: square, resize: letterbox.Center, metadata: ultralytics(square), sees: true,
			build: func(g *graph, d grid) {
				g.output("output0", g.yolov8(g.look(g.picture(d), rgb01(), d), d), "float32", 1, 7, d.rows())
			},
		},
		{
			name: "yolov5", about: "YOLOv5 layout; the manifest says everything that a manifest can say about it",
			grid: wide, resize: letterbox.Center, metadata: licence(), manifest: yolov5Manifest, sees: true,
			build: func(g *graph, d grid) {
				g.output("output", g.yolov5(g.look(g.picture(d), rgb01(), d), d), "float32", 1, d.rows(), 8)
			},
		},
		{
			name: "end_to_end", about: "final boxes, as YOLOv10 gives them; Ultralytics metadata with end2end",
			grid: wide, resize: letterbox.Center, sees: true,
			metadata: ultralytics(wide, onnx.Property{Key: "end2end", Value: "True"}),
			build: func(g *graph, d grid) {
				g.output("output0", g.endToEnd(g.look(g.picture(d), rgb01(), d), d), "float32", 1, d.rows(), 6)
			},
		},
		{
			name: "yolox", about: "YOLOX layout, raw: the grid and the exponential are still to be applied; BGR, 0 to 255",
			grid: wide, resize: letterbox.TopLeft, metadata: licence(), manifest: yoloxManifest, sees: true,
			build: func(g *graph, d grid) {
				g.output("output", g.yolox(g.look(g.picture(d), bgr255(), d), d), "float32", 1, 2*d.rows(), 8)
			},
		},
		{
			name: "nanodet", about: "NanoDet layout: scores and distance bins for each stride; BGR, mean and deviation of ImageNet",
			grid: wide, resize: letterbox.Stretch, metadata: licence(), manifest: nanodetManifest, sees: true,
			build: func(g *graph, d grid) {
				g.nanodet(g.look(g.picture(d), bgrNanoDet(), d), d)
			},
		},
		{
			name: "nanodet_plus", about: "NanoDet-Plus layout: scores and distance bins of strides 8 to 64 in one output; anchors are the corners of cells",
			grid: wide, resize: letterbox.Stretch, metadata: licence(), manifest: nanodetPlusManifest, sees: true,
			build: func(g *graph, d grid) {
				out := g.nanodetPlus(g.look(g.picture(d), bgrNanoDet(), d), d)
				g.output("output", out, "float32", 1, 2*d.rows()+2, 3+4*nanodetBins)
			},
		},
		{
			name: "nhwc", about: "YOLOv8 layout of the output, but the input lies channels-last; BGR, 0 to 255",
			grid: wide, resize: letterbox.Center, metadata: licence(), manifest: nhwcManifest, sees: true,
			build: func(g *graph, d grid) {
				g.Inputs = append(g.Inputs, value("image", "float32", 1, int64(d.height), int64(d.width), 3))
				x := g.transpose("image", 0, 3, 1, 2)
				g.output("output", g.yolov8(g.look(x, bgr255(), d), d), "float32", 1, 7, d.rows())
			},
		},
		{
			name: "uint8", about: "YOLOv8 layout of the output, but the input is bytes and lies channels-last",
			grid: wide, resize: letterbox.Center, metadata: licence(), manifest: uint8Manifest, sees: true,
			build: func(g *graph, d grid) {
				g.Inputs = append(g.Inputs, value("image", "uint8", 1, int64(d.height), int64(d.width), 3))
				x := g.transpose(g.cast("image", float32Code), 0, 3, 1, 2)
				g.output("output", g.yolov8(g.look(x, rgb255(), d), d), "float32", 1, 7, d.rows())
			},
		},
		{
			name: "float16", about: "YOLOv8 layout; input and output are float16",
			grid: wide, resize: letterbox.Center, metadata: ultralytics(wide, onnx.Property{Key: "half", Value: "True"}), sees: true,
			build: func(g *graph, d grid) {
				g.Inputs = append(g.Inputs, value("images", "float16", 1, 3, int64(d.height), int64(d.width)))
				found := g.yolov8(g.look(g.cast("images", float32Code), rgb01(), d), d)
				g.output("output0", g.cast(found, float16Code), "float16", 1, 7, d.rows())
			},
		},
		{
			name: "dynamic", about: "YOLOv8 layout for any batch, height and width; the manifest says which size, and its cells are 32x16",
			grid: large, resize: letterbox.Center, metadata: licence(), manifest: dynamicManifest, sees: true,
			build: func(g *graph, d grid) {
				image := value("images", "float32", -1, 3, -1, -1)
				image.Shape[0].Param, image.Shape[2].Param, image.Shape[3].Param = "batch", "height", "width"
				g.Inputs = append(g.Inputs, image)
				g.output("output0", g.dynamic(g.look("images", rgb01(), d), d), "float32", -1, 7, -1)
				out := g.Outputs[0].Shape
				out[0].Param, out[2].Param = "batch", "anchors"
			},
		},
		{
			name: "nan", about: "YOLOv8 layout; the scores of bright cells (mean over 0.8) are NaN",
			grid: wide, resize: letterbox.Center, metadata: ultralytics(wide), sees: true, dazzling: true,
			build: func(g *graph, d grid) {
				x := g.picture(d)
				g.output("output0", g.yolov8(g.dazzled(g.look(x, rgb01(), d), x, d), d), "float32", 1, 7, d.rows())
			},
		},
		{
			name: "unknown_head", about: "outputs of no family that gnomon knows: a map of scores and a map of sizes; must be refused",
			grid: wide, resize: letterbox.Center, metadata: licence(),
			build: func(g *graph, d grid) {
				columns, rows := d.cells(0)
				heat := g.look(g.picture(d), rgb01(), d)[0]
				g.output("heat", heat, "float32", 1, 3, rows, columns)
				g.output("size", g.maxOf(heat, 1), "float32", 1, 1, rows, columns)
			},
		},
	}
}
