package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"gnomon/devcloud/objects"
	"gnomon/models/deploy"
	"gnomon/models/store"
)

// presigned is a URL with which anybody may read an object of devcloud for five minutes.
func (f *field) presigned(uri string) string {
	f.t.Helper()
	r, err := http.NewRequest(http.MethodGet, f.cloud.HTTPSURL()+"/"+strings.TrimPrefix(uri, "s3://")+"?X-Amz-Expires=300", nil)
	if err != nil {
		f.t.Fatal(err)
	}
	id, secret := f.cloud.AdminCredentials()
	signer := v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true })
	url, _, err := signer.PresignHTTP(f.t.Context(), aws.Credentials{AccessKeyID: id, SecretAccessKey: secret}, r, "UNSIGNED-PAYLOAD", "s3", "eu-central-1", time.Now())
	if err != nil {
		f.t.Fatal(err)
	}
	return url
}

// onlyCUDA is a manifest of the model yolov5 that allows no other provider.
func onlyCUDA(t *testing.T) string {
	t.Helper()
	return write(t, filepath.Join(t.TempDir(), "cuda.yaml"), append(read(t, "testdata/models/yolov5.yaml"), "\nproviders: [cuda]\n"...))
}

// A model that may run on nothing that is here is refused, with what to do about it, and waits for that: the old one stays.
func TestDeployWithoutItsProvider(t *testing.T) {
	t.Parallel()
	f := newField(t, paced(t, "testdata/pictures", "default"), "probe_memory: 1GB, ", "engine: {providers: [tensorrt, cuda, cpu], sessions: 1, threads: 1}\n")
	r := f.agent()
	f.sees("s0", "yolov8")
	m, _ := f.upload(packOptions{model: "yolov5", manifest: onlyCUDA(t)})
	f.deploy("default", m)
	got := f.reports("default", "lacks its provider", func(r deploy.SlotReport) bool {
		return r.Error != nil && r.Candidate != nil && r.Candidate.SHA256 == m.SHA256
	})
	if got.Error.Code != codeProvider || got.URI != deploy.Builtin || got.RetryAt.IsZero() || !strings.Contains(got.Error.Message, "set engine.library to a GPU build of ONNX Runtime") {
		t.Errorf("%+v, %+v", got, got.Error)
	}
	f.news("s0", 2)
	f.sees("s0", "yolov8")

	// The same with a processor behind it runs.
	cpu := write(t, filepath.Join(t.TempDir(), "cpu.yaml"), append(read(t, "testdata/models/yolov5.yaml"), "\nproviders: [cuda, cpu]\n"...))
	m, _ = f.upload(packOptions{model: "yolov5", manifest: cpu})
	f.deploy("default", m)
	f.runs("default", m.SHA256)
	f.sees("s0", "yolov5")
	f.end(r)
}

// Models come from everywhere that a reference can name, one after the other, each is watched and committed, the
// detections name it, and no frame is lost over all of that.
func TestDeployFromEverywhere(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	allow := fmt.Sprintf("allow: ['s3://%s/*', 'oci://ADDRESS/*', 'https://ADDRESS/*', 'file://%s/*'], ", objects.ModelBucket, dir)
	f := newField(t, paced(t, "testdata/pictures", strings.Fields(six)...), allow, "")
	r := f.agent()
	f.sees("s0", "yolov8")
	f.reports("default", "runs the configured model", func(r deploy.SlotReport) bool { return r.State == deploy.StateActive && r.URI == deploy.Builtin })
	if a := f.told().Agent; a.Version == "" || a.Arch != runtime.GOARCH || !strings.HasPrefix(a.Runtime, "onnxruntime 1.") {
		t.Errorf("the agent says of itself: %+v", a)
	}

	s3, _ := f.upload(packOptions{model: "yolov5", release: 1})
	f.deploy("default", s3)
	f.runs("default", s3.SHA256)
	f.sees("s0", "yolov5")
	if r := f.told().Models["default"]; r.Version != "1.2" || r.Release != 1 || r.URI != s3.URI {
		t.Errorf("reported: %+v", r)
	}

	artifact, err := f.admin.pushArtifact(t.Context(), packed1(t, packOptions{model: "yolox", release: 2}))
	if err != nil {
		t.Fatal(err)
	}
	oci := desiredModel{URI: artifact, SHA256: digestIn(artifact)}
	f.deploy("default", oci)
	f.runs("default", oci.SHA256)
	f.sees("s1", "yolox")

	https, _ := f.upload(packOptions{model: "uint8", release: 3, version: "3.0"})
	https.URI = f.presigned(https.URI)
	f.deploy("default", https)
	f.runs("default", https.SHA256)
	f.sees("s2", "uint8")
	if r := f.told().Models["default"]; strings.Contains(r.URI, "?") || r.Version != "3.0" {
		t.Errorf("reported: %+v", r)
	}

	local := packed1(t, packOptions{model: "nhwc", release: 4})
	file := desiredModel{URI: "file://" + write(t, filepath.Join(dir, "local.tar"), local.Tar), SHA256: local.SHA256}
	f.deploy("default", file)
	f.runs("default", file.SHA256)
	f.sees("s3", "nhwc")

	// A tag is resolved by the device, which tells what it found; and the files lie there one by one.
	onnx, manifest := read(t, "testdata/models/dynamic.onnx"), read(t, "testdata/models/dynamic.yaml")
	digest, err := f.cloud.Objects().PushArtifact("models/dynamic", "latest", objects.File{Name: "dynamic.onnx", Data: onnx},
		objects.File{Name: "dynamic.yaml", Data: append(manifest, "release: 5\n"...)})
	if err != nil {
		t.Fatal(err)
	}
	f.deploy("default", desiredModel{URI: "oci://" + f.address() + "/models/dynamic:latest"})
	f.runs("default", strings.TrimPrefix(digest, "sha256:"))
	f.sees("s4", "dynamic")

	f.deploy("default", desiredModel{URI: deploy.Builtin})
	f.runs("default", "")
	f.sees("s5", "yolov8")
	f.end(r)
	f.complete()
}

// Whatever is wrong with a model, the old one runs on, the reason is reported, and the next one is taken.
func TestDeployRefused(t *testing.T) {
	t.Parallel()
	ours, key := signingKey(t)
	theirs, _ := signingKey(t)
	f := newField(t, paced(t, "testdata/pictures", "default", "default", "default", "default", "default", "other"),
		fmt.Sprintf("trusted_keys: [%q], probe_memory: 1GB, ", key), "engine: {sessions: 1, threads: 1, run_timeout: 1s}\n")
	r := f.agent()
	f.sees("s0", "yolov8")
	signed := func(m desiredModel, data []byte) desiredModel {
		m.Signature = ours(data)
		return m
	}
	packed := func(o packOptions) desiredModel {
		m, p := f.upload(o)
		return signed(m, p.Tar)
	}
	raw := func(name string) desiredModel {
		return signed(f.uploadRaw(name), read(t, filepath.Join("testdata", filepath.FromSlash(name))))
	}
	good := packed(packOptions{model: "yolov5", release: 3})
	unsigned, _ := f.upload(packOptions{model: "yolov5", release: 4})
	foreign, p := f.upload(packOptions{model: "yolov5", release: 5})
	foreign.Signature = theirs(p.Tar)
	other, _ := f.upload(packOptions{model: "yolox"})
	mistaken := good
	mistaken.SHA256 = strings.Repeat("a", 64)
	wrongRelease := packed(packOptions{model: "yolov5", release: 6})
	wrongRelease.Release = 7

	nan := packed(packOptions{model: "nan"})
	nan.Probation = 10 // the picture that shows it comes every other second

	rows := []struct {
		name  string
		m     desiredModel
		codes []string
	}{
		{"nothing that may be fetched", desiredModel{URI: "file:///etc/hostname", SHA256: good.SHA256}, []string{"not_allowed"}},
		{"another digest", mistaken, []string{"digest_mismatch"}},
		{"not signed", unsigned, []string{"signature_missing"}},
		{"signed by somebody", foreign, []string{"signature_invalid"}},
		{"signed for another", desiredModel{URI: other.URI, SHA256: other.SHA256, Signature: good.Signature}, []string{"signature_invalid"}},
		{"another release", wrongRelease, []string{"version_mismatch"}},
		{"no known head", raw("models/unknown_head.onnx"), []string{codeProbeInvalid}},
		{"no model", raw("pictures/native_128x64.png"), []string{"bundle_incomplete", codeProbeInvalid}},
		{"NaN", nan, []string{codeProbeNotFinite, "probation_not_finite"}},
		{"golden pictures of another", packed(packOptions{model: "yolov5", golden: goldenFolder(t, 0.5)}), []string{codeProbeGolden}},
		{"crash", raw("hostile/crash.onnx"), []string{codeProbeCrashed}},
		{"memory", raw("hostile/greedy.onnx"), []string{codeProbeMemory}},
		{"hang", raw("hostile/endless.onnx"), []string{codeProbeTimeout}},
	}
	for _, row := range rows {
		if row.name == "crash" && runtime.GOARCH != "amd64" {
			continue // other processors divide so without an exception
		}
		f.deploy("default", row.m)
		if got := f.refused("default", row.m.SHA256, "", row.codes...); t.Failed() {
			t.Fatalf("%s: %+v", row.name, got)
		}
	}

	// An entry that makes no sense and one for a slot that is not there leave another one alone.
	f.desire(map[string]any{"models": map[string]any{"default": map[string]any{"uri": 7}, "other": good.full(), "none": good.full()}})
	f.runs("other", good.SHA256)
	f.sees("s5", "yolov5")
	f.until("the others are refused", func() bool {
		m := f.told().Models
		return m["none"].Error != nil && m["none"].Error.Code == "unknown_slot" && m["default"].Error != nil && m["default"].Error.Code == "bad_desired"
	})
	f.news("s0", 2)
	f.sees("s0", "yolov8")

	// Golden pictures that fit, and then a release that is lower than this one, which is taken when it is asked for twice.
	fits := packed(packOptions{model: "yolov5", release: 8, golden: goldenFolder(t, 0)})
	f.desire(map[string]any{"models": map[string]any{"none": nil}})
	f.deploy("default", fits)
	f.runs("default", fits.SHA256)
	f.deploy("default", good)
	f.refused("default", good.SHA256, fits.SHA256, "downgrade_refused")
	good.AllowDowngrade = true
	f.deploy("default", good)
	f.runs("default", good.SHA256)
	if d := f.told().Models["none"]; d.Error != nil {
		t.Errorf("still reported: %+v", d)
	}
	f.end(r)
	f.complete()
}

// signingKey makes a key, and the file with its public half.
func signingKey(t *testing.T) (sign func([]byte) string, file string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	sign = func(data []byte) string {
		sum := sha256.Sum256(data)
		signature, err := ecdsa.SignASN1(rand.Reader, key, sum[:])
		if err != nil {
			t.Fatal(err)
		}
		return base64.StdEncoding.EncodeToString(signature)
	}
	return sign, write(t, filepath.Join(t.TempDir(), "key.pem"), pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

// goldenFolder is what the models of the test find in a picture, as golden pictures, with scores that are off by so much.
func goldenFolder(t *testing.T, off float64) string {
	t.Helper()
	var e expectation
	if err := json.Unmarshal(read(t, filepath.Join("testdata", "expect.json")), &e); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	p := e.Pictures[0]
	write(t, filepath.Join(dir, p.File), read(t, filepath.Join("testdata", "pictures", p.File)))
	var ds []map[string]any
	for _, o := range p.Objects {
		score := o.Score - off
		if score < 0 {
			score = 0
		}
		ds = append(ds, map[string]any{"class_id": o.ClassID, "score": score, "box": o.Box})
	}
	data, err := json.Marshal(map[string]any{"format": 1, "iou": 0.9, "score": 0.05, "pictures": []any{map[string]any{"file": p.File, "detections": ds}}})
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "golden.json"), data)
	return dir
}

// A device that starts without a network runs what was deployed, and does what was desired meanwhile when the network
// is back. A death in a trial or probation leads back to the committed model and counts, an orderly end does not.
func TestDeployOverRestarts(t *testing.T) {
	t.Parallel()
	// One source is listened to: after a time without a network a hundred messages a second are taken, and no more.
	quiet := strings.NewReplacer("loop: true", "loop: true, publish: detections, score_threshold: 1", "  s0: {", "  s0: {publish: every-frame, ")
	sources := strings.Replace(quiet.Replace(paced(t, "testdata/pictures", strings.Fields(six)...)), "publish: detections, score_threshold: 1, ", "", 1)
	f := newField(t, sources, "", "")
	one, _ := f.upload(packOptions{model: "yolov5"})
	two, _ := f.upload(packOptions{model: "yolox"})
	three, _ := f.upload(packOptions{model: "nhwc"})
	four, _ := f.upload(packOptions{model: "uint8"})
	endless := f.uploadRaw("hostile/endless.onnx")
	begins := func(r *running, with string) {
		t.Helper()
		await(t, "the agent with "+with, r.lines, func(s string) bool { return strings.Contains(s, "watching s0, ") && strings.Contains(s, " with "+with) })
	}
	in := func(state deploy.State, m desiredModel) deploy.SlotReport {
		t.Helper()
		return f.reports("default", string(state), func(r deploy.SlotReport) bool {
			return r.State == state && r.Candidate != nil && r.Candidate.SHA256 == m.SHA256
		})
	}

	// uncounted checks what an agent that has ended left on the disk.
	uncounted := func(m desiredModel) {
		t.Helper()
		var st store.State
		if err := json.Unmarshal(read(t, filepath.Join(f.thing.Dir, "models", "state.json")), &st); err != nil {
			t.Fatal(err)
		}
		slot := st.Slots["default"]
		if slot.Candidate != nil || slot.Active.SHA256 != two.SHA256 {
			t.Errorf("after an orderly end: %+v", slot)
		}
		for key := range st.Failures {
			if strings.Contains(key, m.SHA256) {
				t.Errorf("an orderly end counts as a failure: %+v", st.Failures)
			}
		}
	}

	r := f.agent()
	f.deploy("default", one)
	f.runs("default", one.SHA256)
	f.desire(map[string]any{"sources": map[string]any{"s1": map[string]any{"enabled": false}}})
	f.until("s1 is off", func() bool { s, ok := f.told().Sources["s1"]; return ok && !s.Enabled })
	f.end(r)

	f.stop() // no network
	r = f.agent()
	begins(r, "test-yolov5 1.2")
	await(t, "s1 that is still off", r.lines, func(s string) bool { return strings.HasPrefix(s, "s1: disabled, ") })
	f.begin(func() { f.deploy("default", two) })
	f.runs("default", two.SHA256)
	f.sees("s0", "yolox")

	three.Probation = 600
	f.deploy("default", three)
	in(deploy.StateProbation, three)
	f.sees("s0", "nhwc")
	r.kill()
	r = f.agent()
	begins(r, "test-yolox 1")
	if got := f.refused("default", three.SHA256, two.SHA256, "interrupted"); got.Failures != 1 || got.RetryAt.IsZero() {
		t.Errorf("after a death in probation: %+v", got)
	}

	four.Probation = 600
	f.deploy("default", four)
	f.sees("s0", "uint8")
	f.end(r)
	uncounted(four)
	f.forget()
	r = f.agent()
	begins(r, "test-yolox 1")
	f.sees("s0", "uint8") // and it is tried again at once

	f.deploy("default", endless)
	in(deploy.StateProbing, endless)
	f.end(r)
	uncounted(endless)
}

// What the README says of the demo: three commands in three terminals, and a fourth that tells how it went.
func TestDevcloudDemo(t *testing.T) {
	t.Parallel()
	needSample(t)
	dir := filepath.Join(t.TempDir(), "state")
	demo := start(t, "devcloud", "--dir", dir, "--mqtt", "127.0.0.1:0", "--https", "127.0.0.1:0")
	line := await(t, "what to run", demo.lines, func(s string) bool { return strings.Contains(s, "gnomon run --config ") })
	_, config, _ := strings.Cut(line, "--config ")
	await(t, "a way to see what happens", demo.lines, func(s string) bool { return strings.Contains(s, "gnomon devcloud watch --dir "+dir) })
	agent := start(t, "run", "--config", strings.TrimSpace(config))
	ref := strings.TrimSpace(good(t, "devcloud", "push-model", "default", "--version", "2", "--release", "2", "--dir", dir))
	good(t, "devcloud", "deploy", "default", ref, "--probation", "3s", "--dir", dir)
	out := good(t, "devcloud", "watch", "--settled", "--timeout", "2m", "--dir", dir)
	if end := lastLine(out); !strings.Contains(end, "default: active, running version 2 (") {
		t.Errorf("it ended so: %s\n%s", end, out)
	}
	// What the device refuses ends with exit code 1.
	if _, _, err := inProcess(t, "devcloud", "deploy", "default", "file:///none.onnx", "--sha256", strings.Repeat("a", 64), "--dir", dir); err != nil {
		t.Fatal(err)
	}
	stdout, code, err := inProcess(t, "devcloud", "watch", "--settled", "--timeout", "2m", "--dir", dir)
	if code != exitFailed || !strings.Contains(err.Error(), "(not_allowed)") {
		t.Errorf("exit code %d, %v\n%s", code, err, stdout)
	}
	agent.stop(syscall.SIGTERM)
	demo.stop(os.Interrupt)
}
