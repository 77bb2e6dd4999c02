package yamldoc_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"gnomon/config/yamldoc"
)

// TestHostile asks for an answer in reasonable time, whatever it is, where a naive reader would take minutes or die.
func TestHostile(t *testing.T) {
	const n = yamldoc.MaxSize
	var stairs strings.Builder
	for i := 0; stairs.Len() < n-i-3; i++ {
		stairs.WriteString(strings.Repeat(" ", i) + "a:\n")
	}
	bomb := "a: &a [x,x,x,x,x,x,x,x,x]\n"
	for c := 'b'; c < 'k'; c++ {
		bomb += fmt.Sprintf("%c: &%c [*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c]\n", c, c, c-1, c-1, c-1, c-1, c-1, c-1, c-1, c-1, c-1)
	}
	for name, text := range map[string]string{
		"open lists":    strings.Repeat("[", n),
		"open mappings": strings.Repeat("{a: ", n/4),
		"dashes":        strings.Repeat("- ", n/2),
		"question":      strings.Repeat("? ", n/2),
		"colons":        strings.Repeat("a: ", n/3),
		"stairs":        stairs.String(),
		"bomb":          bomb,
		"tags":          strings.Repeat("!!a ", n/4),
		"documents":     strings.Repeat("---\n", n/4),
		"pipes":         strings.Repeat("|\n", n/2),
		"tabs":          strings.Repeat("\t", n),
	} {
		start := time.Now()
		_, err := yamldoc.Decode("f.yaml", []byte(text), &file{})
		if err == nil && name != "documents" && name != "tabs" {
			t.Errorf("%s: no error", name)
		}
		if took := time.Since(start); took > time.Minute {
			t.Errorf("%s: took %v", name, took)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, s := range []string{
		"", "name: a", "mqtt:\n  brokr: x", "cams: {a: {uri: x}, \"b.c\": }", "mean: [1, x, ]", "shape: [1, 2]", "shape: 3\n",
		"name: |\n  a\n  b\n", "name: >-\n  a\n", "a: &x\nb: *x", "<<: *a", "? a\n: b", "%YAML 1.2\n---\n", "!!x", "- - - a", "{[", "\t", "a: 'b", "a: \"\\x41\"",
		"name: a\n---\nb: c\n", "\uFEFFname: a", "rows: [{a: 1}, {}]", "é: 1", "name: a # b\r\n", "on: yes\ncount: 0x1\nratio: .inf\nsmall: -1\nlimit: null\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var into file
		doc, err := yamldoc.Decode("f.yaml", data, &into)
		if (doc == nil) == (err == nil) {
			t.Fatalf("document %v with error %v", doc, err)
		}
		if err == nil {
			for name := range into.Cams {
				if !doc.Has(yamldoc.Key("cams", name)) {
					t.Fatalf("the source %q was read but has no place", name)
				}
			}
			return
		}
		var all *yamldoc.Error
		if !errors.As(err, &all) {
			t.Fatalf("not a *yamldoc.Error: %v", err)
		}
		for _, line := range strings.Split(err.Error(), "\n") {
			if !strings.HasPrefix(line, "f.yaml:") {
				t.Fatalf("a problem of more than one line: %q", err)
			}
		}
		for _, p := range all.Problems {
			if p.Line < 1 || p.Col < 1 {
				t.Fatalf("no position: %+v", p)
			}
		}
	})
}
