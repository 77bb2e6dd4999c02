package main

import (
	"bytes"
	"image"
	"image/color"
	"image/draw"
	"image/png"
)

// picture is a test picture: coloured rectangles on grey.
type picture struct {
	name, about   string // the name may have a folder
	width, height int
	objects       []object
	glare         image.Rectangle // a white area, nothing that anybody is to find
}

// object is a rectangle that is to be found. Boxes are by their edges: x1, y1, x2, y2 in pixels.
type object struct {
	class int
	box   [4]int
	paint paint
}

// paint is how strong the colour is: the value of the main channel and that of the two others.
type paint struct{ main, rest uint8 }

func strong() paint { return paint{242, 12} }
func medium() paint { return paint{192, 24} }
func weak() paint   { return paint{150, 30} }

// score is the strength of an object, as vision.go defines it.
func (o object) score() float64 { return float64(int(o.paint.main)-int(o.paint.rest)) / 255 }

func (o object) color() color.NRGBA {
	channels := [3]uint8{o.paint.rest, o.paint.rest, o.paint.rest}
	channels[o.class] = o.paint.main
	return color.NRGBA{R: channels[0], G: channels[1], B: channels[2], A: 255}
}

func (p *picture) draw() *image.NRGBA {
	img := image.NewNRGBA(image.Rect(0, 0, p.width, p.height))
	fill := func(area image.Rectangle, c color.NRGBA) {
		draw.Draw(img, area, image.NewUniform(c), image.Point{}, draw.Src)
	}
	const grey = 96
	fill(img.Bounds(), color.NRGBA{R: grey, G: grey, B: grey, A: 255})
	fill(p.glare, color.NRGBA{R: 255, G: 255, B: 255, A: 255})
	for _, o := range p.objects {
		fill(image.Rect(o.box[0], o.box[1], o.box[2], o.box[3]), o.color())
	}
	return img
}

func (p *picture) encode() ([]byte, error) {
	var b bytes.Buffer
	encoder := png.Encoder{CompressionLevel: png.BestCompression}
	err := encoder.Encode(&b, p.draw())
	return b.Bytes(), err
}

// The classes.
const red, green, blue = 0, 1, 2

// allPictures is the list of test pictures. Where the objects lie is chosen so that they meet the models' grids;
// expectations works out for which models they do.
func allPictures() []picture {
	return []picture{
		{
			name: "wide_256x128.png", about: "twice the usual input: all three sizes, five objects", width: 256, height: 128,
			objects: []object{
				{red, [4]int{32, 16, 64, 32}, strong()},
				{green, [4]int{96, 16, 128, 32}, weak()},
				{green, [4]int{128, 0, 192, 32}, strong()},
				{blue, [4]int{0, 64, 128, 128}, medium()},
				{red, [4]int{192, 64, 256, 96}, medium()},
			},
		},
		{
			name: "native_128x64.png", about: "the size of the input, nothing to scale", width: 128, height: 64,
			objects: []object{
				{red, [4]int{0, 0, 16, 8}, strong()},
				{green, [4]int{96, 16, 128, 32}, medium()},
				{blue, [4]int{112, 56, 128, 64}, weak()},
				{green, [4]int{0, 32, 64, 64}, strong()},
			},
		},
		{
			name: "huge_1024x512.png", about: "eight times the usual input", width: 1024, height: 512,
			objects: []object{
				{blue, [4]int{896, 448, 1024, 512}, strong()},
				{red, [4]int{512, 0, 1024, 256}, medium()},
			},
		},
		{
			name: "square_128x128.png", about: "bars left and right in a wide input", width: 128, height: 128,
			objects: []object{
				{red, [4]int{0, 0, 32, 16}, strong()},
				{green, [4]int{64, 32, 128, 64}, medium()},
				{blue, [4]int{96, 112, 128, 128}, strong()},
			},
		},
		{
			name: "portrait_64x128.png", about: "higher than wide", width: 64, height: 128,
			objects: []object{
				{red, [4]int{0, 0, 32, 16}, strong()},
				{green, [4]int{0, 64, 32, 80}, weak()},
				{blue, [4]int{32, 96, 64, 112}, medium()},
			},
		},
		{
			name: "panorama_512x128.png", about: "bars above and below", width: 512, height: 128,
			objects: []object{
				{red, [4]int{448, 96, 512, 128}, strong()},
				{green, [4]int{128, 64, 256, 128}, medium()},
				{blue, [4]int{0, 0, 64, 32}, strong()},
			},
		},
		{
			name: "odd_122x128.png", about: "bars of different width, 33 and 34 pixels", width: 122, height: 128,
			objects: []object{
				{red, [4]int{30, 16, 62, 32}, strong()},
				{blue, [4]int{62, 96, 94, 112}, medium()},
			},
		},
		{
			name: "tall_128x256.png", about: "for models whose pictures are stretched", width: 128, height: 256,
			objects: []object{
				{red, [4]int{16, 32, 32, 64}, strong()},
				{green, [4]int{64, 64, 96, 128}, medium()},
				{blue, [4]int{0, 128, 64, 256}, strong()},
			},
		},
		{
			name: "bright_256x128.png", about: "one object and a white area, where one model gives NaN", width: 256, height: 128,
			objects: []object{{red, [4]int{32, 16, 64, 32}, strong()}},
			glare:   image.Rect(128, 64, 160, 80),
		},
		{
			name: "reds/wide_256x128.png", about: "twice the usual input, all red: for the model of one class", width: 256, height: 128,
			objects: []object{
				{red, [4]int{0, 0, 32, 16}, strong()},
				{red, [4]int{96, 32, 128, 48}, weak()},
				{red, [4]int{192, 0, 256, 32}, medium()},
				{red, [4]int{128, 64, 256, 128}, strong()},
			},
		},
		{
			name: "reds/native_128x64.png", about: "the size of the input, all red", width: 128, height: 64,
			objects: []object{
				{red, [4]int{112, 0, 128, 8}, weak()},
				{red, [4]int{32, 16, 64, 32}, strong()},
				{red, [4]int{0, 32, 64, 64}, medium()},
			},
		},
		{
			name: "reds/square_128x128.png", about: "bars at the side, all red", width: 128, height: 128,
			objects: []object{
				{red, [4]int{32, 0, 64, 16}, strong()},
				{red, [4]int{64, 32, 128, 64}, weak()},
			},
		},
		{name: "empty_256x128.png", about: "nothing but grey: nothing to find", width: 256, height: 128},
	}
}
