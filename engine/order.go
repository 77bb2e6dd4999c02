package engine

import "sync"

// order lets workers that finish out of order into the sink in the order of their tickets, one at a time. There
// are as many waiting places as workers, so it needs no queue and allocates nothing.
type order struct {
	mu   sync.Mutex
	next uint64
	wake []*sync.Cond // by ticket modulo the number of workers: tickets in flight never share a place
}

func (o *order) init(workers int) {
	for range workers {
		o.wake = append(o.wake, sync.NewCond(&o.mu))
	}
}

// enter waits until every smaller ticket has left.
func (o *order) enter(ticket uint64) {
	o.mu.Lock()
	for o.next != ticket {
		o.wake[ticket%uint64(len(o.wake))].Wait()
	}
	o.mu.Unlock()
}

// leave lets the next ticket in. Every ticket that was handed out must enter and leave.
func (o *order) leave() {
	o.mu.Lock()
	o.next++
	o.wake[o.next%uint64(len(o.wake))].Broadcast()
	o.mu.Unlock()
}
