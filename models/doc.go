// Package models says how a model file is to be read: what its input wants, how its outputs are laid out, what its
// classes are called.
//
// A model is an ONNX file, optionally with a manifest beside it: model.yaml for model.onnx. Load reads both and
// resolves them to a Spec, in which every question has an answer and every answer says where it came from. The order
// is fixed: the manifest; where it is silent the metadata inside the ONNX file, as the Ultralytics exporters write it;
// where that is silent the names and shapes of the inputs and outputs; and last the defaults of the family. Where an answer is
// ambiguous the result is an error that says what to write in the manifest, and a manifest that contradicts the model
// is an error that names both values.
//
// docs/models.md describes the manifest key by key, and the families.
//
// Pure Go; nothing here runs a model. Functions may be called concurrently, and values are not changed once returned.
package models
