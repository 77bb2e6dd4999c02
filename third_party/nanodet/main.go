// Command nanodet rebuilds gnomon's default model, NanoDet-g 416, as an ONNX file.
//
//	go run ./third_party/nanodet -in DIR_OR_JSON -out nanodet-g.onnx
//
// The weights come as a TensorFlow.js graph model, nanodet.json with nanodet.bin beside it. The same input gives
// the same bytes. The weights are stored as float32 although the source has float16: compressed, as gnomon
// carries them, that costs 0.9 MB of 7.9, and in return no runtime has to widen them.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
)

func main() {
	in := flag.String("in", "", "the TensorFlow.js model: `nanodet.json`, or the folder that holds it")
	out := flag.String("out", "nanodet-g.onnx", "the ONNX `file` to write")
	flag.Parse()
	if *in == "" || flag.NArg() > 0 {
		fmt.Fprintln(os.Stderr, "usage: nanodet -in DIR_OR_JSON -out nanodet-g.onnx")
		os.Exit(2)
	}
	if err := run(*in, *out); err != nil {
		fmt.Fprintln(os.Stderr, "nanodet:", err)
		os.Exit(1)
	}
}

// run converts the model at in and writes it to out, whole or not at all.
func run(in, out string) error {
	path := in
	if info, err := os.Stat(in); err != nil {
		return err
	} else if info.IsDir() {
		path = filepath.Join(in, "nanodet.json")
	}
	model, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	data, err := rebuild(model, func(name string) ([]byte, error) {
		return os.ReadFile(filepath.Join(filepath.Dir(path), name))
	})
	if err != nil {
		return fmt.Errorf("convert %s: %w", path, err)
	}
	return replaceFile(out, data)
}

// replaceFile writes a file beside its place and moves it there.
func replaceFile(path string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Chmod(0o644), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}
