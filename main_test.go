package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gnomon/third_party/embedded"
)

// asProgram makes the test binary behave as gnomon itself, so that tests see exit codes and both outputs.
const asProgram = "GNOMON_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	// The agent tries models with a child that gets little of the environment.
	trial := len(os.Args) == 2 && os.Args[1] == "probe"
	if trial || os.Getenv(asProgram) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// commandTimeout bounds one run of gnomon in a test: far above what a slow machine needs, far below go test's own.
const commandTimeout = 5 * time.Minute

// command is gnomon with arguments, not started yet.
func command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	needParts(t)
	ctx, cancel := context.WithTimeout(context.Background(), commandTimeout)
	t.Cleanup(cancel)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(ctx, exe, args...)
	c.Env = append(os.Environ(), asProgram+"=1", "STATE_DIRECTORY="+t.TempDir()) // not what an earlier run has left
	return c
}

// needParts skips a test where the embedded parts are missing, unless the Makefile says that they must be there.
func needParts(t *testing.T) {
	t.Helper()
	_, _, err := embedded.Model()
	if err == nil {
		return
	}
	if os.Getenv("GNOMON_REQUIRE_PARTS") != "" {
		t.Fatal(err)
	}
	t.Skip("needs the embedded parts, which `make build` puts there: ", err)
}

// gnomon runs to the end and returns what came out.
func gnomon(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	c := command(t, args...)
	var out, errOut bytes.Buffer
	c.Stdout, c.Stderr = &out, &errOut
	err := c.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return out.String(), errOut.String(), c.ProcessState.ExitCode()
}

// good is gnomon for runs that must succeed.
func good(t *testing.T, args ...string) string {
	t.Helper()
	stdout, stderr, code := gnomon(t, args...)
	if code != exitDone {
		t.Fatalf("gnomon %s: exit code %d\n%s", strings.Join(args, " "), code, stderr)
	}
	return stdout
}

// write makes a file for a test.
func write(t *testing.T, path string, data []byte) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// needSample skips a test where the sample video is not known.
func needSample(t *testing.T) {
	t.Helper()
	if os.Getenv(sampleEnv) == "" {
		t.Skipf("needs the sample video: %s, which the Makefile sets, is empty", sampleEnv)
	}
}
