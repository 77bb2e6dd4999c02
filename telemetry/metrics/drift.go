package metrics

import (
	"math"
	"time"
)

// Drift compares what a model finds now with what it found in its first day on the same source.
//
// The reference is the first 24 hours of running time, so that day and night are in it; until then a model is learning.
// It is compared with the last 24 hours of running time and, for those who cannot wait, with the last one to two hours,
// which differ by day and by night. Two things are compared: the confidence of detections and their number in a
// frame. There are two measures:
//
//   - shift: the difference of the means, in standard deviations of the reference (Cohen's d with the reference's
//     deviation: J. Cohen, Statistical Power Analysis for the Behavioral Sciences, 1988; 0.2 is small, 0.8 large). It is
//     not a test: frames that follow each other are alike, so there are fewer independent values than it seems.
//   - psi: the population stability index Σ (p−q)·ln(p/q) over the bins of the histogram, p being the share now and q
//     that of the reference (N. Siddiqi, Credit Risk Scorecards, 2006). Below 0.1 nothing has changed to speak of, from
//     0.25 on it has changed much. Neighbouring bins are joined until they hold 5 % of both on average, so that nearly
//     empty ones, whose share means nothing, do not decide.
//
// What the scene has to do with it cannot be told apart from what the model has: both are reasons to look.
const (
	referenceTime = 24 * time.Hour
	slotTime      = time.Hour
	slotCount     = 24

	psiModerate    = 0.1
	psiSignificant = 0.25
	// leastShare is the mean share that a bin must have to count by itself, so there are at most 20.
	leastShare = 0.05
	// leastValues is how many values a comparison needs. By chance alone the index is about (bins−1)·(1/n+1/m): of 500
	// values at most 0.04 with a large reference, which is well below the first mark.
	leastValues = 500
)

// DriftState is the verdict.
type DriftState string

// The verdicts.
const (
	Learning    DriftState = "learning"    // the reference is not complete
	TooFew      DriftState = "too_few"     // not enough was found to compare
	Stable      DriftState = "stable"      // both indices below 0.1
	Moderate    DriftState = "moderate"    // one from 0.1 on
	Significant DriftState = "significant" // one from 0.25 on
)

// part is what was found in some time.
type part struct {
	Running    time.Duration `json:"-"`
	Confidence spread        `json:"confidence"`
	PerFrame   spread        `json:"per_frame"`
}

func newPart() part {
	return part{Confidence: newSpread(confidenceBins), PerFrame: newSpread(perFrameBins)}
}

func (p *part) reset() {
	p.Running = 0
	p.Confidence.reset()
	p.PerFrame.reset()
}

// drift is the reference and what came after it.
type drift struct {
	ref      *part // nil: not known yet whether there is one on the disk
	started  time.Time
	complete bool

	slots [slotCount]part // a ring; the hour that runs is at
	at    int
}

// start takes the reference and makes room for what follows it.
func (d *drift) start(ref *part, started time.Time) {
	d.ref, d.started, d.complete = ref, started, ref.Running >= referenceTime
	for i := range d.slots {
		d.slots[i] = newPart()
	}
}

// part is where the next frame is counted, after so much running time; nil: nowhere yet.
func (d *drift) part(ran time.Duration) *part {
	switch {
	case d.ref == nil:
		return nil
	case !d.complete:
		d.ref.Running += ran
		d.complete = d.ref.Running >= referenceTime
		return d.ref
	}
	slot := &d.slots[d.at]
	if slot.Running >= slotTime {
		d.at = (d.at + 1) % slotCount
		slot = &d.slots[d.at]
		slot.reset()
	}
	slot.Running += ran
	return slot
}

// Drift is what a message says about it.
type Drift struct {
	State      DriftState  `json:"state"`
	Learned    float64     `json:"learned"` // share of the first day
	Confidence *Comparison `json:"confidence,omitempty"`
	PerFrame   *Comparison `json:"per_frame,omitempty"`
}

// Comparison is of the last day with the first one. Without enough values its measures are left out.
type Comparison struct {
	N             uint64   `json:"n"`
	Mean          float64  `json:"mean"`
	ReferenceMean float64  `json:"reference_mean"`
	P10           float64  `json:"p10"`
	P50           float64  `json:"p50"`
	P90           float64  `json:"p90"`
	ReferenceP10  float64  `json:"reference_p10"`
	ReferenceP50  float64  `json:"reference_p50"`
	ReferenceP90  float64  `json:"reference_p90"`
	Shift         *float64 `json:"shift_sd,omitempty"` // left out where all values of the reference are the same
	PSI           *float64 `json:"psi,omitempty"`
	HourPSI       *float64 `json:"psi_hour,omitempty"` // of the last one to two hours
}

// compare makes the verdict.
func (d *drift) compare() Drift {
	if d.ref == nil {
		return Drift{State: Learning}
	}
	out := Drift{State: Learning, Learned: round(min(1, d.ref.Running.Seconds()/referenceTime.Seconds()), decimals)}
	if !d.complete {
		return out
	}
	day := newPart()
	for i := range d.slots {
		day.Confidence.plus(&d.slots[i].Confidence)
		day.PerFrame.plus(&d.slots[i].PerFrame)
	}
	hour, before := d.slots[d.at].clone(), &d.slots[(d.at+slotCount-1)%slotCount]
	hour.Confidence.plus(&before.Confidence)
	hour.PerFrame.plus(&before.PerFrame)
	out.Confidence = comparison(&d.ref.Confidence, &day.Confidence, &hour.Confidence, (*spread).shareQuantile)
	out.PerFrame = comparison(&d.ref.PerFrame, &day.PerFrame, &hour.PerFrame, (*spread).countQuantile)
	out.State = verdict(out.Confidence.PSI, out.PerFrame.PSI)
	return out
}

func verdict(indices ...*float64) DriftState {
	state := TooFew
	for _, v := range indices {
		switch {
		case v == nil:
		case *v >= psiSignificant:
			return Significant
		case *v >= psiModerate:
			state = Moderate
		case state == TooFew:
			state = Stable
		}
	}
	return state
}

func comparison(ref, day, hour *spread, quantile func(*spread, float64) float64) *Comparison {
	q := func(s *spread, q float64) float64 { return round(quantile(s, q), decimals) }
	c := &Comparison{
		N: day.N, Mean: round(day.mean(), decimals), ReferenceMean: round(ref.mean(), decimals),
		P10: q(day, 0.1), P50: q(day, 0.5), P90: q(day, 0.9),
		ReferenceP10: q(ref, 0.1), ReferenceP50: q(ref, 0.5), ReferenceP90: q(ref, 0.9),
		PSI: stability(ref, day), HourPSI: stability(ref, hour),
	}
	if sd := ref.deviation(); sd > 0 && day.N >= leastValues && ref.N >= leastValues {
		shift := round((day.mean()-ref.mean())/sd, decimals)
		c.Shift = &shift
	}
	return c
}

// stability is the population stability index; nil: too few values.
func stability(ref, now *spread) *float64 {
	if ref.N < leastValues || now.N < leastValues {
		return nil
	}
	index, q, p := 0.0, 0.0, 0.0
	for i := range ref.Bins {
		q += float64(ref.Bins[i]) / float64(ref.N)
		p += float64(now.Bins[i]) / float64(now.N)
		if last := i == len(ref.Bins)-1; !last && (p+q)/2 < leastShare {
			continue
		}
		// None at all counts as half a value, as there is no logarithm of 0.
		p, q = max(p, 0.5/float64(now.N)), max(q, 0.5/float64(ref.N))
		index += (p - q) * math.Log(p/q)
		q, p = 0, 0
	}
	index = round(index, decimals)
	return &index
}

// decimals are those of shares, means and indices in messages.
const decimals = 4

func round(v float64, digits int) float64 {
	scale := math.Pow10(digits)
	return math.Round(v*scale) / scale
}
