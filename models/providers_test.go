package models

import (
	"slices"
	"strings"
	"testing"
)

func TestProviders(t *testing.T) {
	for text, want := range map[string]string{
		"[cpu]":                         "",
		"[tensorrt, cuda]":              "",
		"[My.Own-EP_1, cpu]":            "",
		"[]":                            "",
		"cuda":                          "providers must be a list",
		"[cpu, cuda]":                   "providers has cpu before others",
		"[cuda, cuda]":                  "providers has cuda twice; remove one",
		"['../x']":                      `providers has "../x" at place 1; write tensorrt, cuda, cpu`,
		"['']":                          `providers has "" at place 1`,
		"[a, b, c, d, e, f, g, h, cpu]": "providers has 9 entries, more than the 8 that are allowed",
	} {
		m, err := ParseManifest("m.yaml", []byte("providers: "+text))
		switch {
		case want == "" && err != nil, want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%s: %v, want …%s…", text, err, want)
		case text == "[tensorrt, cuda]" && !slices.Equal(m.Providers, []string{"tensorrt", "cuda"}):
			t.Errorf("%s: %q", text, m.Providers)
		}
	}
}
