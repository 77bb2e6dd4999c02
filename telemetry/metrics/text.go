package metrics

import (
	"strconv"
	"strings"
)

// text writes the text format of Prometheus, version 0.0.4 (Prometheus documentation, "Exposition formats").
type text struct{ buf []byte }

type kind string

// The kinds of metrics.
const (
	counter   kind = "counter"
	gauge     kind = "gauge"
	histogram kind = "histogram"
)

// family is all samples of one name. Its head is written with the first of them, so a family without any is left out.
type family struct {
	t          *text
	name, help string
	kind       kind
	begun      bool
}

func (t *text) family(name string, k kind, help string) *family {
	return &family{t: t, name: name, help: help, kind: k}
}

// label is a name and a value.
type label struct{ name, value string }

// add writes one sample.
func (f *family) add(value float64, labels ...label) { f.sample("", value, labels) }

// count is add for whole numbers.
func (f *family) count(value uint64, labels ...label) { f.add(float64(value), labels...) }

// optional writes what is known.
func (f *family) optional(value *float64, labels ...label) {
	if value != nil {
		f.add(*value, labels...)
	}
}

func (f *family) sample(suffix string, value float64, labels []label) {
	b := f.t.buf
	if !f.begun {
		f.begun = true
		b = append(b, "# HELP "+f.name+" "...)
		b = append(b, strings.NewReplacer(`\`, `\\`, "\n", `\n`).Replace(f.help)...)
		b = append(b, "\n# TYPE "+f.name+" "+string(f.kind)+"\n"...)
	}
	b = append(b, f.name+suffix...)
	for i, l := range labels {
		b = append(b, "{,"[min(i, 1)])
		b = append(b, l.name+`="`...)
		b = append(b, strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`).Replace(strings.ToValidUTF8(l.value, "\uFFFD"))...)
		b = append(b, '"')
	}
	if len(labels) > 0 {
		b = append(b, '}')
	}
	b = append(b, ' ')
	b = strconv.AppendFloat(b, value, 'g', -1, 64)
	f.t.buf = append(b, '\n')
}

// buckets writes a histogram: cumulative counts by upper bound, then their sum and number.
func (f *family) buckets(bounds []float64, cumulative []uint64, sum float64, n uint64, labels ...label) {
	all := append(labels[:len(labels):len(labels)], label{"le", ""})
	for i, bound := range bounds {
		all[len(all)-1].value = strconv.FormatFloat(bound, 'g', -1, 64)
		f.sample("_bucket", float64(cumulative[i]), all)
	}
	all[len(all)-1].value = "+Inf"
	f.sample("_bucket", float64(n), all)
	f.sample("_sum", sum, labels)
	f.sample("_count", float64(n), labels)
}
