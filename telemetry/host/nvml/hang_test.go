package nvml

import (
	"testing"
	"time"
)

// TestHang: a driver that hangs is asked once, waited for no longer than patience allows, and used again when it is back.
func TestHang(t *testing.T) {
	back := make(chan struct{})
	asked := 0
	r := &Reader{patience: time.Millisecond, lib: &library{
		count: func(n *uint32) status {
			asked++
			<-back
			*n = 1
			return 0
		},
		handle:   func(uint32, *device) status { return 0 },
		shutdown: func() status { return 0 },
	}}
	for range 3 {
		if got := r.GPUs(); got != nil {
			t.Fatalf("a driver that hangs tells %+v", got)
		}
	}
	close(back)
	r.patience = time.Minute
	if got := r.GPUs(); len(got) != 1 || got[0].Name != "gpu0" || asked != 1 {
		t.Errorf("asked %d times: %+v", asked, got)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}
