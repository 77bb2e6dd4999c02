package bench

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
)

const (
	// maxSpeedBytes bounds a report: the longest run with many models has a few MB.
	maxSpeedBytes = 64 << 20
	// leastRounds is what the medians of two runs are compared from: with fewer rounds chance decides.
	leastRounds = 5
	// resamples and confidence are of the bootstrap (Efron, 1979): with a dozen figures looked at together, an interval
	// of 95 % would report a change in every other comparison of equals.
	resamples  = 4000
	confidence = 0.99
	// runToRun is the relative difference below which nothing counts as a change: equal runs differ by as much, and the
	// rounds of one run cannot see it, as they share the state of the machine (docs/bench.md).
	runToRun = 0.03
)

// What a comparison says about one figure.
const (
	Faster    = "faster"
	Slower    = "slower"
	NoChange  = "no change beyond the noise"
	TooLittle = "too few rounds to tell"
)

// Change is one figure in two runs.
type Change struct {
	Figure  string  `json:"figure"`
	A       float64 `json:"a"`      // median of the rounds of the first run
	B       float64 `json:"b"`      // and of the second
	Change  float64 `json:"change"` // B÷A - 1
	Low     float64 `json:"low"`    // the change lies between Low and High with a probability of 99 %, as far as the rounds tell
	High    float64 `json:"high"`
	Verdict string  `json:"verdict"`
}

// PairChanges are the changes of one combination that both runs have.
type PairChanges struct {
	Model    string   `json:"model"`
	Provider string   `json:"provider"`
	A        string   `json:"a"` // sessions x threads
	B        string   `json:"b"`
	Changes  []Change `json:"changes"`
}

// Comparison is what `gnomon bench compare --json` prints.
type Comparison struct {
	Pairs []PairChanges `json:"pairs"`
	OnlyA []string      `json:"only_a"` // combinations that the other run lacks
	OnlyB []string      `json:"only_b"`
	Notes []string      `json:"notes"` // what makes the two runs hard to compare
}

// LoadSpeedReport reads what `gnomon bench --json` wrote, at most maxSpeedBytes.
func LoadSpeedReport(path string) (*SpeedReport, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read a benchmark: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxSpeedBytes+1))
	if err != nil {
		return nil, fmt.Errorf("read a benchmark: %w", err)
	}
	if len(data) > maxSpeedBytes {
		return nil, fmt.Errorf("%s has more than %d MB: it is no output of gnomon bench --json", path, maxSpeedBytes>>20)
	}
	var r SpeedReport
	if err := json.Unmarshal(data, &r); err != nil {
		return nil, fmt.Errorf("%s is no output of gnomon bench --json: %w", path, err)
	}
	if r.Schema != SpeedSchema {
		return nil, fmt.Errorf("%s has the schema %q, not %q; make it with gnomon bench --json", path, r.Schema, SpeedSchema)
	}
	return &r, nil
}

// Compare holds run b against run a, combination by combination. It fails when they have none in common.
func Compare(a, b *SpeedReport) (*Comparison, error) {
	c := &Comparison{Pairs: []PairChanges{}, OnlyA: []string{}, OnlyB: []string{}, Notes: notes(a, b)}
	matched := map[string]bool{}
	for i := range a.Results {
		ra := &a.Results[i]
		j := slices.IndexFunc(b.Results, func(r SpeedResult) bool { return r.asked() == ra.asked() })
		if j < 0 {
			c.OnlyA = append(c.OnlyA, ra.asked())
			continue
		}
		rb := &b.Results[j]
		matched[rb.asked()] = true
		p := PairChanges{Model: ra.Model, Provider: ra.Provider, A: ra.arrangement(), B: rb.arrangement()}
		for _, f := range figures() {
			if x, y := f.of(ra), f.of(rb); len(x) > 0 && len(y) > 0 {
				p.Changes = append(p.Changes, change(f, x, y))
			}
		}
		c.Pairs = append(c.Pairs, p)
	}
	for _, r := range b.Results {
		if !matched[r.asked()] {
			c.OnlyB = append(c.OnlyB, r.asked())
		}
	}
	if len(c.Pairs) == 0 {
		return nil, errors.New("the two runs have no model with the same provider and threads in common")
	}
	return c, nil
}

// asked names a combination as it was asked for: what gnomon chose may differ between two versions.
func (r *SpeedResult) asked() string {
	name := r.Model + " on " + r.Provider
	if r.AskedSession > 0 || r.AskedThreads > 0 {
		name += fmt.Sprintf(", sessions %d, threads %d", r.AskedSession, r.AskedThreads)
	}
	return name
}

func (r *SpeedResult) arrangement() string { return Arrangement{r.Sessions, r.Threads}.String() }

// notes says what differs between the runs beside gnomon.
func notes(a, b *SpeedReport) []string {
	out := []string{}
	differ := func(what, x, y string) {
		if x != y {
			out = append(out, fmt.Sprintf("%s differs: %s, then %s", what, x, y))
		}
	}
	differ("the processor", a.Host.CPU, b.Host.CPU)
	differ("the number of cores", fmt.Sprint(a.Host.Cores), fmt.Sprint(b.Host.Cores))
	differ("the source", a.Source, b.Source)
	differ("the broker", a.Broker, b.Broker)
	for i, r := range []*SpeedReport{a, b} {
		if r.Host.Others > BusyOthers {
			out = append(out, fmt.Sprintf("others kept %.1f cores busy in run %c", r.Host.Others, 'A'+i))
		}
	}
	return out
}

// BusyOthers is from how many busy cores on others disturb a run; a broker of its own takes less.
const BusyOthers = 0.3

// figure is something that every round has.
type figure struct {
	name       string
	lessBetter bool
	of         func(*SpeedResult) []float64 // empty: not measured
}

func figures() []figure {
	rounds := func(name string, less bool, of func(*Round) float64) figure {
		return figure{name, less, func(r *SpeedResult) []float64 {
			out := r.Each(of)
			if Median(out) == 0 {
				return nil
			}
			return out
		}}
	}
	return []figure{
		rounds("e2e_fps", false, func(r *Round) float64 { return r.E2E }),
		rounds("ratio", false, func(r *Round) float64 { return r.Ratio }),
		rounds("memory_fps", false, func(r *Round) float64 { return r.Memory }),
		rounds("memory_ratio", false, func(r *Round) float64 { return r.MemoryRatio }),
		{"raw_fps", false, func(r *SpeedResult) []float64 { return r.bare(r.RawArrangement) }},
		rounds("decode p50_ms", true, func(r *Round) float64 { return r.StagesP50.Decode }),
		rounds("preprocess p50_ms", true, func(r *Round) float64 { return r.StagesP50.Preprocess }),
		rounds("infer p50_ms", true, func(r *Round) float64 { return r.StagesP50.Infer }),
		rounds("postprocess p50_ms", true, func(r *Round) float64 { return r.StagesP50.Postprocess }),
		rounds("publish p50_ms", true, func(r *Round) float64 { return r.StagesP50.Publish }),
		rounds("cpu_ms_per_frame", true, func(r *Round) float64 { return r.CPU }),
	}
}

// change compares medians by a percentile bootstrap over the rounds. The same rounds give the same answer.
func change(f figure, a, b []float64) Change {
	c := Change{Figure: f.name, A: Median(a), B: Median(b), Verdict: TooLittle}
	c.Change = relative(c.A, c.B)
	if len(a) < leastRounds || len(b) < leastRounds {
		return c
	}
	const seed1, seed2 = 1, 2
	rng := rand.New(rand.NewPCG(seed1, seed2))
	draw := func(from, into []float64) float64 {
		for i := range into {
			into[i] = from[rng.IntN(len(from))]
		}
		return Median(into)
	}
	ra, rb := make([]float64, len(a)), make([]float64, len(b))
	changes := make([]float64, resamples)
	for i := range changes {
		changes[i] = relative(draw(a, ra), draw(b, rb))
	}
	slices.Sort(changes)
	const tail = (1 - confidence) / 2
	c.Low, c.High = changes[int(tail*resamples)], changes[resamples-1-int(tail*resamples)]
	switch {
	case c.Low > 0 && c.Change >= runToRun:
		c.Verdict = Faster
	case c.High < 0 && c.Change <= -runToRun:
		c.Verdict = Slower
	default:
		c.Verdict = NoChange
	}
	if f.lessBetter && c.Verdict != NoChange {
		c.Verdict = map[string]string{Faster: Slower, Slower: Faster}[c.Verdict]
	}
	return c
}

func relative(a, b float64) float64 {
	if a == 0 {
		return 0
	}
	return b/a - 1
}

// SlowerBy is by how much of the first run's speed the second is slower end to end, at most over the pairs, beyond the
// noise; 0: by nothing.
func (c *Comparison) SlowerBy() float64 {
	worst := 0.0
	for _, p := range c.Pairs {
		for _, x := range p.Changes {
			if x.Figure == "e2e_fps" && x.Verdict == Slower {
				worst = max(worst, -x.Change)
			}
		}
	}
	return worst
}
