package main

import "gnomon/models/onnx"

// What the models see. The input is divided into cells of 16x8 pixels (width x height); a cell has a colour if
// one of red, green and blue stands out from the two others, and its strength is how far:
//
//	strength of red = (R - (G + B) / 2) / 255, at least 0, of the means over the cell
//
// A block of 2x2 cells has the least strength of the four, and so has a block of 2x2 blocks. Three sizes of
// rectangles on a fixed grid can be told that way, and each is reported once: a cell takes off what its block
// reports, a block what the larger one does. The strength is the score, the rectangle is the box.
//
// The rectangles are wider than high, so that width and height cannot be mixed up unnoticed.
const (
	cellWidth  = 16
	cellHeight = 8
	sizes      = 3 // of rectangles: cells, blocks of 2x2 cells, blocks of 2x2 blocks
)

// classes are the labels of all models. The apostrophe is there because labels travel through YAML, JSON and
// Python literals.
func classes() []string { return []string{"red", "gardener's green", "blue"} }

// encoding is how a model takes its pixels: x = (v*scale - mean) / std for a byte v, in the model's colour order.
type encoding struct {
	bgr       bool
	scale     float32
	mean, std [3]float32
}

func rgb01() encoding { return encoding{scale: 1. / 255, std: [3]float32{1, 1, 1}} }

func bgr255() encoding { return encoding{bgr: true, scale: 1, std: [3]float32{1, 1, 1}} }

func rgb255() encoding { return encoding{scale: 1, std: [3]float32{1, 1, 1}} }

// rgbImageNet is mean and standard deviation of ImageNet for pixels from 0 to 1.
func rgbImageNet() encoding {
	return encoding{scale: 1. / 255, mean: [3]float32{0.485, 0.456, 0.406}, std: [3]float32{0.229, 0.224, 0.225}}
}

// bgrNanoDet is NanoDet's: mean and standard deviation of ImageNet.
func bgrNanoDet() encoding {
	return encoding{bgr: true, scale: 1, mean: [3]float32{103.53, 116.28, 123.675}, std: [3]float32{57.375, 57.12, 58.395}}
}

// strengths returns the weights and the bias of a 1x1 convolution from encoded pixels to the three strengths,
// before they are cut off at 0.
func (e encoding) strengths() (weights, bias []float32) {
	for class := range 3 {
		var b float64
		for channel := range 3 {
			color := channel
			if e.bgr {
				color = 2 - channel
			}
			share := -0.5
			if color == class {
				share = 1
			}
			// v/255 = (x*std + mean) / (scale*255)
			share /= float64(e.scale) * 255
			weights = append(weights, float32(share*float64(e.std[channel])))
			b += share * float64(e.mean[channel])
		}
		bias = append(bias, float32(b))
	}
	return weights, bias
}

// grid is the size of a model's input and of its cells, in pixels.
type grid struct {
	width, height int
	scale         int // cells are so many times 16x8; larger for the model that takes larger pictures
}

// cells is the number of columns and rows of the given size of rectangles.
func (d grid) cells(size int) (columns, rows int64) {
	return int64(d.width / d.scale / (cellWidth << size)), int64(d.height / d.scale / (cellHeight << size))
}

// seen is what was seen of each size: tensors 1 x 3 x rows x columns of strengths, without what a larger
// rectangle reports.
type seen [sizes]string

// look adds the nodes from an encoded picture, 1x3xHxW, to what is seen in it.
func (g *graph) look(x string, e encoding, d grid) seen {
	means := g.means(x, d)
	weights, bias := e.strengths()
	strengths := g.op("Conv", []string{means, g.floats([]int64{3, 3, 1, 1}, weights...), g.floats([]int64{3}, bias...)})
	var whole [sizes]string
	whole[0] = g.op("Clip", []string{strengths, g.number(0), g.number(1)})
	for size := 1; size < sizes; size++ {
		// The least of four is the negated maximum of the negated.
		largest := g.op("MaxPool", []string{g.neg(whole[size-1])}, onnx.Ints("kernel_shape", 2, 2), onnx.Ints("strides", 2, 2))
		whole[size] = g.neg(largest)
	}
	var s seen
	for size := range s {
		s[size] = whole[size]
		if size+1 < sizes {
			s[size] = g.sub(whole[size], g.repeat(whole[size+1], 2, 2))
		}
	}
	return s
}

// means averages over the cells.
func (g *graph) means(x string, d grid) string {
	h, w := int64(cellHeight*d.scale), int64(cellWidth*d.scale)
	return g.op("AveragePool", []string{x}, onnx.Ints("kernel_shape", h, w), onnx.Ints("strides", h, w))
}
