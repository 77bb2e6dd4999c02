package child

import (
	"slices"
	"strings"
	"testing"
)

func TestSplit(t *testing.T) {
	for _, c := range []struct {
		text string
		want []string
		err  string
	}{
		{"ffmpeg -i x", []string{"ffmpeg", "-i", "x"}, ""},
		{"  a\t b\nc  ", []string{"a", "b", "c"}, ""},
		{`sh -c 'cat "$1" | x'`, []string{"sh", "-c", `cat "$1" | x`}, ""},
		{`a "b \"c\" \\ \d" e`, []string{"a", `b "c" \ \d`, "e"}, ""},
		{`a\ b 'c'"d"e ''`, []string{"a b", "cde", ""}, ""},
		{"a \\\nb \"c\\\nd\"", []string{"a", "b", "cd"}, ""},
		{`$HOME/*.jpg é`, []string{"$HOME/*.jpg", "é"}, ""},
		{"", nil, ""},
		{"a 'b", nil, "no second"},
		{`a "b\"`, nil, "no second"},
		{`a\`, nil, "behind the last"},
		{"a\x00b", nil, "zero byte"},
	} {
		got, err := split(c.text)
		if !slices.Equal(got, c.want) || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%q: %q, %v; want %q, %q", c.text, got, err, c.want, c.err)
		}
	}
}

// What is quoted comes back as it was, and no text fails in another way than with an error.
func FuzzSplit(f *testing.F) {
	for _, s := range []string{"a b", `sh -c 'a "b" c'`, `"a\"b"`, "a\\\n b", "''", `\`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		words, err := split(s)
		if err != nil {
			return
		}
		var again []string
		for _, w := range words {
			again = append(again, "'"+strings.ReplaceAll(w, "'", `'\''`)+"'")
		}
		if got, err := split(strings.Join(again, " ")); err != nil || !slices.Equal(got, words) {
			t.Errorf("%q: %q became %q, %v", s, words, got, err)
		}
	})
}
