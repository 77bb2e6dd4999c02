package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"slices"
	"strings"
)

// foreignCgo lists the packages of other modules, reached from this one, that use cgo: themselves or through what
// they import. The value is the next step on the way to the cgo, "" for a package that has it itself. The standard
// library is left out; it does without cgo when it has to.
func foreignCgo(root string, m *module) (map[string]string, error) {
	patterns := []string{"./..."}
	for dir := range m.packages {
		if strings.HasPrefix(dir, "testdata/gen") { // wildcards leave testdata out
			patterns = append(patterns, "./testdata/gen/...")
			break
		}
	}
	args := append([]string{"list", "-deps", "-json=ImportPath,Standard,CgoFiles,Imports,Module"}, patterns...)
	list := exec.Command("go", args...)
	list.Dir = root
	list.Env = append(os.Environ(), "CGO_ENABLED=1") // without it the go tool hides the files in question
	var stdout, stderr bytes.Buffer
	list.Stdout, list.Stderr = &stdout, &stderr
	if err := list.Run(); err != nil {
		return nil, fmt.Errorf("go list: %w: %s", err, bytes.TrimSpace(stderr.Bytes()))
	}
	cgo := map[string]string{}
	for dec := json.NewDecoder(&stdout); ; {
		var p struct {
			ImportPath string
			Standard   bool
			CgoFiles   []string
			Imports    []string
			Module     *struct{ Main bool }
		}
		err := dec.Decode(&p)
		if errors.Is(err, io.EOF) {
			return cgo, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read the output of go list: %w", err)
		}
		if p.Standard || p.Module != nil && p.Module.Main {
			continue
		}
		if len(p.CgoFiles) > 0 {
			cgo[p.ImportPath] = ""
			continue
		}
		// Dependencies are listed before those who import them, so their entries are there.
		for _, imported := range p.Imports {
			if _, uses := cgo[imported]; uses {
				cgo[p.ImportPath] = imported
				break
			}
		}
	}
}

// cgoUse is where a package of ours comes to need cgo.
type cgoUse struct {
	file  string
	line  int
	chain []string // import paths or directories from what is imported down to the cgo; empty for import "C"
}

// cgoUses finds the packages of ours that need cgo outside their tests.
func (m *module) cgoUses(foreign map[string]string) map[string]cgoUse {
	uses := map[string]cgoUse{}
	done := map[string]bool{}
	var visit func(dir string)
	visit = func(dir string) {
		if done[dir] {
			return
		}
		done[dir] = true
		for _, f := range m.packages[dir].files {
			if f.test {
				continue
			}
			for _, i := range f.imports {
				if chain, needs := m.chain(i.path, foreign, uses, visit); needs {
					uses[dir] = cgoUse{file: f.name, line: i.line, chain: chain}
					return
				}
			}
		}
	}
	for _, dir := range m.dirs() {
		visit(dir)
	}
	return uses
}

// chain follows an import down to cgo; ok is false when it does not lead there.
func (m *module) chain(importPath string, foreign map[string]string, uses map[string]cgoUse, visit func(string)) (chain []string, ok bool) {
	if importPath == "C" {
		return nil, true
	}
	if dir, ours := m.dir(importPath); ours {
		if m.packages[dir] == nil {
			return nil, false
		}
		visit(dir)
		use, needs := uses[dir]
		return append([]string{name(dir)}, use.chain...), needs
	}
	for _, known := range knownCgo() {
		if importPath == known || strings.HasPrefix(importPath, known+"/") {
			return []string{importPath}, true
		}
	}
	next, needs := foreign[importPath]
	if !needs {
		return nil, false
	}
	chain = []string{importPath}
	for next != "" {
		chain = append(chain, next)
		next = foreign[next]
	}
	return chain, true
}

// dir is the directory of one of our packages; false for those of others.
func (m *module) dir(importPath string) (string, bool) {
	if importPath == m.path {
		return ".", true
	}
	dir, ours := strings.CutPrefix(importPath, m.path+"/")
	return path.Clean(dir), ours
}

// dirs lists the packages' directories in order.
func (m *module) dirs() []string {
	dirs := make([]string, 0, len(m.packages))
	for dir := range m.packages {
		dirs = append(dirs, dir)
	}
	slices.Sort(dirs)
	return dirs
}
