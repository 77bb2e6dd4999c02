package models

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"gnomon/config/yamldoc"
	"gnomon/engine/detect"
	"gnomon/models/onnx"
)

// MaxModelSize is the largest model in bytes that is read into memory: the ONNX file, with the weights that it has in
// other files. The largest detectors in use have about 700 MB; the devices that gnomon runs on have a few gigabytes for
// everything.
const MaxModelSize = 1 << 30

// Model is an ONNX file in memory and how to read it.
type Model struct {
	Spec     *Spec
	Manifest *Manifest  // nil when there is none
	Info     *onnx.Info // what the file says about itself
	Path     string     // of the file; empty for a model that came from memory
	SHA256   string     // of the ONNX file as it lies on the disk, 64 lower-case hexadecimal digits
	// Bytes is the model, complete in itself: the file, or if that has weights in other files the file with these put
	// inside, which then has another digest than SHA256. Shared, not to be changed; nobody here needs it any more, so
	// it may be let go.
	Bytes []byte

	name string // what errors call it
}

// Load reads the ONNX file at path and its manifest, and resolves them. With an empty manifestPath the manifest is the
// file beside the model that has its name and the ending .yaml, if there is one.
//
// Errors name the file and say what is wrong with it: no such file (wrapping fs.ErrNotExist), a directory, empty, not
// ONNX, truncated, weights in other files that the manifest does not list or that do not fit, or what Resolve and
// LoadManifest say.
//
// Weights in other files are put inside the model, which for that time takes the memory of both and of the largest
// tensor.
func Load(path, manifestPath string) (*Model, error) {
	data, err := readModel(path)
	if err != nil {
		return nil, fmt.Errorf("model %s: %w", path, err)
	}
	if manifestPath == "" {
		if manifestPath, err = manifestBeside(path); err != nil {
			return nil, fmt.Errorf("model %s: %w", path, err)
		}
	}
	var m *Manifest
	if manifestPath != "" {
		if m, err = LoadManifest(manifestPath); err != nil {
			return nil, err
		}
	}
	return newModel(&Model{Manifest: m, Path: path, Bytes: data, name: path})
}

// LoadBytes is Load for a model in memory, with its manifest or nil. name stands for the file's name: errors use it,
// and without its ending it names a model whose manifest does not. data is kept, not copied.
func LoadBytes(name string, data, manifest []byte) (*Model, error) {
	var m *Manifest
	if manifest != nil {
		var err error
		if m, err = ParseManifest(trimExt(name)+".yaml", manifest); err != nil {
			return nil, err
		}
	}
	return newModel(&Model{Manifest: m, Bytes: data, name: name})
}

// newModel inspects the bytes, checks the digest, puts weights from other files inside and resolves.
func newModel(model *Model) (*Model, error) {
	fail := func(err error) (*Model, error) {
		var inManifest *yamldoc.Error
		if errors.As(err, &inManifest) {
			return nil, err // it names the manifest and the lines
		}
		return nil, fmt.Errorf("model %s: %w", model.name, err)
	}
	if len(model.Bytes) == 0 {
		return fail(errors.New("the file is empty"))
	}
	info, err := onnx.Inspect(model.Bytes)
	if err != nil {
		return fail(err)
	}
	sum := sha256.Sum256(model.Bytes)
	model.Info, model.SHA256 = info, hex.EncodeToString(sum[:])
	if m := model.Manifest; m != nil && m.SHA256 != "" && !strings.EqualFold(m.SHA256, model.SHA256) {
		return fail(m.report([]yamldoc.Problem{{Path: "sha256", Message: fmt.Sprintf("sha256 is %s, but %s has %s; the manifest belongs to another file, or the file is damaged", strings.ToLower(m.SHA256), model.name, model.SHA256)}}))
	}
	if err := model.inline(); err != nil {
		return fail(err)
	}
	if err := model.Resolve(nil); err != nil {
		if errors.As(err, &undecided{}) && model.Manifest == nil {
			err = fmt.Errorf("%w (it has no manifest; that would be the file %s)", err, trimExt(filepath.Base(model.name))+".yaml")
		}
		return fail(err)
	}
	return model, nil
}

// Resolve makes the Spec anew from the shapes that the outputs really have, once the runtime has told them. On an
// error the model keeps the Spec that it has. It must not run while others read Spec.
func (m *Model) Resolve(outs []detect.TensorInfo) error {
	spec, err := Resolve(m.Manifest, m.Info, outs)
	if err != nil {
		return err
	}
	if spec.Name == "" {
		spec.Name = trimExt(filepath.Base(m.name))
		spec.Origins["name"] = Origin{Value: spec.Name, Where: FromFile, Why: "its name"}
	}
	if spec.Version == "" {
		spec.Version = m.SHA256[:shortDigest]
		spec.Origins["version"] = Origin{Value: spec.Version, Where: FromFile, Why: "the beginning of its sha256"}
	}
	m.Spec = spec
	return nil
}

// Tensors are the inputs and outputs as the model's file describes them, with -1 for what it leaves open. The caller owns
// them.
func (m *Model) Tensors() (inputs, outputs []detect.TensorInfo) {
	return tensorInfos(m.Info.Inputs), tensorInfos(m.Info.Outputs)
}

// shortDigest is how many digits of a digest stand for a version: enough to tell the models of a fleet apart.
const shortDigest = 12

func readModel(path string) ([]byte, error) {
	f, info, err := yamldoc.OpenFile(yamldoc.AnyFolder{}, path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	switch {
	case info.Size() == 0:
		return nil, errors.New("the file is empty")
	case info.Size() > MaxModelSize:
		return nil, fmt.Errorf("the file has %d bytes, more than the %d that are allowed", info.Size(), MaxModelSize)
	}
	// The buffer is made once, in the size that the file has now; a file that is being written may still change.
	data := make([]byte, info.Size())
	if _, err := io.ReadFull(f, data); err != nil {
		return nil, fmt.Errorf("read the file: %w", err)
	}
	return data, nil
}

// manifestBeside finds the manifest of the model at path; "" when there is none.
func manifestBeside(path string) (string, error) {
	beside := trimExt(path) + ".yaml"
	_, err := os.Stat(beside)
	if err == nil {
		return beside, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("look for its manifest: %w", err)
	}
	if short := trimExt(path) + ".yml"; exists(short) {
		return "", fmt.Errorf("the manifest beside it ends in .yml and would not be read; rename %s to %s", short, beside)
	}
	return "", nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func trimExt(path string) string { return strings.TrimSuffix(path, filepath.Ext(path)) }
