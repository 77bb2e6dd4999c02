package main

import (
	"fmt"
	"strings"
)

const seeDocs = "see docs/architecture.md"

// check lists the broken rules, one line each, by package and within it by file.
func check(m *module, t table, foreign map[string]string) []string {
	uses := m.cgoUses(foreign)
	var out []string
	for _, dir := range m.dirs() {
		p := m.packages[dir]
		r, known := t.find(dir)
		if !known && p.hasCode() {
			out = append(out, fmt.Sprintf("%s (%s) is not in the import table: add it to third_party/lint/imports/table.go and to docs/architecture.md, with what it may import and why",
				dir, p.files[0].name))
		}
		for _, f := range p.files {
			if known && !f.test {
				out = append(out, m.checkImports(dir, f, r)...)
			}
			out = append(out, checkProcess(dir, f)...)
		}
		if use, needs := uses[dir]; needs && known && !r.cgo {
			out = append(out, cgoViolation(dir, use, t))
		}
	}
	return out
}

// hasCode tells whether there is more than tests.
func (p *pkg) hasCode() bool {
	for _, f := range p.files {
		if !f.test {
			return true
		}
	}
	return false
}

// checkImports compares a file's imports with its package's rule.
func (m *module) checkImports(dir string, f file, r rule) []string {
	var out []string
	for _, i := range f.imports {
		target, ours := m.dir(i.path)
		if !ours || r.allows(target) {
			continue
		}
		may := "nothing of ours"
		if len(r.may) > 0 {
			may = "only " + strings.Join(r.may, ", ")
		}
		out = append(out, fmt.Sprintf("%s imports %s (%s:%d): %s may import %s (%s); %s", dir, i.path, f.name, i.line, owner(dir), may, r.what, seeDocs))
	}
	return out
}

// checkProcess looks for init functions and for ends of the process where they do not belong. The program at the
// root ends as it likes; tools end in their main function, tests in TestMain.
func checkProcess(dir string, f file) []string {
	var out []string
	for _, line := range f.inits {
		out = append(out, fmt.Sprintf("%s:%d: init function: make what it makes in New or where it is used; %s", f.name, line, seeDocs))
	}
	if dir == "." {
		return out
	}
	for _, e := range f.ends {
		if f.main && !f.test && e.function == "main" || f.test && e.function == "TestMain" {
			continue
		}
		out = append(out, fmt.Sprintf("%s:%d: %s ends the process: return an error and let func main decide; %s", f.name, e.line, e.call, seeDocs))
	}
	return out
}

func cgoViolation(dir string, use cgoUse, t table) string {
	how := "uses cgo itself"
	if len(use.chain) > 0 {
		how = "needs cgo through " + strings.Join(use.chain, " -> ")
	}
	return fmt.Sprintf("%s %s (%s:%d): only %s may, every other package is pure Go; %s", dir, how, use.file, use.line, strings.Join(t.withCgo(), ", "), seeDocs)
}
