package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
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

// Every test that the lists of faults name is there.
func TestFaultsHaveTests(t *testing.T) {
	var code strings.Builder
	for _, dir := range []string{".", "bench", "camera", "cloud", "engine", "models", "shadow", "supervise", "telemetry"} {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if dir == "." && d.IsDir() && path != "." {
				return fs.SkipDir
			}
			if strings.HasSuffix(path, "_test.go") {
				text, err := os.ReadFile(path)
				code.Write(text)
				return err
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, doc := range []string{"docs/faults.md", "docs/faults-capture.md", "docs/faults-host.md"} { // faults-network.md: telemetry/advisor
		data, err := os.ReadFile(doc)
		if err != nil {
			t.Fatal(err)
		}
		names := regexp.MustCompile(`\b(Test|Fuzz)[A-Z]\w+`).FindAllString(string(data), -1)
		if len(names) < 30 {
			t.Errorf("%s: only %d tests are named", doc, len(names))
		}
		for _, name := range names {
			if !strings.Contains(code.String(), "func "+name+"(") {
				t.Errorf("%s: there is no %s", doc, name)
			}
		}
	}
}
