package interop

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"gnomon/devcloud"
)

// cliConfig makes version 2 of the AWS CLI take blobs as version 1 does, and version 1 print times as version 2 does.
const cliConfig = `[default]
cli_binary_format = raw-in-base64-out
cli_timestamp_format = iso8601
s3 =
  multipart_threshold = 8MB
  multipart_chunksize = 8MB
`

// cli is the AWS CLI with the administrator's key, and nothing of its user's configuration.
type cli struct {
	t    *testing.T
	path string
	dir  string // where it runs
	env  []string
	url  string
}

func newCLI(t *testing.T, c *devcloud.Cloud) *cli {
	t.Helper()
	path, err := exec.LookPath("aws")
	if err != nil {
		t.Fatal("aws is not installed, and GNOMON_REQUIRE_INTEROP=1 says that it must be: apt-get install awscli")
	}
	a := &cli{t: t, path: path, dir: t.TempDir(), url: c.HTTPSURL()}
	config := a.file("config", []byte(cliConfig))
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "AWS_") {
			a.env = append(a.env, v)
		}
	}
	id, secret := c.AdminCredentials()
	a.env = append(
		a.env, "AWS_ACCESS_KEY_ID="+id, "AWS_SECRET_ACCESS_KEY="+secret, "AWS_CA_BUNDLE="+c.CAFile(),
		"AWS_CONFIG_FILE="+config, "AWS_SHARED_CREDENTIALS_FILE="+filepath.Join(a.dir, "none"),
		"AWS_DEFAULT_REGION=eu-central-1", "AWS_EC2_METADATA_DISABLED=true", "AWS_PAGER=",
		"PYTHONUTF8=1", "NO_PROXY=127.0.0.1", "no_proxy=127.0.0.1",
	)
	return a
}

// file writes one where the CLI runs, and returns its path.
func (a *cli) file(name string, data []byte) string {
	a.t.Helper()
	path := filepath.Join(a.dir, name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		a.t.Fatal(err)
	}
	return path
}

// run returns what the CLI says on its two outputs. An error is that of its exit.
func (a *cli) run(args ...string) (stdout, stderr string, err error) {
	ctx, cancel := context.WithTimeout(a.t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, a.path, append([]string{"--endpoint-url", a.url}, args...)...)
	out, complaints := bytes.Buffer{}, bytes.Buffer{}
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = a.dir, a.env, &out, &complaints
	err = cmd.Run()
	return out.String(), complaints.String(), err
}

func (a *cli) ok(args ...string) string {
	a.t.Helper()
	out, complaints, err := a.run(args...)
	if err != nil {
		a.t.Fatalf("aws %s: %v\n%s%s", strings.Join(args, " "), err, out, complaints)
	}
	return out
}

// refused wants a failure that is reported in these words.
func (a *cli) refused(want string, args ...string) {
	a.t.Helper()
	out, complaints, err := a.run(args...)
	if err == nil || !strings.Contains(complaints, want) {
		a.t.Errorf("aws %s: %v, want %q\n%s%s", strings.Join(args, " "), err, want, out, complaints)
	}
}

// decode is ok for an answer in JSON.
func (a *cli) decode(into any, args ...string) {
	a.t.Helper()
	if out := a.ok(args...); json.Unmarshal([]byte(out), into) != nil {
		a.t.Fatalf("aws %s: %s", strings.Join(args, " "), out)
	}
}

// document is the part of a shadow that does not depend on the clock.
type document struct {
	State    json.RawMessage
	Metadata map[string]any
	Version  int
}

// shadow makes a call that writes its answer to a file.
func (a *cli) shadow(args ...string) document {
	a.t.Helper()
	answer := a.file("answer", nil)
	a.ok(append(args, answer)...)
	data, err := os.ReadFile(answer)
	d := document{}
	if err == nil {
		err = json.Unmarshal(data, &d)
	}
	if err != nil {
		a.t.Fatalf("aws %s: %v, %s", strings.Join(args, " "), err, data)
	}
	return d
}
