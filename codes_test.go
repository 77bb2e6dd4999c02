package main

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// The documentation has every code with what it means, as the program has it, and none besides.
func TestCodesAreDocumented(t *testing.T) {
	data, err := os.ReadFile("docs/deployment.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(data), "| code | handling | what it means, and what to do |\n|---|---|---|\n")
	table, _, _ = strings.Cut(table, "\n\n")
	var want strings.Builder
	for _, c := range errorCodes() {
		fmt.Fprintf(&want, "| `%s` | %s | %s |\n", c.code, c.handling, c.meaning)
	}
	if got := strings.TrimSpace(table); got != strings.TrimSpace(want.String()) {
		t.Errorf("docs/deployment.md should have this table of codes:\n%s", &want)
	}
}
