// Command imports checks the rules of docs/architecture.md that the Go compiler does not know: which package may
// import which, where cgo may be, that only main ends the process, and that nothing happens in an init function.
//
//	go run ./third_party/lint/imports [DIRECTORY OF go.mod]
//
// It reads every Go file of the module, whatever its build constraints, so that a file for another system obeys too.
// Exit codes: 0 when all rules are kept, 1 when some are broken (one line each), 2 when it could not look.
package main

import (
	"fmt"
	"io"
	"os"
)

func main() {
	root := "."
	if len(os.Args) > 1 {
		root = os.Args[1]
	}
	kept, err := run(root, os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "imports:", err)
		os.Exit(2)
	}
	if !kept {
		os.Exit(1)
	}
}

// run checks the module at root, prints what is wrong and reports whether all rules are kept.
func run(root string, out io.Writer) (bool, error) {
	tree, err := readTree(root)
	if err != nil {
		return false, err
	}
	foreign, err := foreignCgo(root, tree)
	if err != nil {
		return false, err
	}
	violations := check(tree, newTable(rules()), foreign)
	for _, v := range violations {
		if _, err := fmt.Fprintln(out, v); err != nil {
			return false, err
		}
	}
	return len(violations) == 0, nil
}
