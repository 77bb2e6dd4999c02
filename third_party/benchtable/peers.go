package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"gnomon/bench"
	"gnomon/engine/detect"
	"gnomon/engine/letterbox"
	"gnomon/models"
)

// job tells a peer what to do; third_party/peers reads it.
type job struct {
	Model   string     `json:"model"`
	Video   string     `json:"video"`
	Width   int        `json:"width"` // of the input
	Height  int        `json:"height"`
	RGB     bool       `json:"rgb"` // the order of the next four; otherwise BGR
	Scale   float64    `json:"scale"`
	Mean    [3]float32 `json:"mean"`
	Std     [3]float32 `json:"std"`
	Pad     [3]uint8   `json:"pad"`
	NewW    int        `json:"new_w"` // where the picture lies in the input
	NewH    int        `json:"new_h"`
	PadX    int        `json:"pad_x"`
	PadY    int        `json:"pad_y"`
	Seconds float64    `json:"seconds"`
	setting
}

// setting is how ONNX Runtime's threads are set.
type setting struct {
	Threads int  `json:"threads"` // 0: its default
	Calm    bool `json:"calm"`    // idle threads do not spin, as they do by default
}

func (s setting) String() string {
	switch {
	case s.Threads > 0:
		return fmt.Sprintf("with %d thread", s.Threads)
	case s.Calm:
		return "not spinning"
	}
	return "at its defaults"
}

// settings are those of which a peer's fastest counts. One thread leaves the other cores to ffmpeg and JavaScript.
func settings() []setting { return []setting{{}, {Calm: true}, {Threads: 1, Calm: true}} }

// newJob is a model on a video of w x h pixels.
func newJob(e entry, video string, w, h int, d time.Duration) (job, error) {
	s := e.spec
	if s.Layout != models.NCHW || s.Type != detect.Float32 {
		return job{}, errors.New("the peers are written for float32 inputs with the channels first")
	}
	t, err := letterbox.New(s.Resize, w, h, s.Width, s.Height)
	if err != nil {
		return job{}, err
	}
	file, err := filepath.Abs(e.file)
	if err != nil {
		return job{}, err
	}
	return job{
		Model: file, Video: video, Width: s.Width, Height: s.Height, RGB: s.Color == models.RGB, Scale: s.Scale, Mean: s.Mean, Std: s.Std, Pad: s.Pad,
		NewW: t.NewW, NewH: t.NewH, PadX: t.PadX, PadY: t.PadY, Seconds: d.Seconds(),
	}, nil
}

// pace is what a peer prints.
type pace struct {
	Frames    int     `json:"frames"`
	FPS       float64 `json:"fps"`
	FirstMean float64 `json:"first_mean"` // of the first output on the first frame: peers that agree see the same picture
	Version   string  `json:"version"`
}

// peer is another program that does the same.
type peer struct {
	name    string
	least   float64 // what gnomon's speed is to be, in its own
	command []string
	env     []string
	choice  bool // it takes settings, and the fastest counts
}

func (m *meter) others() []peer {
	return []peer{
		{"onnxruntime-node with an ffmpeg pipe", 1.35, []string{"node", filepath.Join(m.o.peers, "ort_node.js")}, []string{"NODE_PATH=" + m.o.nodeModules}, true},
		// Debian's own Python: its OpenCV is not visible to others.
		{"OpenCV dnn", 4.5, []string{"/usr/bin/python3", filepath.Join(m.o.peers, "opencv_dnn.py")}, nil, false},
	}
}

// peers measures gnomon against each of them, in turns.
func (m *meter) peers(ctx context.Context, e entry) {
	w, h, err := sizeOf(ctx, m.o.sample)
	var j job
	if err == nil {
		j, err = newJob(e, m.o.sample, w, h, m.o.slice)
	}
	for _, p := range m.others() {
		what := fmt.Sprintf("%s: end to end ÷ %s", e.name, p.name)
		if err != nil {
			m.report.lacks(what, atLeast(p.least), err)
			continue
		}
		rounds, setting, err := m.turns(ctx, e, p, j)
		if err != nil {
			m.report.lacks(what, atLeast(p.least), err)
			continue
		}
		column := func(name string) float64 { return bench.Median(each(rounds, name)) }
		m.report.got(what, atLeast(p.least), column("ratio"), fmt.Sprintf("%.1f ÷ %.1f FPS%s", column("ours"), column("peer"), setting), rounds)
	}
}

// turns measures the peer, ours, the peer, ours, … setting is what of its settings was the fastest.
func (m *meter) turns(ctx context.Context, e entry, p peer, j job) (rounds []round, setting string, err error) {
	say("%s against %s, %d rounds: about %.0f s", e.name, p.name, m.o.rounds, float64(m.o.rounds)*(2*m.o.slice.Seconds()+10))
	if p.choice {
		if j, err = m.fastest(ctx, p, j); err != nil {
			return nil, "", err
		}
		setting = " " + j.setting.String()
	}
	for range m.o.rounds {
		theirs, err := m.pace(ctx, p, j)
		if err != nil {
			return nil, "", err
		}
		ours, err := m.gnomonBench(ctx, e, m.o.sample, m.o.slice)
		if err != nil {
			return nil, "", err
		}
		rounds = append(rounds, round{"peer": theirs.FPS, "ours": ours.E2EFPS, "ratio": ours.E2EFPS / theirs.FPS, "peer_first_mean": theirs.FirstMean})
	}
	return rounds, setting, nil
}

// fastest tries the settings of a peer, twice in turns, and takes the one with the best single speed.
func (m *meter) fastest(ctx context.Context, p peer, j job) (job, error) {
	best, at := j, 0.0
	for range 2 {
		for _, s := range settings() {
			j.setting = s
			got, err := m.pace(ctx, p, j)
			if err != nil {
				return j, err
			}
			if got.FPS > at {
				best, at = j, got.FPS
			}
		}
	}
	return best, nil
}

// pace runs a peer once.
func (m *meter) pace(ctx context.Context, p peer, j job) (pace, error) {
	var out pace
	data, err := json.Marshal(j)
	if err != nil {
		return out, err
	}
	path := filepath.Join(m.dir, "job.json")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		return out, fmt.Errorf("tell the peer what to do: %w", err)
	}
	printed, err := output(ctx, m.o.slice, p.env, p.command[0], slices.Concat(p.command[1:], []string{path})...)
	if err != nil {
		return out, err
	}
	if err := json.Unmarshal(printed, &out); err != nil {
		return out, fmt.Errorf("%s printed something else than its figures: %w", p.name, err)
	}
	if out.Frames < 1 || out.FPS <= 0 {
		return out, fmt.Errorf("%s took no frame in %v", p.name, m.o.slice)
	}
	m.report.Peers[p.name] = out.Version
	return out, nil
}

// each is one column of the rounds.
func each(rounds []round, name string) []float64 {
	var out []float64
	for _, r := range rounds {
		out = append(out, r[name])
	}
	return out
}
