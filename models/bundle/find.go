package bundle

import (
	"path"
	"slices"
	"strings"
)

// goldenName is where golden pictures are described, relative to the model's folder.
const goldenName = "golden/golden.json"

// isModel tells whether a name is that of an ONNX file.
func isModel(name string) bool { return strings.EqualFold(path.Ext(name), ".onnx") }

// Find says which file is which.
func Find(files []File) (Contents, error) {
	c := Contents{Files: files}
	var names, models []string
	for _, f := range files {
		names = append(names, f.Name)
		if isModel(f.Name) {
			models = append(models, f.Name)
		}
	}
	switch len(models) {
	case 0:
		return Contents{}, fail(CodeIncomplete, "of %d files none ends in .onnx; add the model", len(files))
	case 1:
		c.Model = models[0]
	default:
		return Contents{}, fail(CodeAmbiguous, "%.100q and %.100q are both models; leave one of them", models[0], models[1])
	}
	var err error
	if c.Manifest, err = findManifest(c.Model, names); err != nil {
		return Contents{}, err
	}
	if c.Golden, err = findGolden(c.Model, names); err != nil {
		return Contents{}, err
	}
	return c, nil
}

// findManifest finds the manifest of a model; "" when there is none. A file that somebody meant to be one must not be
// passed over: without it a model may be read in a wrong way and nobody would notice.
func findManifest(model string, names []string) (string, error) {
	dir := path.Dir(model)
	own := strings.TrimSuffix(model, path.Ext(model)) + ".yaml"
	if slices.Contains(names, own) {
		return own, nil
	}
	var usual, others, misplaced []string
	for _, name := range names {
		base, beside := path.Base(name), path.Dir(name) == dir
		named := base == "model.yaml" || base == "manifest.yaml" || base == path.Base(own)
		switch {
		case beside && named:
			usual = append(usual, name)
		case beside && path.Ext(name) == ".yaml":
			others = append(others, name)
		case named, beside && path.Ext(name) == ".yml":
			misplaced = append(misplaced, name)
		}
	}
	if len(usual) > 0 {
		others = usual
	}
	switch {
	case len(others) > 1:
		return "", fail(CodeAmbiguous, "%.100q and %.100q may both be the manifest; call it %.100q", others[0], others[1], own)
	case len(others) == 1:
		return others[0], nil
	case len(misplaced) > 0:
		return "", fail(CodeAmbiguous, "%.100q would not be read; if it is the manifest call it %.100q, else leave it out", misplaced[0], own)
	}
	return "", nil
}

// findGolden finds the description of the golden pictures; "" when there is none.
func findGolden(model string, names []string) (string, error) {
	own := path.Join(path.Dir(model), goldenName)
	for _, name := range names {
		if name != own && strings.HasSuffix("/"+name, "/"+goldenName) {
			return "", fail(CodeAmbiguous, "%.100q does not lie beside the model; move it to %.100q, or leave it out", name, own)
		}
	}
	if slices.Contains(names, own) {
		return own, nil
	}
	return "", nil
}
