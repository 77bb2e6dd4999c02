package ort

import (
	"sync"
	"testing"
)

// Sessions of one thread share the model: they run at once, each on its own tensors, and the last one to be closed frees
// it, whichever that is.
func TestSharedGraph(t *testing.T) {
	rt := newRuntime(t)
	for _, order := range [][]int{{0, 1, 2}, {2, 1, 0}, {1, 0, 2}} {
		sessions, err := rt.Open(SessionOptions{Name: "double", ONNX: double(t, 1, 3, 64, 64), Width: 64, Height: 64}, 3)
		if err != nil {
			t.Fatal(err)
		}
		if sessions[1].shared == nil || sessions[1].graph != nil || sessions[0].graph.owners != 3 {
			t.Fatalf("the model is loaded more than once: %+v", sessions[0].graph)
		}
		var runs sync.WaitGroup
		for n, s := range sessions {
			runs.Go(func() {
				in := floats(s.Input().Data)
				for round := range 50 {
					for i := range in {
						in[i] = float32(1000*n + round + i)
					}
					out, err := s.Run(t.Context())
					if err != nil {
						t.Error(err)
						return
					}
					for i, v := range out[0].Data {
						if v != 2*in[i] {
							t.Errorf("session %d: element %d is %v, want %v", n, i, v, 2*in[i])
							return
						}
					}
				}
			})
		}
		runs.Wait()
		for i, n := range order {
			if err := sessions[n].Close(); err != nil {
				t.Fatal(err)
			}
			for _, left := range order[i+1:] {
				if _, err := sessions[left].Run(t.Context()); err != nil {
					t.Errorf("after closing %v: %v", order[:i+1], err)
				}
			}
		}
	}
	// With threads of their own, sessions are separate: a pool belongs to a session.
	sessions, err := rt.Open(SessionOptions{Name: "double", ONNX: double(t, 1, 3, 8, 8), Width: 8, Height: 8, Threads: 2}, 2)
	if err != nil {
		t.Fatal(err)
	}
	if sessions[1].shared != nil {
		t.Error("sessions with threads share a pool")
	}
	closeAll(t, sessions)
}
