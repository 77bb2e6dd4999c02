package main

import (
	"slices"
	"strings"
)

// rule says what one package may do. Directories are relative to the module's root, "." being the root itself.
type rule struct {
	dir  string   // exact, or with /... for everything from there down
	may  []string // directories of ours that it may import; anything for all
	cgo  bool     // may use cgo, itself or through what it imports
	what string   // what the package is, which is the reason for the rule
}

// anything in a rule's may lets the package import everything of ours.
const anything = "anything"

// rules is the import table of docs/architecture.md. Of several rules that fit a package the most exact one holds.
func rules() []rule {
	return []rule{
		{dir: ".", may: []string{anything}, cgo: true, what: "the wiring"},
		{dir: "config", may: []string{"config/yamldoc", "telemetry/redact"}, what: "reads the settings, knows none of the parts it sets"},
		{dir: "config/layers", may: []string{"config", "config/yamldoc"}, what: "puts the cloud's settings over the file"},
		{dir: "config/yamldoc", may: []string{"telemetry/redact"}, what: "YAML with line numbers, for whoever reads a file people write"},
		{dir: "engine", may: []string{"engine/letterbox", "engine/detect"}, what: "the domain"},
		{dir: "engine/scene", what: "looks at pixels, whoever has them"},
		{dir: "engine/letterbox", what: "arithmetic that everybody else leans on"},
		{dir: "engine/detect", what: "arithmetic that everybody else leans on"},
		{dir: "engine/tensor", may: []string{"engine", "engine/letterbox", "engine/detect"}, cgo: true, what: "a rim: pixels into tensors in C"},
		{dir: "engine/ort", may: []string{"engine", "engine/letterbox", "engine/detect"}, cgo: true, what: "a rim: ONNX Runtime"},
		{dir: "camera", may: []string{"engine", "engine/letterbox", "engine/detect", "camera/child", "camera/testcard", "camera/v4l2", "engine/scene", "telemetry/redact"}, cgo: true, what: "a rim: OpenCV"},
		{dir: "camera/child", may: []string{"telemetry/redact"}, what: "runs programs that write pictures; knows no OpenCV"},
		{dir: "camera/reach", what: "asks whether a camera is there"},
		{dir: "camera/testcard", what: "draws"},
		{dir: "camera/v4l2", what: "asks the kernel for cameras"},
		{dir: "models", may: []string{"engine/detect", "engine/letterbox", "config/yamldoc", "models/onnx"}, what: "what a model is and where it lies; runs none"},
		{dir: "models/onnx", what: "reads ONNX files"},
		{dir: "models/artifact", what: "says which models may come in, and fetches them"},
		{dir: "models/bundle", what: "turns downloads into the files of a model"},
		{dir: "models/golden", may: []string{"engine/detect"}, what: "compares detections with what a model should find"},
		{dir: "models/deploy", may: []string{"models/store", "models/artifact"}, what: "decides what runs; runs nothing itself"},
		{dir: "models/store", what: "keeps files by digest, whatever is in them"},
		{dir: "telemetry", may: []string{"engine/detect", "telemetry/spool", "cloud/keypair"}, what: "tells the cloud what was seen; knows boxes, no engine"},
		{dir: "telemetry/spool", what: "keeps records until they are delivered, whatever is in them"},
		{dir: "telemetry/logs", may: []string{"telemetry/redact"}, what: "takes lines to whoever publishes them"},
		{dir: "telemetry/redact", what: "takes secrets out of text"},
		{dir: "telemetry/metrics", may: []string{"engine/detect", "telemetry/host"}, what: "counts what was seen; knows boxes, no engine"},
		{dir: "telemetry/host", what: "reads the machine"},
		{dir: "telemetry/host/nvml", may: []string{"telemetry/host"}, cgo: true, what: "reads GPUs through their driver"},
		{dir: "telemetry/health", what: "judges what others see"},
		{dir: "telemetry/advisor", may: []string{"telemetry", "shadow"}, what: "only tests: the connection against the catalogue of faults"},
		{dir: "supervise", may: []string{"telemetry/redact"}, what: "says whether the agent is alive and how it ended; knows none of its parts"},
		{dir: "doctor", may: []string{"cloud/keypair", "telemetry/redact"}, what: "looks at what an agent needs; is told where"},
		{dir: "bench/soak", may: []string{anything}, what: "a tool: the real agent, for long"},
		{dir: "bench/soak/trend", what: "tells growth from noise"},
		{dir: "bench/soak/month", may: []string{anything}, what: "only tests: a month of the agent's parts"},
		{dir: "shadow", what: "the Device Shadow protocol, whatever is configured with it"},
		{dir: "cloud", may: []string{"cloud/keypair"}, what: "AWS identity, whoever needs it"},
		{dir: "cloud/keypair", what: "a device's key and certificate, for all who connect with them"},
		{dir: "cloud/params", may: []string{"telemetry/redact"}, what: "a copy of parameters, whatever they mean"},
		{dir: "cloud/hardware", what: "what a machine calls itself"},
		{dir: "cloud/link", may: []string{"cloud/keypair"}, what: "a connection with a certificate that is not the agent's yet"},
		{dir: "cloud/provision", may: []string{"cloud/keypair", "cloud/link"}, what: "becomes a thing by a claim"},
		{dir: "cloud/rotate", may: []string{"cloud/keypair"}, what: "exchanges a certificate; connects through others"},
		{dir: "deploy/aws", may: []string{anything}, what: "only tests: the CloudFormation template against devcloud"},
		{dir: "deploy/systemd", what: "only tests: has systemd look at the unit"},
		{dir: "bench", may: []string{"engine", "engine/detect", "engine/letterbox"}, what: "measures detectors"},
		{dir: "devcloud/...", may: []string{anything}, what: "stands in for the cloud, so it speaks everybody's protocol"},
		{dir: "testdata/gen/...", may: []string{"models", "models/onnx", "config/yamldoc", "engine/detect", "engine/letterbox"}, what: "makes test data"},
		{dir: "third_party/...", may: []string{"models", "models/onnx", "config/yamldoc"}, what: "tools that build parts"},
		{dir: "third_party/benchtable", may: []string{"bench", "models", "engine", "engine/detect", "engine/letterbox"}, what: "holds gnomon against its targets"},
		{dir: "third_party/embedded", may: []string{"third_party/embedded/branches"}, what: "the parts inside the binary"},
		{dir: "third_party/embedded/branches", what: "packs machine code"},
		{dir: "third_party/embedded/pack", may: []string{"third_party/embedded/branches"}, what: "a tool that builds a part"},
	}
}

// knownCgo lists modules of others that cannot be built without cgo, for when build constraints hide them from the
// go tool on this machine.
func knownCgo() []string {
	return []string{"gocv.io/x/gocv", "github.com/yalue/onnxruntime_go"}
}

// table finds rules.
type table struct{ rules []rule }

// newTable sorts the rules so that the first that fits is the most exact one.
func newTable(rules []rule) table {
	sorted := slices.Clone(rules)
	slices.SortStableFunc(sorted, func(a, b rule) int {
		_, aWide := strings.CutSuffix(a.dir, "/...")
		_, bWide := strings.CutSuffix(b.dir, "/...")
		switch {
		case aWide != bWide && bWide:
			return -1
		case aWide != bWide:
			return 1
		}
		return len(b.dir) - len(a.dir)
	})
	return table{sorted}
}

// find is the rule for a directory. Packages below an internal directory are parts of the package above it and
// share its rule.
func (t table) find(dir string) (rule, bool) {
	dir = owner(dir)
	for _, r := range t.rules {
		prefix, wide := strings.CutSuffix(r.dir, "/...")
		if dir == prefix || wide && strings.HasPrefix(dir, prefix+"/") {
			return r, true
		}
	}
	return rule{}, false
}

// withCgo lists the directories whose packages may use cgo.
func (t table) withCgo() []string {
	var dirs []string
	for _, r := range t.rules {
		if r.cgo {
			dirs = append(dirs, name(r.dir))
		}
	}
	slices.Sort(dirs)
	return dirs
}

// allows tells whether a package under the rule may import one of ours. What lies in an internal directory is open
// to whom the compiler lets in.
func (r rule) allows(dir string) bool {
	return slices.Contains(r.may, anything) || slices.Contains(r.may, dir) || owner(dir) != dir
}

// owner is the directory above the first internal one, or dir itself.
func owner(dir string) string {
	above, _, _ := strings.Cut("/"+dir+"/", "/internal/")
	if above == "" {
		return "."
	}
	return strings.Trim(above, "/")
}

// name is what people call a directory's package.
func name(dir string) string {
	if dir == "." {
		return "main"
	}
	return dir
}
