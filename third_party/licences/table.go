package main

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
)

// The table of Go modules stands between these two lines.
const (
	markBegin = "<!-- go-modules: begin (go run ./third_party/licences -write makes this table; it keeps what the column Used for says) -->"
	markEnd   = "<!-- go-modules: end -->"
)

// header are the first two lines of the table.
const header = "| Module | Version | Used for | Licence | Copyright | Licence text |\n|---|---|---|---|---|---|\n"

// columns is the number of cells in a row.
const columns = 6

// row is one module in the document.
type row struct {
	module, version string
	use             string // by people; all else is taken from the module
	licence         string // SPDX expression, or what is said about a choice
	holder          string // who has the copyright
	texts           string // files in the module that state the terms
}

// table is the document's table of Go modules.
type table struct {
	rows       []row
	begin, end int // where it stands in the document, markers excluded
}

// parseTable finds the table in the document and reads its rows. Errors name the line.
func parseTable(doc []byte) (table, error) {
	at := bytes.Index(doc, []byte(markBegin+"\n"))
	if at < 0 {
		return table{}, fmt.Errorf("%s has no line %q before the table of Go modules: put it there", document, markBegin)
	}
	t := table{begin: at + len(markBegin) + 1}
	length := bytes.Index(doc[t.begin:], []byte(markEnd))
	if length < 0 {
		return table{}, fmt.Errorf("%s has no line %q after the table of Go modules: put it there", document, markEnd)
	}
	t.end = t.begin + length
	line := bytes.Count(doc[:t.begin], []byte("\n"))
	seen := map[string]int{}
	for i, l := range strings.Split(string(doc[t.begin:t.end]), "\n") {
		line++
		if strings.TrimSpace(l) == "" || i < strings.Count(header, "\n") {
			continue
		}
		r, err := parseRow(l)
		if err != nil {
			return table{}, fmt.Errorf("%s:%d: %w", document, line, err)
		}
		if before, twice := seen[r.module]; twice {
			return table{}, fmt.Errorf("%s:%d: %s is listed twice, first in line %d: remove one", document, line, r.module, before)
		}
		seen[r.module] = line
		t.rows = append(t.rows, r)
	}
	return t, nil
}

func parseRow(l string) (row, error) {
	cells, err := split(l)
	if err != nil {
		return row{}, err
	}
	if len(cells) != columns {
		return row{}, fmt.Errorf("a row has %d cells, this one %d: write a bar inside a cell as \\|", columns, len(cells))
	}
	if cells[0] == "" {
		return row{}, errors.New("the row names no module")
	}
	return row{module: cells[0], version: cells[1], use: cells[2], licence: cells[3], holder: cells[4], texts: cells[5]}, nil
}

// split takes a row of a Markdown table apart; "\|" stands for a bar inside a cell.
func split(l string) ([]string, error) {
	const bar = "\x00" // no document has it
	l = strings.TrimSpace(strings.ReplaceAll(strings.ReplaceAll(l, bar, ""), `\|`, bar))
	if len(l) < 2 || !strings.HasPrefix(l, "|") || !strings.HasSuffix(l, "|") {
		return nil, errors.New("not a row of a table: it must begin and end with |")
	}
	cells := strings.Split(l[1:len(l)-1], "|")
	for i, c := range cells {
		cells[i] = strings.TrimSpace(strings.ReplaceAll(c, bar, "|"))
	}
	return cells, nil
}

func (r row) String() string {
	cells := []string{r.module, r.version, r.use, r.licence, r.holder, r.texts}
	for i, c := range cells {
		cells[i] = strings.ReplaceAll(strings.Join(strings.Fields(c), " "), "|", `\|`)
	}
	return "| " + strings.Join(cells, " | ") + " |\n"
}

// rewrite puts facts into the document's table, in their order. What a module is used for is kept; of a new one it
// says who imports it, until somebody knows better. Where no text names a holder, what the row said is kept too.
func rewrite(doc []byte, facts []fact) ([]byte, error) {
	t, err := parseTable(doc)
	if err != nil {
		return nil, err
	}
	old := map[string]row{}
	for _, r := range t.rows {
		old[r.module] = r
	}
	var b bytes.Buffer
	b.Write(doc[:t.begin])
	b.WriteString(header)
	for _, f := range facts {
		r := f.row
		if r.use = old[r.module].use; r.use == "" {
			r.use = "imported by " + f.users
		}
		if r.holder == "" {
			r.holder = old[r.module].holder
		}
		if r.holder == "" {
			r.holder = "the authors of " + r.module
		}
		b.WriteString(r.String())
	}
	b.Write(doc[t.end:])
	return b.Bytes(), nil
}
