package models

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// TestDocs keeps docs/models.md true: its examples are read without a complaint, and it has every key.
func TestDocs(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "docs", "models.md"))
	if err != nil {
		t.Fatal(err)
	}
	text := string(page)
	examples := 0
	for _, block := range strings.Split(text, "```yaml\n")[1:] {
		block, _, _ = strings.Cut(block, "```")
		if _, err := ParseManifest("docs/models.md", []byte(block)); err != nil {
			t.Errorf("the example\n%s\nis refused: %v", block, err)
		}
		examples++
	}
	if examples < 2 {
		t.Errorf("found %d examples", examples)
	}
	for _, key := range manifestKeys(reflect.TypeFor[Manifest](), "") {
		if !strings.Contains(text, "`"+key+"`") {
			t.Errorf("the key %s is not described", key)
		}
	}
}

func manifestKeys(s reflect.Type, prefix string) []string {
	var keys []string
	for i := range s.NumField() {
		f := s.Field(i)
		key := prefix + f.Tag.Get("yaml")
		switch {
		case f.Tag.Get("yaml") == "":
		case f.Type.Kind() == reflect.Struct:
			keys = append(keys, manifestKeys(f.Type, key+".")...)
		default:
			keys = append(keys, key)
		}
	}
	return keys
}
