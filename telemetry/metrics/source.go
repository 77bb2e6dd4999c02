package metrics

import (
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"gnomon/engine/detect"
)

// Stage is a part of a frame's way.
type Stage uint8

// The stages. Capture is from the grab until the model got the frame: decoding, and waiting for room in the model.
// Publish is from the grab until the message was handed on: all of it.
const (
	Capture Stage = iota
	Preprocess
	Infer
	Postprocess
	Publish
	stageCount
)

// stageNames are the words in messages and labels, by Stage.
func stageNames() [stageCount]string {
	return [...]string{"capture", "preprocess", "infer", "postprocess", "publish"}
}

// Failure says why a frame has no detections.
type Failure uint8

// The failures.
const (
	OK        Failure = iota
	Deadline          // the model took too long
	NotFinite         // the model gave values that are no numbers
	Other
	failureCount
)

func failureNames() [failureCount]string {
	return [...]string{"", "deadline", "not_finite", "other"}
}

// Limits of what is counted by name.
const (
	// maxClasses bounds the classes of a model that are told apart in a message: the largest sets of labels in use have
	// some 1200. What is beyond them is counted together.
	maxClasses = 2048
	// maxLabels bounds the labels of one source in Prometheus's text, where each is a series for ever. Those that come when
	// there are as many are counted as "other".
	maxLabels = 128
	// maxLabel is the length of a label in bytes.
	maxLabel = 64
	// maxReplaced bounds the models of one source that are told of in one window beside the one in use.
	maxReplaced = 3
	// maxGap is how long nothing may come from a source that is still running: gaps are not running time.
	maxGap = 10 * time.Second
)

// ModelRef says which model found something.
type ModelRef struct {
	Name    string `json:"name"`
	Version string `json:"version,omitempty"`
	SHA256  string `json:"sha256"` // of the model file, hexadecimal
}

// Observation is one frame that was handled. It refers to the caller's slices, which Observe does not keep, but for
// Labels: those of a model never change.
type Observation struct {
	At        time.Time // zero: now
	Model     ModelRef
	Labels    []string // by class
	Threshold float32  // in effect for Detections

	Detections []detect.Detection
	// Stages are how long each took; 0: not known, and not counted.
	Stages  [stageCount]time.Duration
	Failure Failure
	// Unsent: the message was refused, by a full queue or because of its size.
	Unsent bool
}

// Source counts the frames of one source.
type Source struct {
	name string
	now  func() time.Time

	mu       sync.Mutex
	frames   uint64
	unsent   uint64
	found    uint64 // detections
	failures [failureCount]uint64
	stages   [stageCount]durations
	model    *modelCounts   // in use; nil: no frame yet
	replaced []*modelCounts // since the last snapshot
	classes  map[string]uint64
}

// modelCounts are of one model and threshold of a source. A change of either begins anew.
type modelCounts struct {
	ref       ModelRef
	threshold float32
	labels    []string

	frames     uint64
	classes    []uint64 // by class; the last is for those beyond
	confidence spread
	perFrame   spread
	at         time.Time // of the frame before
	drift      drift

	told modelWindow // as of the last snapshot
}

// Observe counts a frame. It allocates when another model or threshold comes, and never else. Any goroutine may call it.
func (s *Source) Observe(o *Observation) {
	at := o.At
	if at.IsZero() {
		at = s.now()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.frames++
	s.found += uint64(len(o.Detections))
	if o.Unsent {
		s.unsent++
	}
	if o.Failure < failureCount {
		s.failures[o.Failure]++
	}
	for i, d := range o.Stages {
		if d > 0 {
			s.stages[i].add(d)
		}
	}
	if o.Failure != OK { // it says nothing about what there is to see
		return
	}
	m := s.model
	if m == nil || m.ref.SHA256 != o.Model.SHA256 || m.threshold != o.Threshold {
		m = s.change(o)
	}
	m.observe(o.Detections, at)
}

// change puts new counters in place of those of another model.
func (s *Source) change(o *Observation) *modelCounts {
	if s.model != nil {
		s.fold(s.model)
		s.replaced = append(s.replaced, s.model)
		if len(s.replaced) > maxReplaced {
			s.replaced = slices.Delete(s.replaced, 0, 1)
		}
	}
	s.model = &modelCounts{
		ref: o.Model, threshold: o.Threshold, labels: o.Labels,
		classes:    make([]uint64, min(len(o.Labels), maxClasses)+1),
		confidence: newSpread(confidenceBins), perFrame: newSpread(perFrameBins),
	}
	return s.model
}

func (m *modelCounts) observe(found []detect.Detection, at time.Time) {
	ran := at.Sub(m.at)
	if m.at.IsZero() || ran < 0 || ran > maxGap {
		ran = 0
	}
	m.at = at
	m.frames++
	m.perFrame.addCount(len(found))
	part := m.drift.part(ran)
	if part != nil {
		part.PerFrame.addCount(len(found))
	}
	rest := len(m.classes) - 1
	for i := range found {
		d := &found[i]
		if d.ClassID >= 0 && d.ClassID < rest {
			m.classes[d.ClassID]++
		} else {
			m.classes[rest]++
		}
		score := float64(d.Score)
		if math.IsNaN(score) {
			continue
		}
		m.confidence.addShare(score)
		if part != nil {
			part.Confidence.addShare(score)
		}
	}
}

// fold adds the classes of a model that is no longer in use to the sums by label.
func (s *Source) fold(m *modelCounts) {
	for class, n := range m.classes {
		if n > 0 {
			s.classes[s.admit(m.label(class))] += n
		}
	}
}

// admit is the label that a label is counted under.
func (s *Source) admit(label string) string {
	if _, ok := s.classes[label]; ok {
		return label
	}
	if len(s.classes) >= maxLabels {
		label = otherLabel
	}
	s.classes[label] += 0 // takes its place for good
	return label
}

const otherLabel = "other"

// label names a class; what is beyond the labels is "other", and what has none its number.
func (m *modelCounts) label(class int) string {
	switch {
	case class >= len(m.classes)-1:
		return otherLabel
	case m.labels[class] == "":
		return "class " + itoa(class)
	}
	label := m.labels[class]
	return strings.ToValidUTF8(label[:min(len(label), maxLabel)], "\uFFFD")
}
