package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// maxText bounds a licence text: the longest in use, the GNU ones, have about 35 KB.
const maxText = 1 << 20

// text is a file that states terms.
type text struct {
	name    string // relative to the module's root, with slashes
	content string
	terms   bool // a licence, to be classified; else a notice that goes with one
}

// findTexts reads the licences and notices of a module that apply to its linked packages: those in the packages'
// directories and in the directories above them, up to the module's root. Texts beside code that is not linked do
// not count.
func findTexts(m module) ([]text, error) {
	var texts []text
	for _, dir := range placesOf(m) {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return nil, fmt.Errorf("look for the licence of %s: %w", m.path, err)
		}
		for _, e := range entries {
			terms, notice := kindOf(e.Name())
			if e.IsDir() || !terms && !notice {
				continue
			}
			full := filepath.Join(dir, e.Name())
			content, err := readText(full)
			if err != nil {
				return nil, fmt.Errorf("read the licence of %s: %w", m.path, err)
			}
			name, err := filepath.Rel(m.dir, full)
			if err != nil {
				return nil, fmt.Errorf("name the licence of %s: %w", m.path, err)
			}
			texts = append(texts, text{name: filepath.ToSlash(name), content: content, terms: terms})
		}
	}
	slices.SortFunc(texts, func(a, b text) int { return strings.Compare(a.name, b.name) })
	return texts, nil
}

// placesOf lists the directories of the linked packages and those above them, each once.
func placesOf(m module) []string {
	places := []string{m.dir}
	for _, dir := range m.dirs {
		for strings.HasPrefix(dir, m.dir+string(filepath.Separator)) {
			places = append(places, dir)
			dir = filepath.Dir(dir)
		}
	}
	slices.Sort(places)
	return slices.Compact(places)
}

// kindOf tells from a file's name whether it states terms, or is a notice that terms refer to.
func kindOf(name string) (terms, notice bool) {
	switch strings.ToLower(filepath.Ext(name)) {
	case ".go", ".c", ".cc", ".cpp", ".h", ".hpp", ".s", ".sh", ".py", ".js", ".json", ".yml", ".yaml", ".tmpl":
		return false, false
	}
	stem := strings.ToLower(name)
	if i := strings.IndexAny(stem, ".-_"); i >= 0 {
		stem = stem[:i]
	}
	switch stem {
	case "license", "licence", "licenses", "licences", "copying", "unlicense", "epl", "edl":
		return true, false
	case "notice", "notices", "patents", "copyright":
		return false, true
	}
	return false, false
}

func readText(name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxText+1))
	if err != nil {
		return "", err
	}
	if len(b) > maxText {
		return "", fmt.Errorf("%s has more than %d bytes: too long for a licence", name, maxText)
	}
	return string(b), nil
}

// holderLine is a copyright notice with a year, which the placeholders inside licences ("[yyyy]") lack.
func holderLine() *regexp.Regexp {
	return regexp.MustCompile(`(?im)^[\s#*/]*copyright\s+(?:\(c\)\s*|©\s*)?(\d{4}.*)$`)
}

// holders joins the copyright notices in texts, each once: "2009 The Go Authors; 2019 Klaus Post". It is empty where
// no text names a holder.
func holders(texts []text) string {
	rights := regexp.MustCompile(`(?i)[\s,]*all rights reserved\.?`)
	address := regexp.MustCompile(`\s*<[^>]*>`)
	abbreviation := regexp.MustCompile(`\b(?:Inc|Ltd|Corp|Co)\.$`)
	var names []string
	for _, t := range texts {
		for _, found := range holderLine().FindAllStringSubmatch(t.content, -1) {
			name := rights.ReplaceAllString(found[1], "")
			name = strings.TrimSpace(address.ReplaceAllString(name, ""))
			if !abbreviation.MatchString(name) {
				name = strings.TrimSuffix(name, ".")
			}
			if name != "" && !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	return strings.Join(names, "; ")
}
