package main

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"gnomon/cloud/rotate"
	"gnomon/config/layers"
	"gnomon/devcloud"
	"gnomon/models/deploy"
)

// field is devcloud, a device of it with a configuration, and somebody who listens to what the device sends.
type field struct {
	t      *testing.T
	opts   devcloud.CloudOptions
	thing  devcloud.Thing
	config string // path
	cloud  *devcloud.Cloud
	admin  *cloudAdmin
	stop   func() // ends the cloud

	mu       sync.Mutex
	messages []message // of detections, in the order in which they came
}

// paced are sources of the pictures in a folder, in a loop. A folder shows 5 pictures a second and loses none, so six of them
// give a model the frames that its probation wants within a second or two, and devcloud the 30 messages a second that
// it takes.
func paced(t *testing.T, dir string, slots ...string) string {
	t.Helper()
	dir = absolute(t, dir)
	var b strings.Builder
	for i, slot := range slots {
		fmt.Fprintf(&b, "  s%d: {uri: %q, loop: true, slot: %s}\n", i, dir, slot)
	}
	return b.String()
}

const six = "default default default default default default"

// newField starts a cloud and configures a device with sources; models are more members of that section, in which
// ADDRESS stands for the cloud's, and rest is more of the file. The model that it begins with is that of YOLOv8's layout.
func newField(t *testing.T, sources, models, rest string) *field {
	t.Helper()
	needParts(t)
	f := &field{t: t, opts: devcloud.CloudOptions{Dir: filepath.Join(t.TempDir(), "cloud"), MQTTAddr: "127.0.0.1:0", HTTPSAddr: "127.0.0.1:0"}}
	f.begin(nil)
	var err error
	if f.thing, err = f.cloud.AddThing(demoThing); err != nil {
		t.Fatal(err)
	}
	if f.config, err = deviceConfig(f.thing, f.cloud); err != nil {
		t.Fatal(err)
	}
	text := strings.NewReplacer(
		"  sample: {uri: sample, loop: true}\n", sources, "mqtt: {", "mqtt: {publish: every-frame, ", "models: {", "models: {"+strings.ReplaceAll(models, "ADDRESS", f.address()),
	).Replace(string(read(t, f.config)))
	if !strings.Contains(rest, "model:") {
		rest += fmt.Sprintf("model: {path: %q}\n", absolute(t, "testdata/models/yolov8.onnx"))
	}
	if !strings.Contains(rest, "engine:") {
		rest += "engine: {sessions: 1, threads: 1}\n"
	}
	write(t, f.config, []byte(text+rest+"log: {format: json}\n"))
	return f
}

// begin starts the cloud, again where it was; before is called when it is there but serves nobody yet.
func (f *field) begin(before func()) {
	f.t.Helper()
	var err error
	if f.cloud, err = devcloud.NewCloud(f.opts); err != nil {
		f.t.Fatal(err)
	}
	f.opts.MQTTAddr = strings.TrimPrefix(f.cloud.MQTTURL(), "mqtts://")
	f.opts.HTTPSAddr = strings.TrimPrefix(f.cloud.HTTPSURL(), "https://")
	if before != nil {
		before()
	}
	running := inBackground(f.cloud.Run)
	var once sync.Once
	f.stop = func() {
		once.Do(func() {
			if err := running.stop(); err != nil {
				f.t.Error(err)
			}
		})
	}
	f.t.Cleanup(f.stop)
	f.until("the cloud is there", func() bool {
		f.admin, err = newCloudAdmin(&cloudFlags{dir: f.opts.Dir})
		return err == nil
	})
	f.listen()
}

// listen notes the detections.
func (f *field) listen() {
	f.t.Helper()
	files, err := f.cloud.AdminFiles()
	if err != nil {
		f.t.Fatal(err)
	}
	cert, err := tls.LoadX509KeyPair(files.CertFile, files.KeyFile)
	if err != nil {
		f.t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(read(f.t, files.CAFile))
	config := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{cert}, RootCAs: roots}
	c := mqtt.NewClient(mqtt.NewClientOptions().AddBroker(strings.Replace(f.cloud.MQTTURL(), "mqtts", "ssl", 1)).SetTLSConfig(config).
		SetClientID(files.Name + "-listener").SetAutoReconnect(false))
	for _, do := range []func() mqtt.Token{c.Connect, func() mqtt.Token {
		return c.Subscribe("dt/gnomon/"+demoThing+"/+/detections", 1, func(_ mqtt.Client, m mqtt.Message) {
			for _, line := range unbatched(m.Topic() + " " + string(m.Payload())) {
				var got message
				if err := json.Unmarshal([]byte(strings.TrimPrefix(line, m.Topic()+" ")), &got); err != nil {
					f.t.Error(err)
				}
				f.mu.Lock()
				f.messages = append(f.messages, got)
				f.mu.Unlock()
			}
		})
	}} {
		if token := do(); !token.WaitTimeout(time.Minute) || token.Error() != nil {
			f.t.Fatal("the listener: ", token.Error())
		}
	}
	f.t.Cleanup(func() { c.Disconnect(0) })
}

// until waits for something that is looked at again and again.
func (f *field) until(what string, ok func() bool) {
	f.t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); {
		if time.Now().After(end) {
			f.t.Fatalf("it did not come to this: %s\nthe shadow is %s", what, f.shadow())
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// address is the host and port of everything but MQTT.
func (f *field) address() string { return strings.TrimPrefix(f.cloud.HTTPSURL(), "https://") }

func (f *field) shadow() []byte {
	doc, err := f.cloud.Shadows().Get(demoThing, shadowName)
	if err != nil {
		return []byte("{}")
	}
	return doc
}

// told is what the device reports.
type told struct {
	Agent   aboutAgent
	Models  map[string]deploy.SlotReport
	Sources map[string]struct {
		Enabled bool
		Slot    string
		Score   *float32 `json:"score_threshold"`
		Error   *sourceProblem
	}
	Config      *layers.Report
	Certificate *rotate.Status
	Error       string
}

func (f *field) told() told {
	f.t.Helper()
	var doc struct{ State struct{ Reported told } }
	if err := json.Unmarshal(f.shadow(), &doc); err != nil {
		f.t.Fatal(err)
	}
	return doc.State.Reported
}

// reports waits for a report of a slot.
func (f *field) reports(slot, what string, ok func(deploy.SlotReport) bool) deploy.SlotReport {
	f.t.Helper()
	var r deploy.SlotReport
	f.until(slot+" "+what, func() bool {
		r = f.told().Models[slot]
		return ok(r)
	})
	return r
}

// runs waits until a slot runs a version, and nothing else is wanted there.
func (f *field) runs(slot, sha string) {
	f.t.Helper()
	f.reports(slot, "runs "+sha, func(r deploy.SlotReport) bool {
		return r.State == deploy.StateActive && r.SHA256 == sha && r.Candidate == nil
	})
}

// refused waits until a slot tells that a version was refused, and checks that another still runs.
func (f *field) refused(slot, sha, running string, codes ...string) deploy.SlotReport {
	f.t.Helper()
	r := f.reports(slot, "refuses "+sha, func(r deploy.SlotReport) bool {
		gone := r.State == deploy.StateFailed || r.State == deploy.StateRolledBack || r.State == deploy.StateBanned
		return gone && r.Error != nil && r.Candidate != nil && r.Candidate.SHA256 == sha
	})
	if !slices.Contains(codes, r.Error.Code) || r.SHA256 != running {
		f.t.Errorf("%+v, %+v; want one of %v and %q running", r, r.Error, codes, running)
	}
	return r
}

// desire merges into what is desired.
func (f *field) desire(desired any) {
	f.t.Helper()
	doc, err := json.Marshal(map[string]any{"state": map[string]any{"desired": desired}})
	if err != nil {
		f.t.Fatal(err)
	}
	if _, err := f.cloud.Shadows().Update(demoThing, shadowName, doc); err != nil {
		f.t.Fatal(err)
	}
}

// deploy desires a model in a slot, watched for a second unless it says otherwise.
func (f *field) deploy(slot string, m desiredModel) {
	f.t.Helper()
	if m.Probation == 0 {
		m.Probation = 1
	}
	f.desire(map[string]any{"models": map[string]any{slot: m.full()}})
}

// upload packs a model into the bucket.
func (f *field) upload(o packOptions) (desiredModel, *pack) {
	f.t.Helper()
	p := packed1(f.t, o)
	uri, err := f.admin.pushObject(f.t.Context(), p)
	if err != nil {
		f.t.Fatal(err)
	}
	return desiredModel{URI: uri, SHA256: p.SHA256}, p
}

// uploadRaw puts an ONNX file into the bucket as it is: packing refuses what the agent would refuse.
func (f *field) uploadRaw(name string) desiredModel {
	f.t.Helper()
	data := read(f.t, filepath.Join("testdata", filepath.FromSlash(name)))
	p := &pack{Name: filepath.Base(name), SHA256: digestOf(data), Tar: data}
	uri, err := f.admin.pushObject(f.t.Context(), p)
	if err != nil {
		f.t.Fatal(err)
	}
	return desiredModel{URI: uri, SHA256: p.SHA256}
}

func packed1(t *testing.T, o packOptions) *pack {
	t.Helper()
	o.model = filepath.Join("testdata", "models", o.model+".onnx")
	p, err := packModel(o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// seen are the messages of a source so far, or of all for "".
func (f *field) seen(source string) []message {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []message
	for _, m := range f.messages {
		if source == "" || m.Source == source {
			out = append(out, m)
		}
	}
	return out
}

// forget makes as if nothing had been seen.
func (f *field) forget() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.messages = nil
}

// news waits for n more messages of a source and returns them.
func (f *field) news(source string, n int) []message {
	f.t.Helper()
	before := len(f.seen(source))
	f.until(fmt.Sprintf("%d more messages of %s", n, source), func() bool { return len(f.seen(source)) >= before+n })
	return f.seen(source)[before:]
}

// sees waits until a source is looked at with the model in a file of testdata/models.
func (f *field) sees(source, model string) {
	f.t.Helper()
	sha := digestOf(read(f.t, filepath.Join("testdata", "models", model+".onnx")))
	f.until(source+" is looked at with "+model, func() bool {
		ms := f.seen(source)
		return len(ms) > 0 && ms[len(ms)-1].Model.SHA256 == sha
	})
}

// complete checks that no frame is missing, in any source of any process, and that models found something.
func (f *field) complete() {
	f.t.Helper()
	next := map[string]uint64{}
	found := map[string]int{}
	for _, m := range f.seen("") {
		key := m.BootID + " " + m.Source
		if want, begun := next[key]; begun && m.Seq != want {
			f.t.Errorf("%s: frame %d came after %d", key, m.Seq, want-1)
		}
		next[key] = m.Seq + 1
		found[m.Model.SHA256] += len(m.Detections)
	}
	for sha, n := range found {
		if n == 0 {
			f.t.Errorf("model %s found nothing", sha)
		}
	}
}

// agent starts the device's agent.
func (f *field) agent() *running { return start(f.t, "run", "--config", f.config) }

// end stops an agent, which must take its time to send everything, and no more.
func (f *field) end(r *running) {
	f.t.Helper()
	if out := r.stop(syscall.SIGTERM); !strings.Contains(out, "0 dropped, 0 kept on the disk") {
		f.t.Errorf("summary:\n%s", out)
	}
}

// kill ends an agent as a power cut does.
func (r *running) kill() {
	r.t.Helper()
	if err := r.cmd.Signal(os.Kill); err != nil {
		r.t.Fatal(err)
	}
	_ = r.wait() // killed: the error says so
}

func digestOf(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

func absolute(t *testing.T, path string) string {
	t.Helper()
	path, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// inProcess runs a command in this process, which is quicker where no native part is needed.
func inProcess(t *testing.T, args ...string) (stdout string, code int, err error) {
	t.Helper()
	var out strings.Builder
	c := program()
	c.SetArgs(args)
	c.SetOut(&out)
	err = c.ExecuteContext(t.Context())
	var wrong *usageError
	switch {
	case errors.As(err, &wrong), err != nil && isCobraUsage(err):
		code = exitUsage
	case err != nil:
		code = exitFailed
	}
	return out.String(), code, err
}
