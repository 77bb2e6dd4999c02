package bench

import (
	"fmt"
	"math"
	"strings"
)

// plot is a drawing in SVG's coordinates, pixels from the top left. What is drawn has classes; colours are the style
// sheet's, so that they follow the reader's light or dark setting.
type plot struct {
	Label         string // what it shows, for those who cannot see it
	Width, Height float64
	Rects         []plotRect
	Lines         []plotLine
	Paths         []plotPath
	Dots          []plotDot
	Texts         []plotText
}

type plotRect struct {
	X, Y, W, H float64
	Class      string
	Title      string
}

type plotLine struct {
	X1, Y1, X2, Y2 float64
	Class          string
}

// plotPath is a line through points, "x,y x,y".
type plotPath struct{ Points, Class string }

type plotDot struct {
	X, Y, R float64
	Class   string
	Title   string
}

type plotText struct {
	X, Y   float64
	Anchor string // start, middle, end
	Class  string
	Text   string
}

func (p *plot) line(x1, y1, x2, y2 float64, class string) {
	p.Lines = append(p.Lines, plotLine{round(x1), round(y1), round(x2), round(y2), class})
}

func (p *plot) text(x, y float64, anchor, class, text string) {
	p.Texts = append(p.Texts, plotText{round(x), round(y), anchor, class, text})
}

// round keeps the file small: a tenth of a pixel is nobody's business.
func round(v float64) float64 { return math.Round(10*v) / 10 }

// write draws the plot: shapes first, texts over them.
func (p *plot) write(to page) {
	to.put("<svg viewBox=\"0 0 %v %v\" width=\"%v\" role=\"img\" aria-label=\"%v\">\n", p.Width, p.Height, p.Width, p.Label)
	for _, l := range p.Lines {
		to.put("<line x1=\"%v\" y1=\"%v\" x2=\"%v\" y2=\"%v\" class=\"%v\"/>\n", l.X1, l.Y1, l.X2, l.Y2, l.Class)
	}
	for _, r := range p.Rects {
		to.put("<rect x=\"%v\" y=\"%v\" width=\"%v\" height=\"%v\" rx=\"2\" class=\"%v\"><title>%v</title></rect>\n", r.X, r.Y, r.W, r.H, r.Class, r.Title)
	}
	for _, l := range p.Paths {
		to.put("<polyline points=\"%v\" class=\"%v\"/>\n", l.Points, l.Class)
	}
	for _, d := range p.Dots {
		to.put("<circle cx=\"%v\" cy=\"%v\" r=\"%v\" class=\"%v\"><title>%v</title></circle>\n", d.X, d.Y, d.R, d.Class, d.Title)
	}
	for _, t := range p.Texts {
		to.put("<text x=\"%v\" y=\"%v\" text-anchor=\"%v\" class=\"%v\">%v</text>\n", t.X, t.Y, t.Anchor, t.Class, t.Text)
	}
	to.put("</svg>\n")
}

// Measures of the plots in pixels.
const (
	plotWidth  = 760
	plotLeft   = 60  // room for the numbers of the upright axis
	plotRight  = 20  // and for half of the last number of the other
	plotBottom = 34  // and for the numbers below
	barLabel   = 190 // room for names beside bars
	barHeight  = 16
	barPitch   = 22
	groupGap   = 14
)

// nice is the step of an axis that reaches to limit in about n steps: 1, 2 or 5 times a power of ten.
func nice(limit float64, n int) float64 {
	if !(limit > 0) {
		return 1
	}
	raw := limit / float64(n)
	power := math.Pow(10, math.Floor(math.Log10(raw)))
	for _, m := range []float64{1, 2, 5} {
		if m*power >= raw*(1-1e-9) {
			return m * power
		}
	}
	return 10 * power
}

// speedBars draws raw, end-to-end and in-memory speed of every result.
func speedBars(results []SpeedResult) *plot {
	type bar struct {
		name, class string
		fps         float64
	}
	p := &plot{Label: "frames a second of every combination", Width: plotWidth}
	most, y := 0.0, 8.0
	bars := func(r *SpeedResult) []bar {
		out := []bar{{"raw " + r.RawArrangement, "raw", r.RawFPS}, {"end to end", "e2e", r.E2EFPS}}
		if r.MemoryFPS != nil {
			out = append(out, bar{"from memory", "memory", *r.MemoryFPS})
		}
		return out
	}
	for i := range results {
		for _, b := range bars(&results[i]) {
			most = max(most, b.fps)
		}
	}
	const numberRoom = 60
	scale := (plotWidth - barLabel - numberRoom) / max(most, 1e-9)
	for i := range results {
		r := &results[i]
		p.text(0, y+12, "start", "name", r.title())
		y += barPitch
		for _, b := range bars(r) {
			p.text(barLabel-8, y+12, "end", "axis", b.name)
			p.Rects = append(p.Rects, plotRect{barLabel, y, round(b.fps * scale), barHeight, b.class, fmt.Sprintf("%s: %.2f frames a second", b.name, b.fps)})
			p.text(barLabel+b.fps*scale+6, y+12, "start", "value", fmt.Sprintf("%.1f", b.fps))
			y += barPitch
		}
		y += groupGap
	}
	p.Height = y
	return p
}

// roundLines draws the speed of every round, from zero, so that what looks like a change is one.
func roundLines(r *SpeedResult) *plot {
	const height = 240
	p := &plot{Label: "frames a second in every round", Width: plotWidth, Height: height}
	series := []struct {
		class  string
		values []float64
	}{
		{"raw", r.bare(r.RawArrangement)},
		{"e2e", r.Each(func(x *Round) float64 { return x.E2E })},
	}
	if r.MemoryFPS != nil {
		series = append(series, series[0])
		series[2].class, series[2].values = "memory", r.Each(func(x *Round) float64 { return x.Memory })
	}
	most := 0.0
	for _, s := range series {
		for _, v := range s.values {
			most = max(most, v)
		}
	}
	step := nice(most, 5)
	top := max(step, step*math.Ceil(most/step))
	const floor = height - plotBottom
	at := func(v float64) float64 { return floor - v/top*(floor-10) }
	for v := 0.0; v <= top*(1+1e-9); v += step {
		p.line(plotLeft, at(v), plotWidth-plotRight, at(v), "grid")
		p.text(plotLeft-8, at(v)+4, "end", "axis", fmt.Sprintf("%g", v))
	}
	n := len(r.Rounds)
	x := func(i int) float64 {
		return plotLeft + (float64(i)+0.5)/float64(max(1, n))*(plotWidth-plotLeft-plotRight)
	}
	every := int(nice(float64(n), 20))
	for i := 0; i < n; i += max(1, every) {
		p.text(x(i), height-plotBottom+18, "middle", "axis", fmt.Sprint(i+1))
	}
	for _, s := range series {
		var points []string
		for i, v := range s.values {
			points = append(points, fmt.Sprintf("%.1f,%.1f", x(i), at(v)))
			p.Dots = append(p.Dots, plotDot{round(x(i)), round(at(v)), 3, s.class, fmt.Sprintf("round %d: %.2f", i+1, v)})
		}
		p.Paths = append(p.Paths, plotPath{strings.Join(points, " "), s.class})
	}
	return p
}

// stageDots draws p50, p90 and p99 of every stage on a logarithmic axis: an inference takes a hundred times as long as
// the rest.
func stageDots(r *SpeedResult) *plot {
	least, most := math.Inf(1), 0.0
	for _, s := range r.Stages.List() {
		if s.P50 > 0 {
			least = min(least, s.P50)
		}
		most = max(most, s.P99)
	}
	if most <= 0 {
		least, most = 1, 1
	}
	lo, hi := math.Floor(math.Log10(least)), math.Ceil(math.Log10(most))
	hi = max(hi, lo+1)
	const rowPitch, left = 28, 110
	p := &plot{Label: "milliseconds of every stage", Width: plotWidth, Height: float64(rowPitch*len(r.Stages.List())) + plotBottom}
	x := func(ms float64) float64 {
		return left + (math.Log10(max(ms, math.Pow(10, lo)))-lo)/(hi-lo)*(plotWidth-left-plotRight-20)
	}
	for d := lo; d <= hi; d++ {
		v := math.Pow(10, d)
		p.line(x(v), 0, x(v), p.Height-plotBottom, "grid")
		p.text(x(v), p.Height-plotBottom+18, "middle", "axis", fmt.Sprintf("%g ms", v))
	}
	for i, s := range r.Stages.List() {
		y := float64(rowPitch*i) + rowPitch/2
		p.text(left-10, y+4, "end", "axis", s.Name)
		p.line(x(s.P50), y, x(s.P99), y, "range")
		for _, d := range []struct {
			ms float64
			r  float64
			q  string
		}{{s.P99, 3, "99"}, {s.P90, 4, "90"}, {s.P50, 6, "50"}} {
			p.Dots = append(p.Dots, plotDot{round(x(d.ms)), y, d.r, "stage", fmt.Sprintf("%s, %s %% of frames within %.3f ms", s.Name, d.q, d.ms)})
		}
	}
	return p
}
