package bench

import (
	"encoding/json"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// noisy are n values around a centre, scattered by a part of it.
func noisy(seed uint64, n int, centre, scatter float64) []float64 {
	rng := rand.New(rand.NewPCG(seed, 0))
	out := make([]float64, n)
	for i := range out {
		out[i] = centre * (1 + scatter*rng.NormFloat64())
	}
	return out
}

func TestChange(t *testing.T) {
	for _, c := range []struct {
		name       string
		a, b       []float64
		lessBetter bool
		want       string
	}{
		{"the same", noisy(1, 10, 100, 0.02), noisy(1, 10, 100, 0.02), false, NoChange},
		{"equals", noisy(1, 10, 100, 0.02), noisy(2, 10, 100, 0.02), false, NoChange},
		{"equals with much noise", noisy(1, 10, 100, 0.2), noisy(2, 10, 100, 0.2), false, NoChange},
		{"10 % more", noisy(1, 10, 100, 0.02), noisy(2, 10, 110, 0.02), false, Faster},
		{"10 % less", noisy(1, 10, 100, 0.02), noisy(2, 10, 90, 0.02), false, Slower},
		{"10 % more time", noisy(1, 10, 10, 0.02), noisy(2, 10, 11, 0.02), true, Slower},
		{"10 % less time", noisy(1, 10, 10, 0.02), noisy(2, 10, 9, 0.02), true, Faster},
		{"10 % more within noise of 20 %", noisy(1, 10, 100, 0.2), noisy(2, 10, 110, 0.2), false, NoChange},
		{"2 % more without noise is what equal runs differ by", noisy(1, 10, 100, 0), noisy(2, 10, 102, 0), false, NoChange},
		{"4 % more without noise", noisy(1, 10, 100, 0), noisy(2, 10, 104, 0), false, Faster},
		{"one outlier", append(noisy(1, 10, 100, 0.01), 1), append(noisy(2, 10, 100, 0.01), 900), false, NoChange},
		{"four rounds", noisy(1, 4, 100, 0), noisy(2, 10, 200, 0), false, TooLittle},
		{"nothing before", make([]float64, 10), noisy(2, 10, 200, 0), false, NoChange},
	} {
		got := change(figure{lessBetter: c.lessBetter}, c.a, c.b)
		if got.Verdict != c.want {
			t.Errorf("%s: %+v, want %s", c.name, got, c.want)
		}
		if again := change(figure{lessBetter: c.lessBetter}, c.a, c.b); again != got {
			t.Errorf("%s: %+v, then %+v", c.name, got, again)
		}
	}
}

// Of many pairs of equal runs hardly any may be told apart.
func TestChangeOfEquals(t *testing.T) {
	wrong := 0
	const pairs = 50
	for seed := range uint64(pairs) {
		if v := change(figure{}, noisy(2*seed, 10, 100, 0.05), noisy(2*seed+1, 10, 100, 0.05)).Verdict; v != NoChange {
			wrong++
		}
	}
	if wrong > pairs/50 {
		t.Errorf("%d of %d pairs of equals differ", wrong, pairs)
	}
}

func TestCompare(t *testing.T) {
	of := func(results ...SpeedResult) *SpeedReport {
		return &SpeedReport{Schema: SpeedSchema, Results: results}
	}
	a, b := of(result(noisy(1, 10, 100, 0.01)...), result(1)), of(result(noisy(2, 10, 80, 0.01)...))
	a.Results[1].Model = "gone"
	b.Host.Others = 1
	c, err := Compare(a, b)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Pairs) != 1 || len(c.OnlyA) != 1 || c.OnlyA[0] != "gone on cpu" || len(c.OnlyB) != 0 || len(c.Notes) != 1 {
		t.Errorf("%+v", c)
	}
	verdicts := map[string]string{}
	for _, x := range c.Pairs[0].Changes {
		verdicts[x.Figure] = x.Verdict
	}
	for figure, want := range map[string]string{
		"e2e_fps": Slower, "ratio": Slower, "memory_fps": Slower, "raw_fps": NoChange, "infer p50_ms": NoChange, "cpu_ms_per_frame": NoChange,
	} {
		if verdicts[figure] != want {
			t.Errorf("%s: %q, want %q", figure, verdicts[figure], want)
		}
	}
	if by := c.SlowerBy(); by < 0.15 || by > 0.25 {
		t.Errorf("slower by %v", by)
	}
	if back, err := Compare(b, a); err != nil || back.SlowerBy() != 0 {
		t.Errorf("the other way round: %v, %v", back, err)
	}
	asked := result(1)
	asked.AskedThreads = 2
	if _, err := Compare(of(asked), of(result(1))); err == nil || !strings.Contains(err.Error(), "in common") {
		t.Errorf("different threads: %v", err)
	}
}

func TestLoadSpeedReport(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	data, err := json.Marshal(report())
	if err != nil {
		t.Fatal(err)
	}
	r, err := LoadSpeedReport(write("good", string(data)))
	if err != nil || len(r.Results) != 2 || len(r.Results[0].Rounds) != 3 || r.Results[0].Ratio != r.Ratio {
		t.Errorf("%+v, %v", r, err)
	}
	for text, want := range map[string]string{
		"":                       "is no output of gnomon bench --json",
		`[]`:                     "is no output of gnomon bench --json",
		`{}`:                     `the schema "", not "gnomon.bench/1"`,
		`{"schema":"gnomon.x"}`:  `the schema "gnomon.x"`,
		`{"schema":"gnomon.be`:   "is no output",
		`{"results":[{"a":[}]}]`: "is no output",
	} {
		if _, err := LoadSpeedReport(write("bad", text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
	if _, err := LoadSpeedReport(filepath.Join(dir, "none")); err == nil {
		t.Error("a file that does not exist")
	}
}
