package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
)

// releaseTags are the build tags of bin/gnomon, as third_party/native.sh sets them: what is linked must not depend on
// the flags of whoever runs the check.
const releaseTags = "customenv,opencv"

// releaseArchs are the processors that gnomon is built for; some modules are linked on one of them only.
func releaseArchs() []string { return []string{"amd64", "arm64"} }

// module is a module of others with at least one package inside the program.
type module struct {
	path    string
	version string   // with what replaces it, if something does
	dir     string   // its root in the module cache
	dirs    []string // directories of its linked packages, sorted
	users   []string // packages of ours, or else modules of others, that import it; sorted
}

// listed is what is needed of a package from go list -json.
type listed struct {
	ImportPath string
	Dir        string
	Imports    []string
	Module     *struct {
		Path, Version, Dir string
		Main               bool
		Replace            *struct{ Path, Version string }
	}
}

// linkedModules lists, sorted by path, the modules inside the program at root on any of releaseArchs.
func linkedModules(root string) ([]module, error) {
	found := map[string]*module{}
	for _, arch := range releaseArchs() {
		packages, err := listPackages(root, arch)
		if err != nil {
			return nil, err
		}
		if err := collect(found, packages); err != nil {
			return nil, err
		}
	}
	modules := make([]module, 0, len(found))
	for _, m := range found {
		slices.Sort(m.dirs)
		slices.Sort(m.users)
		m.dirs, m.users = slices.Compact(m.dirs), slices.Compact(m.users)
		modules = append(modules, *m)
	}
	slices.SortFunc(modules, func(a, b module) int { return strings.Compare(a.path, b.path) })
	return modules, nil
}

// listPackages asks the go tool for the packages of the program, its own included.
func listPackages(root, arch string) ([]listed, error) {
	list := exec.Command("go", "list", "-deps", "-tags="+releaseTags, "-json=ImportPath,Dir,Imports,Module", ".")
	list.Dir = root
	// Without cgo the go tool would leave out the bindings of the native parts.
	list.Env = append(os.Environ(), "CGO_ENABLED=1", "GOOS=linux", "GOARCH="+arch)
	var stdout, stderr bytes.Buffer
	list.Stdout, list.Stderr = &stdout, &stderr
	if err := list.Run(); err != nil {
		return nil, fmt.Errorf("list the packages for linux/%s with go list: %w: %s", arch, err, bytes.TrimSpace(stderr.Bytes()))
	}
	var packages []listed
	for dec := json.NewDecoder(&stdout); ; {
		var p listed
		err := dec.Decode(&p)
		if errors.Is(err, io.EOF) {
			return packages, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read the output of go list for linux/%s: %w", arch, err)
		}
		packages = append(packages, p)
	}
}

// collect adds the modules of packages to found.
func collect(found map[string]*module, packages []listed) error {
	owner := map[string]*module{} // by import path
	for _, p := range packages {
		if p.Module == nil || p.Module.Main {
			continue
		}
		m := found[p.Module.Path]
		if m == nil {
			if p.Module.Dir == "" {
				return fmt.Errorf("module %s is not in the module cache: run `go mod download` and try again", p.Module.Path)
			}
			m = &module{path: p.Module.Path, version: p.Module.Version, dir: p.Module.Dir}
			if r := p.Module.Replace; r != nil {
				m.version = strings.TrimSpace(m.version + " => " + r.Path + " " + r.Version)
			}
			found[m.path] = m
		}
		m.dirs = append(m.dirs, p.Dir)
		owner[p.ImportPath] = m
	}
	for _, p := range packages {
		for _, imported := range p.Imports {
			m := owner[imported]
			if m == nil || m == owner[p.ImportPath] {
				continue
			}
			user := p.ImportPath
			if by := owner[user]; by != nil {
				user = by.path
			}
			m.users = append(m.users, user)
		}
	}
	return nil
}
