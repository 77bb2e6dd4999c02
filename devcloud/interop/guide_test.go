package interop

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gnomon/devcloud"
)

const (
	// guideFile is the page whose commands are run, relative to this directory.
	guideFile = "../../docs/aws.md"
	// guideModel is what stands for a model in it.
	guideModel = "weights"
	// guidePatience is for all of the page's commands.
	guidePatience = 8 * time.Minute
)

// guideBlocks are the page's shell commands that a test can run: those that are not marked as for AWS only.
func guideBlocks(t *testing.T) (blocks []string) {
	t.Helper()
	data, err := os.ReadFile(guideFile)
	if err != nil {
		t.Fatal(err)
	}
	block, inside := strings.Builder{}, false
	for line := range strings.Lines(string(data)) {
		switch {
		case !inside && strings.TrimSpace(line) == "```sh":
			block.Reset()
			inside = true
		case inside && strings.TrimSpace(line) == "```":
			inside = false
			if text := block.String(); !strings.HasPrefix(text, "# AWS only\n") {
				blocks = append(blocks, text)
			}
		case inside:
			block.WriteString(line)
		}
	}
	return blocks
}

// TestAWSGuide runs the commands of docs/aws.md as they stand there, one after the other in one shell, with what the
// commands before them would have found out.
func TestAWSGuide(t *testing.T) {
	required(t)
	t.Parallel()
	blocks := guideBlocks(t)
	script := strings.Join(blocks, "")
	for _, call := range []string{"ssm put-parameter", "ssm get-parameters-by-path", "s3 cp", "s3 ls", "ecr get-login-password", "iot-data update-thing-shadow", "iot-data get-thing-shadow"} {
		if !strings.Contains(script, "aws "+call) {
			t.Errorf("no block that is run has aws %s, which devcloud can do", call)
		}
	}
	c := startCloud(t)
	a := newCLI(t, c)
	a.file("model.tar", []byte(guideModel))
	// The page's reader has the CLI's endpoints by the region; here they are devcloud's.
	bin := t.TempDir()
	wrapper := "#!/bin/sh\nexec '" + a.path + "' --endpoint-url '" + a.url + "' \"$@\"\n"
	if err := os.WriteFile(filepath.Join(bin, "aws"), []byte(wrapper), 0o700); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), guidePatience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", script+"\nprintf 'PASSWORD %s\\n' \"$PASSWORD\"\n")
	out, complaints := bytes.Buffer{}, bytes.Buffer{}
	cmd.Dir, cmd.Stdout, cmd.Stderr = a.dir, &out, &complaints
	cmd.Env = append(a.env, "PATH="+bin+":"+os.Getenv("PATH"), "BUCKET=gnomon-models", "THING=gnomon-0421",
		"REPOSITORY="+strings.TrimPrefix(c.HTTPSURL(), "https://")+"/gnomon/models")
	if err := cmd.Run(); err != nil {
		t.Fatalf("the commands of %s: %v\n%s%s", guideFile, err, out.String(), complaints.String())
	}
	checkGuide(t, c, a, out.String())
	shadow, err := c.Shadows().Get("gnomon-0421", "gnomon")
	if err != nil {
		t.Fatal(err)
	}
	d := struct {
		State struct {
			Desired struct {
				Models      map[string]struct{ URI, SHA256, Version string }
				Certificate struct{ Rotate string }
			}
		}
	}{}
	if err := json.Unmarshal(shadow, &d); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte(guideModel))
	want := struct{ URI, SHA256, Version string }{"s3://gnomon-models/models/person-7.tar", hex.EncodeToString(sum[:]), "7"}
	if got := d.State.Desired.Models["default"]; got != want {
		t.Errorf("the shadow asks for %+v, want %+v", got, want)
	}
	if d.State.Desired.Certificate.Rotate == "" {
		t.Error("the shadow orders no certificate")
	}
}

// checkGuide looks at what the commands printed and left behind.
func checkGuide(t *testing.T, c *devcloud.Cloud, a *cli, out string) {
	t.Helper()
	for _, want := range []string{
		"/gnomon/fleet/log/level\tdebug\n", "/gnomon/fleet/telemetry/metrics/every\t60s\n", " 7 person-7.tar\n",
		`"uri":"s3://gnomon-models/models/person-7.tar"`,
	} {
		if !strings.Contains(out, want) {
			t.Errorf("the commands do not print %q:\n%s", want, out)
		}
	}
	a.ok("s3", "cp", "s3://gnomon-models/models/person-7.tar", "copy")
	if got, err := os.ReadFile(filepath.Join(a.dir, "copy")); err != nil || string(got) != guideModel {
		t.Errorf("the model came back as %q, %v", got, err)
	}
	_, password, _ := strings.Cut(out, "PASSWORD ")
	token := base64.StdEncoding.EncodeToString([]byte("AWS:" + strings.TrimSpace(password)))
	if code, body := fetch(t, c, c.HTTPSURL()+"/v2/", token); code != http.StatusOK {
		t.Errorf("the registry with the password that was printed: %d %s", code, body)
	}
}
