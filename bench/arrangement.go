package bench

import (
	"cmp"
	"fmt"
	"slices"
)

// Arrangement is how a model is spread over the processor: sessions side by side, and threads in each.
type Arrangement struct {
	Sessions int
	Threads  int
}

// String is the form in JSON and tables: 2x1 is two sessions with one thread each.
func (a Arrangement) String() string { return fmt.Sprintf("%dx%d", a.Sessions, a.Threads) }

const (
	// fewCores is up to how many cores every number of sessions and threads is tried; with more, powers of two and the
	// number of cores itself.
	fewCores = 4
	// crowding bounds sessions times threads, in cores: a few more threads than cores can still pay, many never do.
	crowding = 2
	// WorthKeeping is the part of the best trial speed that an arrangement needs to stay in the rounds. Between runs
	// of the same arrangement there are a few per cent, so nothing that could be the best is lost.
	WorthKeeping = 0.85
)

// Arrangements lists what to try on so many cores, and own in any case, ordered by threads, then sessions.
func Arrangements(cores int, own Arrangement) []Arrangement {
	var counts []int
	for n := 1; n < cores; {
		counts = append(counts, n)
		if cores <= fewCores {
			n++
		} else {
			n *= 2
		}
	}
	counts = append(counts, max(1, cores))
	out := []Arrangement{own}
	for _, t := range counts {
		for _, s := range counts {
			if a := (Arrangement{s, t}); s*t <= crowding*cores && a != own {
				out = append(out, a)
			}
		}
	}
	slices.SortFunc(out, func(a, b Arrangement) int {
		return cmp.Or(cmp.Compare(a.Threads, b.Threads), cmp.Compare(a.Sessions, b.Sessions))
	})
	return out
}

// Promising are the arrangements whose trial speed is WorthKeeping, and own in any case, in the order of all.
func Promising(all []Arrangement, trial map[Arrangement]float64, own Arrangement) []Arrangement {
	best := 0.0
	for _, v := range trial {
		best = max(best, v)
	}
	var out []Arrangement
	for _, a := range all {
		if a == own || trial[a] >= WorthKeeping*best {
			out = append(out, a)
		}
	}
	return out
}
