package main

import (
	"bytes"
	"fmt"
)

// readme writes README.md.
func readme(models, hostile []model, pictures []picture) []byte {
	var b bytes.Buffer
	b.WriteString(`# Test models and pictures

Everything here is made by ` + "`gen`" + ` and is gnomon's own, under gnomon's licence. To make it again, run

    go run ./testdata/gen

in the repository's root; ` + "`go test ./testdata/gen`" + ` checks that the files are what it makes. (Go leaves folders named
testdata out of ` + "`./...`" + `, so the package has to be named.)

The models look at the colours in a grid of cells and report red, green and blue rectangles of three sizes. Wrong
colours, a wrong letterbox, a wrong range of values, a wrong layout or an output that is read in a wrong way gives other
boxes or other scores. How they see is described in ` + "`gen/vision.go`" + `.

` + "`expect.json`" + ` says what is in each picture (box by its edges x1, y1, x2, y2 in pixels of the picture, and score), and
which models have to find exactly that: those for which the objects lie on the model's grid after resizing. Models under
` + "`not_finite`" + ` give NaN elsewhere in that picture.

| model | input | read with | what |
|---|---|---|---|
`)
	for _, m := range models {
		from := "its metadata"
		switch {
		case m.manifest != "":
			from = fmt.Sprintf("[%s.yaml](models/%s.yaml)", m.name, m.name)
		case !m.sees:
			from = "nothing"
		}
		fmt.Fprintf(&b, "| [%s.onnx](models/%s.onnx) | %dx%d, %s | %s | %s |\n", m.name, m.name, m.grid.width, m.grid.height, m.resize, from, m.about)
	}
	b.WriteString("\nThese can be read like any other, and do harm when they are loaded or run; nothing but the trial of a model loads them.\n\n" +
		"| model | what |\n|---|---|\n")
	for _, m := range hostile {
		fmt.Fprintf(&b, "| [%s.onnx](%s.onnx) | %s |\n", m.name, m.path(), m.about)
	}
	b.WriteString("\n| picture | what |\n|---|---|\n")
	for _, p := range pictures {
		fmt.Fprintf(&b, "| [%s](pictures/%s) | %s |\n", p.name, p.name, p.about)
	}
	return b.Bytes()
}
