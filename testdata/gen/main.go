// Command gen writes gnomon's test models and test pictures: run `go run ./testdata/gen` in the repository's root.
//
// The models are detectors in earnest, of a few kilobytes each: they look at the colours in a grid and report
// coloured rectangles in the way of one family each. A picture that reaches them in the wrong colour order, size,
// place or range of values, or an output that is read in the wrong way, gives other boxes or other scores than
// expect.json says. vision.go describes what they see.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

func main() {
	out := flag.String("out", "testdata", "the `folder` to write to")
	flag.Parse()
	if err := run(*out); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

func run(dir string) error {
	files, err := generate()
	if err != nil {
		return err
	}
	for _, f := range files {
		path := filepath.Join(dir, filepath.FromSlash(f.path))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, f.data, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// file is a file to write, its path relative to testdata and with slashes.
type file struct {
	path string
	data []byte
}

// generate makes all files, in a fixed order.
func generate() ([]file, error) {
	models := allModels()
	var files []file
	for _, m := range slices.Concat(models, hostileModels()) {
		written, err := m.files()
		if err != nil {
			return nil, fmt.Errorf("model %s: %w", m.name, err)
		}
		files = append(files, written...)
	}
	pictures := allPictures()
	for _, p := range pictures {
		data, err := p.encode()
		if err != nil {
			return nil, fmt.Errorf("picture %s: %w", p.name, err)
		}
		files = append(files, file{"pictures/" + p.name, data})
	}
	expect, err := expectations(models, pictures)
	if err != nil {
		return nil, err
	}
	return append(files, file{"expect.json", expect}, file{"README.md", readme(models, hostileModels(), pictures)}), nil
}
