package main

import (
	"bufio"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// module is the Go source of a module by directory.
type module struct {
	path     string // import path
	packages map[string]*pkg
}

// pkg is one directory with Go files, those excluded by build constraints included.
type pkg struct {
	dir   string // relative to the module's root, with slashes
	files []file
}

// file is what the rules need to know of one file.
type file struct {
	name    string // relative to the module's root, with slashes
	test    bool
	main    bool // belongs to package main
	imports []imported
	inits   []int // lines of init functions
	ends    []end // places that end the process
}

type imported struct {
	path string
	line int
}

type end struct {
	call     string // as written, such as os.Exit
	function string // the function it stands in; "" at package level
	line     int
}

// readTree parses every Go file below root as the go tool would see them from there: not in directories whose names
// begin with . or _, not in testdata (except testdata/gen, which holds a program), not in modules of their own.
func readTree(root string) (*module, error) {
	modulePath, err := readModulePath(filepath.Join(root, "go.mod"))
	if err != nil {
		return nil, err
	}
	m := &module{path: modulePath, packages: map[string]*pkg{}}
	files := token.NewFileSet()
	err = filepath.WalkDir(root, func(location string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(root, location)
		if err != nil {
			return err
		}
		relative = filepath.ToSlash(relative)
		if entry.IsDir() {
			if skipped(root, relative) {
				return filepath.SkipDir
			}
			return nil
		}
		hidden := strings.HasPrefix(entry.Name(), ".") || strings.HasPrefix(entry.Name(), "_")
		below, inTestdata := strings.CutPrefix(relative, "testdata/")
		if hidden || !strings.HasSuffix(relative, ".go") || inTestdata && !strings.HasPrefix(below, "gen/") {
			return nil
		}
		parsed, err := parser.ParseFile(files, location, nil, parser.SkipObjectResolution)
		if err != nil {
			return fmt.Errorf("parse: %w", err)
		}
		dir := path.Dir(relative)
		if m.packages[dir] == nil {
			m.packages[dir] = &pkg{dir: dir}
		}
		m.packages[dir].files = append(m.packages[dir].files, readFile(files, parsed, relative))
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the module %s: %w", modulePath, err)
	}
	return m, nil
}

// skipped tells whether a directory is outside the module's packages.
func skipped(root, relative string) bool {
	if relative == "." || relative == "testdata" {
		return false
	}
	base := path.Base(relative)
	if strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_") || base == "testdata" || base == "vendor" || base == "node_modules" {
		return true
	}
	if strings.HasPrefix(relative, "testdata/") && relative != "testdata/gen" && !strings.HasPrefix(relative, "testdata/gen/") {
		return true
	}
	_, err := os.Stat(filepath.Join(root, relative, "go.mod"))
	return err == nil
}

// readModulePath finds the module directive of a go.mod.
func readModulePath(location string) (string, error) {
	f, err := os.Open(location)
	if err != nil {
		return "", fmt.Errorf("find the module: %w; run this in the directory of go.mod or name it", err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if words := strings.Fields(lines.Text()); len(words) >= 2 && words[0] == "module" {
			return strings.Trim(words[1], `"`), nil
		}
	}
	if err := lines.Err(); err != nil {
		return "", fmt.Errorf("find the module: %w", err)
	}
	return "", fmt.Errorf("find the module: %s has no module line", location)
}

func readFile(files *token.FileSet, parsed *ast.File, name string) file {
	line := func(n ast.Node) int { return files.Position(n.Pos()).Line }
	f := file{name: name, test: strings.HasSuffix(name, "_test.go"), main: parsed.Name.Name == "main"}
	names := map[string]string{} // of packages in this file, to import paths
	for _, spec := range parsed.Imports {
		importPath, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			continue // not an import path; the compiler says so
		}
		f.imports = append(f.imports, imported{path: importPath, line: line(spec)})
		local := path.Base(importPath)
		if spec.Name != nil {
			local = spec.Name.Name
		}
		names[local] = importPath
	}
	for _, declaration := range parsed.Decls {
		function, isFunction := declaration.(*ast.FuncDecl)
		within := ""
		if isFunction && function.Recv == nil {
			within = function.Name.Name
			if within == "init" {
				f.inits = append(f.inits, line(function))
			}
		}
		ast.Inspect(declaration, func(n ast.Node) bool {
			if call, ends := endsProcess(n, f.test, names); ends {
				f.ends = append(f.ends, end{call: call, function: within, line: line(n)})
			}
			return true
		})
	}
	return f
}

// endsProcess recognises functions that end the process, called or only mentioned: os.Exit and syscall.Exit, and
// Fatal and its variants of any logger, which call os.Exit. The Fatal of a test ends the test only, so it is fine in
// test files and in helpers that import testing.
func endsProcess(n ast.Node, test bool, names map[string]string) (string, bool) {
	selector, ok := n.(*ast.SelectorExpr)
	if !ok {
		return "", false
	}
	left, selected := "", selector.Sel.Name
	if identifier, ok := selector.X.(*ast.Ident); ok {
		left = identifier.Name
	}
	switch {
	case selected == "Exit" && slices.Contains([]string{"os", "syscall"}, names[left]):
		return left + ".Exit", true
	case !slices.Contains([]string{"Fatal", "Fatalf", "Fatalln", "Fatalw"}, selected):
		return "", false
	case names[left] == "log":
		return left + "." + selected, true
	case test || names["testing"] == "testing":
		return "", false
	case left == "":
		left = "(…)"
	}
	return left + "." + selected, true
}
