package main

import (
	"gnomon/engine/detect"
	"gnomon/engine/letterbox"
)

// namedModels are those whose outputs are told apart by their names. No manifest says their family.
func namedModels() []model {
	wide := grid{width: 128, height: 64, scale: 1}
	return []model{
		{
			name: "rtdetr", about: "RT-DETR and D-FINE: labels, boxes and scores; a second input asks for the size that boxes are to be in; any batch",
			grid: wide, resize: letterbox.Stretch, metadata: licence(), manifest: rtdetrManifest, sees: true,
			build: func(g *graph, d grid) {
				image, size := value("images", "float32", -1, 3, int64(d.height), int64(d.width)), value(detect.SizesInput, "int64", -1, 2)
				image.Shape[0].Param, size.Shape[0].Param = "N", "N"
				g.Inputs = append(g.Inputs, image, size)
				g.rtdetr(g.look(image.Name, rgb01(), d), d, size.Name)
			},
		},
		{
			name: "rfdetr", about: "RF-DETR: dets as parts of the input and labels as logits, with a column more than classes; float16; mean and deviation of ImageNet",
			grid: wide, resize: letterbox.Stretch, metadata: licence(), manifest: rfdetrManifest, sees: true,
			build: func(g *graph, d grid) {
				g.Inputs = append(g.Inputs, value("input", "float16", 1, 3, int64(d.height), int64(d.width)))
				g.rfdetr(g.look(g.cast("input", float32Code), rgbImageNet(), d), d)
			},
		},
		{
			name: "yunet", about: "YuNet: twelve outputs, one class; BGR, 0 to 255; any batch, height and width, the manifest says which size",
			grid: wide, resize: letterbox.TopLeft, metadata: licence(), manifest: yunetManifest, sees: true, redsOnly: true,
			build: func(g *graph, d grid) {
				image := value("input", "float32", -1, 3, -1, -1)
				image.Shape[0].Param, image.Shape[2].Param, image.Shape[3].Param = "batch", "height", "width"
				g.Inputs = append(g.Inputs, image)
				g.yunet(g.look(image.Name, bgr255(), d), d)
			},
		},
		{
			name: "ssd", about: "an SSD as TensorFlow's zoo has it: bytes, channels last, any size; boxes, classes from 1, scores and a count, and boxes that nobody reads",
			grid: wide, resize: letterbox.Stretch, metadata: licence(), manifest: ssdManifest, sees: true,
			build: func(g *graph, d grid) {
				g.Inputs = append(g.Inputs, value("image_tensor:0", "uint8", -1, -1, -1, 3))
				x := g.transpose(g.cast("image_tensor:0", float32Code), 0, 3, 1, 2)
				g.ssd(g.look(x, rgb255(), d), d)
			},
		},
	}
}
