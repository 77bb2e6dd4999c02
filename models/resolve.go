package models

import (
	"fmt"
	"strings"

	"gnomon/config/yamldoc"
	"gnomon/engine/detect"
	"gnomon/models/onnx"
)

// Resolve answers every question about a model from its manifest m (nil: there is none), what its file says about
// itself, and the shapes of its outputs: outs where the runtime has told them, in the model's own order, else nil and
// they are taken from info.
//
// A manifest that contradicts itself or the model is a *yamldoc.Error with all contradictions and their lines. Other
// errors say what is missing or unfit in the model and what to write in the manifest where that helps.
func Resolve(m *Manifest, info *onnx.Info, outs []detect.TensorInfo) (*Spec, error) {
	if m == nil {
		m = &Manifest{}
	}
	if err := m.report(m.check()); err != nil {
		return nil, err
	}
	if outs == nil {
		outs = tensorInfos(info.Outputs)
	}
	r := &resolver{m: m, md: readMetadata(info.Metadata), outs: outs, spec: &Spec{Origins: map[string]Origin{}}}
	if err := r.md.check(); err != nil {
		return nil, err
	}
	r.spec.Unclear = append(r.spec.Unclear, r.md.unread...)
	for _, step := range []func() error{
		func() error { return r.input(info) },
		r.family,
		r.checkSizes,
		r.classes,
		r.preprocessing,
		r.thresholds,
	} {
		if err := step(); err != nil {
			return nil, err
		}
		// A contradiction in one step makes nonsense of the next.
		if err := m.report(r.problems); err != nil {
			return nil, err
		}
	}
	r.names()
	if _, err := detect.NewDecoder(r.spec.Params(), outs); err != nil {
		return nil, r.unfit(err)
	}
	return r.spec, nil
}

// undecided marks an error that a line in the manifest would settle.
type undecided struct{ error }

func (u undecided) Unwrap() error { return u.error }

// resolver builds one Spec.
type resolver struct {
	m        *Manifest
	md       metadata
	outs     []detect.TensorInfo
	spec     *Spec
	sizes    bool             // the model has the input detect.SizesInput
	problems yamldoc.Problems // contradictions between the manifest and the model
}

// origin records where the value of a key came from.
func (r *resolver) origin(key string, value any, where Where, why string) {
	r.spec.Origins[key] = Origin{Value: fmt.Sprint(value), Where: where, Why: why}
}

// unclear notes something that was assumed.
func (r *resolver) unclear(format string, args ...any) {
	r.spec.Unclear = append(r.spec.Unclear, fmt.Sprintf(format, args...))
}

// choose takes the manifest's value of a key where there is one, and the family's default otherwise.
func choose[T any](r *resolver, key string, manifest *T, byDefault T, text func(T) string) T {
	if manifest != nil {
		r.origin(key, text(*manifest), FromManifest, "")
		return *manifest
	}
	r.origin(key, text(byDefault), FromFamily, string(r.spec.Family))
	return byDefault
}

// word is a pointer to v, or nil where the manifest is silent.
func word[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}

// names fills in what only the manifest and the metadata can say.
func (r *resolver) names() {
	s := r.spec
	if s.Name = r.m.Name; s.Name != "" {
		r.origin("name", s.Name, FromManifest, "")
	}
	if s.Version = r.m.Version; s.Version != "" {
		r.origin("version", s.Version, FromManifest, "")
	}
	if r.m.Release != nil {
		s.Release = *r.m.Release
		r.origin("release", s.Release, FromManifest, "")
	}
	if s.Providers = r.m.Providers; len(s.Providers) > 0 {
		r.origin("providers", strings.Join(s.Providers, ", "), FromManifest, "")
	}
	switch {
	case r.m.Licence != "":
		s.Licence = r.m.Licence
		r.origin("licence", s.Licence, FromManifest, "")
	case checkText(r.md.licence, maxName) == nil:
		s.Licence = r.md.licence
		r.origin("licence", s.Licence, FromMetadata, "license")
	}
}

// family settles the layout of the outputs.
func (r *resolver) family() error {
	s := r.spec
	if r.m.Family != "" {
		s.Family = r.m.Family
		r.origin("family", s.Family, FromManifest, "")
		return nil
	}
	if f, why := r.md.family(r.outs); f != "" {
		s.Family = f
		r.origin("family", f, FromMetadata, why)
		return nil
	}
	f, why, err := detect.GuessFamily(r.outs)
	if err != nil {
		return undecided{fmt.Errorf("find out its family: %w%s", err, r.rowsHint())}
	}
	s.Family = f
	r.origin("family", f, FromShape, why)
	return nil
}

// rowsHint adds to an undecided family what the number of rows speaks for: YOLOv5 has three anchors a cell of strides
// 8, 16 and 32, YOLOX one, and NanoDet-Plus one of strides 8 to 64. Other families have these shapes too, so it decides
// nothing.
func (r *resolver) rowsHint() string {
	if len(r.outs) != 1 || len(r.outs[0].Shape) != 3 {
		return ""
	}
	of := func(stride int) int64 {
		return int64((r.spec.Width + stride - 1) / stride * ((r.spec.Height + stride - 1) / stride))
	}
	cells := of(8) + of(16) + of(32)
	switch r.outs[0].Shape[1] {
	case cells:
		return fmt.Sprintf(" (%d rows are one for each cell, as yolox has them)", cells)
	case 3 * cells:
		return fmt.Sprintf(" (%d rows are three for each cell, as yolov5 has them)", 3*cells)
	case cells + of(64):
		return fmt.Sprintf(" (%d rows are one for each cell of strides 8 to 64, as nanodet-plus has them: write family: %s and labels)", cells+of(64), detect.NanoDet)
	}
	return ""
}

// unfit is the error of outputs that do not fit the family; it points at the manifest's line where the manifest
// chose the family.
func (r *resolver) unfit(err error) error {
	if r.m.Family == "" {
		return undecided{fmt.Errorf("read it as %s, by its %s: %w", r.spec.Family, r.spec.Origins["family"].Where, err)}
	}
	return r.m.report([]yamldoc.Problem{{Path: "family", Message: fmt.Sprintf("family is %s, but the model does not fit: %v", r.m.Family, err)}})
}

// tensorInfos is what a model file says of its inputs or outputs in the engine's words.
func tensorInfos(values []onnx.Value) []detect.TensorInfo {
	infos := make([]detect.TensorInfo, len(values))
	for i, v := range values {
		infos[i] = detect.TensorInfo{Name: v.Name, Type: detect.ElementType(v.Type)}
		for _, d := range v.Shape {
			infos[i].Shape = append(infos[i].Shape, d.Value)
		}
	}
	return infos
}

// count is a number with the word for what it counts.
func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
