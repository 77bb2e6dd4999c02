package interop

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestNodeSDK: AWS's device SDK lives through a named shadow's life, while an administrator asks for another model.
// Both of the SDK's protocols and both of its shadow clients are tried; see node/device.cjs.
func TestNodeSDK(t *testing.T) {
	required(t)
	for _, protocol := range []string{"mqtt311", "mqtt5"} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			nodeDevice(t, protocol)
		})
	}
}

// life is what device.cjs must tell, with either protocol.
func life(shadow string) []string {
	return []string{
		`{"step":"subscribe","granted":true}`,
		`{"step":"get missing","code":404,"message":"No shadow exists with name: '` + shadow + `'"}`,
		`{"step":"report","version":1,"state":{"reported":{"model":"a"}}}`,
		`{"step":"conflict","code":409,"message":"Version conflict"}`,
		`{"step":"ready"}`,
		`{"step":"delta","version":2,"state":{"model":"b"}}`,
		`{"step":"follow","version":3,"state":{"reported":{"model":"b","since":null}}}`,
		`{"step":"get","version":3,"state":{"desired":{"model":"b"},"reported":{"model":"b"}}}`,
		`{"step":"delete","version":3}`,
		`{"step":"subscribe elsewhere","granted":false}`,
		`{"step":"publish elsewhere: disconnected"}`,
	}
}

func nodeDevice(t *testing.T, protocol string) {
	t.Helper()
	c := startCloud(t)
	thing, err := c.AddThing("cam")
	if err != nil {
		t.Fatal(err)
	}
	broker, err := url.Parse(c.MQTTURL())
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(broker.Port())
	if err != nil {
		t.Fatal(err)
	}
	const shadow = "model"
	args, err := json.Marshal(map[string]any{
		// A name, as an address has no SNI.
		"host": "localhost", "port": port, "thing": thing.Name, "shadow": shadow, "protocol": protocol,
		"ca": thing.CAFile, "cert": thing.CertFile, "key": thing.KeyFile,
	})
	if err != nil {
		t.Fatal(err)
	}
	cmd, complaints := node(t, filepath.Join("node", "device.cjs"), string(args))
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	got := []string{}
	for lines := bufio.NewScanner(out); lines.Scan(); {
		got = append(got, lines.Text())
		if lines.Text() == `{"step":"ready"}` {
			if _, err := c.Shadows().Update(thing.Name, shadow, []byte(`{"state":{"desired":{"model":"b"}}}`)); err != nil {
				t.Error(err) // the device notices, and gives up
			}
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("node: %v\n%s", err, complaints)
	}
	if diff := cmp.Diff(life(shadow), got); diff != "" {
		t.Errorf("the device's life, wanted (-) and told (+):\n%s", diff)
	}
}

// node prepares a script to run with the SDK. What it complains about is complete after Wait.
func node(t *testing.T, script string, args ...string) (*exec.Cmd, *bytes.Buffer) {
	t.Helper()
	path, err := exec.LookPath("node")
	modules := os.Getenv("GNOMON_NODE_MODULES")
	if err != nil || modules == "" {
		t.Fatal("node or its modules are missing, and GNOMON_REQUIRE_INTEROP=1 says that they must be there: install nodejs, " +
			"and set GNOMON_NODE_MODULES to what third_party/interop.sh prints")
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, path, append([]string{script}, args...)...)
	complaints := &bytes.Buffer{}
	cmd.Env, cmd.Stderr, cmd.WaitDelay = append(os.Environ(), "NODE_PATH="+modules), complaints, 5*time.Second
	return cmd, complaints
}
