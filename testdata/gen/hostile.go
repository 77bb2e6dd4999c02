package main

import (
	"math"

	"gnomon/models/onnx"
)

// Models that can be read like any other, and do harm when they are loaded or run: what the trial in a process of its
// own is for. Each reports what yolov8 reports; the harm adds nothing to it, but the runtime does not know that and
// cannot leave it out.
func hostileModels() []model {
	wide := grid{width: 128, height: 64, scale: 1}
	var models []model
	for _, m := range []struct {
		name, about string
		harm        func(g *graph, pixel string) string
	}{
		{"crash", "ends the process that loads it: a division that the processor answers with an exception", (*graph).crash},
		{"greedy", "needs 4 GB for one tensor when it is run", (*graph).greedy},
		{"endless", "computes for a minute or more", (*graph).endless},
	} {
		models = append(models, model{
			name: m.name, about: m.about, folder: "hostile", grid: wide, metadata: ultralytics(wide),
			build: func(g *graph, d grid) {
				x := g.picture(d)
				pixel := g.reshape(g.op("Slice", []string{x, g.ints(0, 0, 0, 0), g.ints(1, 1, 1, 1)}), 1, 1)
				nothing := g.op("Clip", []string{m.harm(g, pixel), g.number(0), g.number(0)})
				g.output("output0", g.add(g.yolov8(g.look(x, rgb01(), d), d), nothing), "float32", 1, 7, d.rows())
			},
		})
	}
	return models
}

// crash divides the least whole number by -1. The result has no room in 64 bits, and x86 processors raise the exception
// of a division by zero. Both are constant, so the runtime computes it while it loads the model.
func (g *graph) crash(string) string {
	return g.cast(g.op("Div", []string{g.axis(math.MinInt64), g.axis(-1)}), float32Code)
}

// greedy makes a square of one pixel.
func (g *graph) greedy(pixel string) string {
	const side = 1 << 15
	return g.mean(g.op("Expand", []string{pixel, g.ints(side, side)}))
}

// endless multiplies matrices of 16 MB, one after the other: a run can be stopped between two.
func (g *graph) endless(pixel string) string {
	const side, products = 2048, 200
	first := g.op("Expand", []string{pixel, g.ints(side, side)})
	m := first
	for range products {
		m = g.op("MatMul", []string{m, first})
	}
	return g.mean(m)
}

// mean is one number without dimensions.
func (g *graph) mean(x string) string {
	return g.op("ReduceMean", []string{x}, onnx.Int("keepdims", 0))
}
