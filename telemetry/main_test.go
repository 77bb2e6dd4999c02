package telemetry_test

import (
	"log"
	"os"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

// TestMain fails the package if any test leaves a goroutine behind: the client's own, or one of the MQTT library's. In
// a process that a test has started it is that test's child.
func TestMain(m *testing.M) {
	if args := os.Getenv(childEnv); args != "" {
		if err := spoolChild(strings.Fields(args)); err != nil {
			log.Fatal(err)
		}
		return
	}
	goleak.VerifyTestMain(m)
}
