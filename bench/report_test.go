package bench

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"math"
	"slices"
	"strings"
	"testing"
)

// The report is well-formed, shows everything, and needs nothing from elsewhere.
func TestWriteHTML(t *testing.T) {
	without := report() // of what need not be measured
	without.Results = []SpeedResult{{SpeedFigures: SpeedFigures{Model: "bare"}}}
	for name, r := range map[string]*SpeedReport{"full": report(), "empty": without} {
		var page bytes.Buffer
		if err := WriteHTML(&page, r); err != nil {
			t.Fatal(err)
		}
		shapes, text := map[string]int{}, strings.Builder{}
		for d := xml.NewDecoder(bytes.NewReader(page.Bytes())); ; {
			tok, err := d.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("%s: %v in\n%s", name, err, page.String())
			}
			switch tok := tok.(type) {
			case xml.StartElement:
				shapes[tok.Name.Local]++
				for _, a := range tok.Attr {
					if slices.Contains([]string{"src", "href", "data"}, a.Name.Local) || strings.HasPrefix(a.Name.Local, "on") {
						t.Errorf("%s: <%s %s=%q>", name, tok.Name.Local, a.Name.Local, a.Value)
					}
					if strings.Contains(a.Value, "NaN") || strings.Contains(a.Value, "Inf") {
						t.Errorf("%s: <%s %s=%q>", name, tok.Name.Local, a.Name.Local, a.Value)
					}
				}
			case xml.CharData:
				text.Write(tok)
			}
		}
		for _, bad := range []string{"script", "link", "img", "iframe", "object"} {
			if shapes[bad] > 0 {
				t.Errorf("%s: has <%s>", name, bad)
			}
		}
		for _, bad := range []string{"http:", "https:", "url(", "@import", "ZgotmplZ"} {
			if strings.Contains(page.String(), bad) {
				t.Errorf("%s: has %s", name, bad)
			}
		}
		if want := 1 + 2*len(r.Results); shapes["svg"] != want {
			t.Errorf("%s: %d plots, want %d", name, shapes["svg"], want)
		}
		if name != "full" {
			continue
		}
		if shapes["rect"] != 6 || shapes["polyline"] != 6 || shapes["circle"] != 3*3+3*2+2*3*5 {
			t.Errorf("shapes: %v", shapes)
		}
		for _, want := range []string{`it's "a" <model> & more on cpu, 2 sessions x 1 threads`, "x86 <&>", "A & B <GPU>", "0.800", "left out", "prefers-color-scheme: dark"} {
			if !strings.Contains(text.String(), want) {
				t.Errorf("no %s", want)
			}
		}
	}
}

func TestNice(t *testing.T) {
	for _, c := range []struct {
		limit float64
		n     int
		want  float64
	}{{0, 5, 1}, {math.NaN(), 5, 1}, {100, 5, 20}, {135, 5, 50}, {9, 5, 2}, {0.3, 3, 0.1}, {5, 5, 1}, {10, 20, 0.5}} {
		if got := nice(c.limit, c.n); math.Abs(got-c.want) > 1e-12 {
			t.Errorf("%v in %d: %v, want %v", c.limit, c.n, got, c.want)
		}
	}
}
