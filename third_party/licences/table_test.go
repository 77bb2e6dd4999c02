package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// page is a document with the given rows in its table.
func page(rows string) string {
	return "# Works\n\n| other | table |\n|---|---|\n\n" + markBegin + "\n" + header + rows + markEnd + "\n\nafter\n"
}

func TestParseTable(t *testing.T) {
	t.Parallel()
	got, err := parseTable([]byte(page("| a | v1 | x \\| y | MIT | 2001 A | `LICENSE` |\n\n| b | v2 |  | ISC |||\n")))
	if err != nil {
		t.Fatal(err)
	}
	want := []row{
		{module: "a", version: "v1", use: "x | y", licence: "MIT", holder: "2001 A", texts: "`LICENSE`"},
		{module: "b", version: "v2", licence: "ISC"},
	}
	if diff := cmp.Diff(want, got.rows, cmp.AllowUnexported(row{})); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
}

func TestParseTableErrors(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, doc, want string }{
		{"no table", "# Works\n", "has no line \"" + markBegin + "\""},
		{"no end", strings.Replace(page(""), markEnd, "", 1), "has no line \"" + markEnd + "\""},
		{"too few cells", page("| a | v1 |\n"), "THIRD_PARTY.md:9: a row has 6 cells, this one 2"},
		{"too many cells", page("| a | v1 | x | y | MIT | A | L |\n"), "THIRD_PARTY.md:9: a row has 6 cells, this one 7"},
		{"not a row", page("hello\n"), "THIRD_PARTY.md:9: not a row of a table"},
		{"no module", page("| | v1 | x | MIT | A | L |\n"), "THIRD_PARTY.md:9: the row names no module"},
		{"twice", page("| a | v1 | x | MIT | A | L |\n| a | v2 | x | MIT | A | L |\n"), "THIRD_PARTY.md:10: a is listed twice, first in line 9"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := parseTable([]byte(tt.doc))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q in it", err, tt.want)
			}
		})
	}
}

func TestRewrite(t *testing.T) {
	t.Parallel()
	before := page("| gone | v1 | x | MIT | A | L |\n| kept | v1 | our use | MIT | who we say | L |\n")
	facts := []fact{
		{row: row{module: "kept", version: "v2", licence: "ISC", texts: "`L`"}},
		{row: row{module: "new", version: "v3", licence: "MIT", holder: "2001 A | B", texts: "`L`"}, users: "gnomon, other"},
		{row: row{module: "nobody", version: "v4", licence: "MIT", texts: "`L`"}, users: "gnomon"},
	}
	want := page("| kept | v2 | our use | ISC | who we say | `L` |\n" +
		"| new | v3 | imported by gnomon, other | MIT | 2001 A \\| B | `L` |\n" +
		"| nobody | v4 | imported by gnomon | MIT | the authors of nobody | `L` |\n")
	after, err := rewrite([]byte(before), facts)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(after)); diff != "" {
		t.Errorf("document (-want +got):\n%s", diff)
	}
	parsed, err := parseTable(after)
	if err != nil {
		t.Fatal(err)
	}
	if wrong := compare(facts, parsed.rows); len(wrong) != 0 {
		t.Errorf("what -write makes is not right: %q", wrong)
	}
	again, err := rewrite(after, facts)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(after), string(again)); diff != "" {
		t.Errorf("a second time (-want +got):\n%s", diff)
	}
}

// FuzzTable: whatever parses is written and read again the same, and nothing outside the table changes.
func FuzzTable(f *testing.F) {
	f.Add(page(""))
	f.Add(page("| a | v1 | x \\| y | MIT | 2001 A | `LICENSE` |\n"))
	f.Add(page("| a | b |\n"))
	f.Add(markBegin + "\n" + markEnd)
	f.Add(markEnd + markBegin)
	f.Fuzz(func(t *testing.T, doc string) {
		parsed, err := parseTable([]byte(doc))
		if err != nil {
			return
		}
		var facts []fact
		for _, r := range parsed.rows {
			facts = append(facts, fact{row: r, users: "gnomon"})
		}
		once, err := rewrite([]byte(doc), facts)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(string(once), doc[:parsed.begin]) || !strings.HasSuffix(string(once), doc[parsed.end:]) {
			t.Fatal("the text around the table changed")
		}
		again, err := parseTable(once)
		if err != nil {
			t.Fatalf("what was written cannot be read: %v\n%s", err, once)
		}
		if len(again.rows) != len(parsed.rows) {
			t.Fatalf("%d rows became %d", len(parsed.rows), len(again.rows))
		}
		twice, err := rewrite(once, facts)
		if err != nil {
			t.Fatal(err)
		}
		if string(twice) != string(once) {
			t.Fatalf("written twice it differs:\n%s\n%s", once, twice)
		}
	})
}
