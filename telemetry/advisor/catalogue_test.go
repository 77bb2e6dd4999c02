package advisor_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// row is one of a table of docs/faults-network.md.
type row struct{ item, says, tests string }

// TestCatalogue holds docs/faults-network.md against the list of faults that the agent must outlive, Device Advisor's
// list, the names of the tests and the sentences in the sources.
func TestCatalogue(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/faults-network.md")
	if err != nil {
		t.Fatal(err)
	}
	faults, advisor, found := strings.Cut(string(text), "## AWS IoT Device Advisor")
	if !found {
		t.Fatal("the document has no table for Device Advisor")
	}
	rows := tables(t, faults, 4)
	complete(t, rows, `DNS fails; DNS is slow; refused; black hole; reset in mid publish; one byte at a time; 1 KB/s;
		half-open; no CONNACK; no PUBACK; no SUBACK; duplicate or wrong PUBACK; client id taken over;
		session lost or expired; certificate expired; certificate for another name; unknown CA; certificate revoked;
		throttled; message too large; clock wrong; captive portal; flapping every 3 s`)
	of := tables(t, advisor, 3)
	complete(t, of, `TLS Connect; TLS Device Support for AWS IoT Cipher Suites; TLS Receive Maximum Size Fragments;
		TLS Large Size Server Certificate; TLS Unsecure Server Cert; TLS Expired Server Cert;
		TLS Incorrect Subject Name Server Cert; MQTT Connect; MQTT Publish; MQTT Subscribe; MQTT Client PubAck QoS 1;
		MQTT Connect Jitter Retries, Exponential Backoff Retries: no CONNACK;
		MQTT Reconnect Backoff Retries on Server Disconnect; MQTT Reconnect Backoff Retries on Unstable Connection;
		MQTT QoS 1 Publish Retry: no PUBACK; MQTT Subscribe Retry: no SUBACK; MQTT Keep-Alive: no PINGRESP;
		MQTT Persistent Session; MQTT Session Expiry; Shadow Publish Reported State; Shadow Update Reported State;
		Security: policy without wildcards; Long run: server disconnects, intermittent connectivity, free run`)

	tests := map[string]string{"": sources(t, ".", true), "telemetry.": sources(t, "..", true)}
	client := sources(t, "..", false)
	name := regexp.MustCompile(`^(\w+\.)?(Test\w+)(?:/(.+))?$`)
	sentence := regexp.MustCompile(`"([^"]+)"`)
	for _, r := range append(rows, of...) {
		if r.tests == "" && !strings.HasPrefix(r.item, "Security") {
			t.Errorf("%s: no test", r.item)
		}
		for test := range strings.SplitSeq(r.tests, "; ") {
			if test == "" {
				continue
			}
			m := name.FindStringSubmatch(test)
			if m == nil || !strings.Contains(tests[m[1]], "func "+m[2]+"(t *testing.T)") ||
				m[3] != "" && !strings.Contains(tests[m[1]], fmt.Sprintf("%q", m[3])) {
				t.Errorf("%s: there is no test %s", r.item, test)
			}
		}
		for _, said := range sentence.FindAllStringSubmatch(r.says, -1) {
			for piece := range strings.SplitSeq(said[1], "…") {
				if !strings.Contains(client, piece) {
					t.Errorf("%s: the client has no words %q", r.item, piece)
				}
			}
		}
	}
}

// complete checks that the rows are those of the list, in its order.
func complete(t *testing.T, rows []row, list string) {
	t.Helper()
	want := strings.Split(regexp.MustCompile(`\s+`).ReplaceAllString(list, " "), "; ")
	var got []string
	for _, r := range rows {
		got = append(got, r.item)
	}
	if w, g := strings.Join(want, "\n"), strings.Join(got, "\n"); w != g {
		t.Errorf("the document has the items\n%s\nand should have\n%s", g, w)
	}
}

// tables reads the rows of a table with so many columns: the first is the item, the last names the tests, and of four
// the third has the sentences.
func tables(t *testing.T, text string, columns int) []row {
	t.Helper()
	var rows []row
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "| ") {
			continue
		}
		cells := strings.Split(strings.Trim(line, "|"), "|")
		if len(cells) != columns {
			t.Errorf("%d columns in %s", len(cells), line)
			continue
		}
		r := row{item: strings.TrimSpace(cells[0]), tests: strings.TrimSpace(cells[columns-1])}
		if columns == 4 {
			r.says = cells[2]
		}
		rows = append(rows, r)
	}
	if len(rows) < 2 {
		t.Fatal("the document has no table")
	}
	return rows[1:] // without the heads
}

// sources is the text of a directory's Go files, those of its tests or the others.
func sources(t *testing.T, dir string, tests bool) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") != tests {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		b.Write(text)
	}
	return b.String()
}
