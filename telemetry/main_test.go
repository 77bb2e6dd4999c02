package telemetry_test

import (
	"testing"

	"go.uber.org/goleak"
)

// TestMain fails the package if any test leaves a goroutine behind: the client's own, or one of the MQTT library's.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
