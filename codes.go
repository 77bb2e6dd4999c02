package main

import (
	"gnomon/config/layers"
	"gnomon/models/artifact"
	"gnomon/models/bundle"
	"gnomon/models/deploy"
)

// codeInfo is one thing that a deployment, or a desired setting, can be refused for.
type codeInfo struct{ code, handling, meaning string }

// errorCodes are all codes that the shadow may report, each once. docs/deployment.md has the same table.
func errorCodes() []codeInfo {
	var all []codeInfo
	seen := map[string]bool{}
	add := func(code, handling, meaning string) {
		if !seen[code] { // the first one decides: deploy knows what it does about an error of the others
			seen[code] = true
			all = append(all, codeInfo{code, handling, meaning})
		}
	}
	for _, c := range deploy.Codes() {
		add(string(c.Code), string(c.Handling), c.Meaning)
	}
	by := func(temporary bool) string {
		if temporary {
			return string(deploy.Temporary)
		}
		return string(deploy.Counted)
	}
	for _, c := range artifact.Codes() {
		add(string(c.Code), by(c.Temporary), c.Meaning)
	}
	for _, c := range bundle.Codes() {
		add(string(c.Code), by(c.Temporary), c.Meaning)
	}
	for _, c := range [...]codeInfo{
		{codeProbeInvalid, by(false), "the model or its manifest cannot be read or loaded; the message says what is wrong"},
		{codeProbeCrashed, by(false), "the process that tried the model died; the file is malformed, or its exporter and ONNX Runtime do not agree"},
		{codeProbeTimeout, by(false), "the trial took too long; make the model smaller, or raise models.probe_timeout or engine.run_timeout"},
		{codeProbeMemory, by(false), "the trial ran out of memory; make the model smaller, or set models.probe_memory"},
		{codeProbeRun, by(false), "the model cannot be run; the message is the runtime's"},
		{codeProbeNotFinite, by(false), "the model gives NaN or infinities on a frame of this camera; export it again, often in FP32"},
		{codeProbeGolden, by(false), "the model does not find what its golden pictures say; it behaves differently on this device"},
		{codeProvider, by(true), "no execution provider that the model may run on can be used on this device; install what the message says, or let the manifest or engine.providers name another"},
		{codeNotApplied, string(deploy.Noted), "the setting is right and could not be applied; the message says why"},
	} {
		add(c.code, c.handling, c.meaning)
	}
	for _, c := range layers.Codes() {
		add(c.Code, string(deploy.Final), c.Meaning)
	}
	return all
}
