// Command licences keeps THIRD_PARTY.md true. It lists the modules that the program links, reads their licence texts
// in the module cache, and compares both with the table of Go modules in the document; it also compares the versions
// that the recipes pin with the document's table of native parts.
//
//	go run ./third_party/licences [-write] [DIRECTORY OF go.mod]
//
// With -write the table of Go modules is rewritten first; what people wrote in its column "Used for" is kept.
//
// Exit codes: 0 when the document is right, 1 when it is not or a licence is not allowed (one line each), 2 when it
// could not look.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// document is what is checked, below the module's root.
const document = "THIRD_PARTY.md"

func main() {
	write := flag.Bool("write", false, "rewrite the table of Go modules in "+document)
	flag.Parse()
	root := "."
	if flag.NArg() > 0 {
		root = flag.Arg(0)
	}
	good, err := run(root, *write, os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "licences:", err)
		os.Exit(2)
	}
	if !good {
		os.Exit(1)
	}
}

// run checks the module at root, prints what is wrong and reports whether nothing is.
func run(root string, write bool, out io.Writer) (bool, error) {
	name := filepath.Join(root, document)
	doc, err := os.ReadFile(name)
	if err != nil {
		return false, fmt.Errorf("read the document: %w", err)
	}
	modules, err := linkedModules(root)
	if err != nil {
		return false, err
	}
	facts, wrong, err := inspect(modules)
	if err != nil {
		return false, err
	}
	if write {
		if doc, err = rewrite(doc, facts); err != nil {
			return false, err
		}
		if err := os.WriteFile(name, doc, 0o644); err != nil {
			return false, fmt.Errorf("write the document: %w", err)
		}
	}
	t, err := parseTable(doc)
	if err != nil {
		return false, err
	}
	wrong = append(wrong, compare(facts, t.rows)...)
	stale, err := checkRecipes(root, doc)
	if err != nil {
		return false, err
	}
	wrong = append(wrong, stale...)
	for _, w := range wrong {
		if _, err := fmt.Fprintln(out, w); err != nil {
			return false, err
		}
	}
	return len(wrong) == 0, nil
}
