package supervise

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

const (
	// looksPerInterval is how often the dog looks within the interval of systemd's watchdog, at least: one look may come
	// late, and one message may get lost.
	looksPerInterval = 3
	// ownEvery is how often it looks where nobody else watches.
	ownEvery = 5 * time.Second
	// lateLook is how many times later than meant a look is that says nothing: the whole process stood still, because it
	// was stopped or got no processor, and no part could do anything.
	lateLook = 2
)

// DogOptions is what a Dog is made of.
type DogOptions struct {
	// Notifier hears that the agent is alive; nil: nobody does.
	Notifier *Notifier
	// Stuck is called once, when a part has given no sign of life for longer than its patience: its name, what it was at
	// if it said so, and for how long nothing was heard of it. It runs on Run's goroutine, which has nothing to do any
	// more: systemd hears no more signs of life from then on, and ends the process if Stuck does not.
	Stuck func(part, what string, silent time.Duration)
	Log   *zap.Logger // nil: no logging
}

// Dog decides whether the agent is alive: it is while each of its parts gives a sign of life within the part's patience.
// Only time that the machine is awake counts, and no step of the clock does. Make it with NewDog, then call Run. Any
// goroutine may call its methods; those of a nil Dog and of its nil parts do nothing.
type Dog struct {
	o     DogOptions
	log   *zap.Logger
	every time.Duration
	start time.Time // whose monotonic reading all times are counted from

	looked time.Duration // when Run looked last; its own

	mu    sync.Mutex
	parts map[*Part]struct{}
}

// NewDog makes a Dog that watches nothing yet.
func NewDog(o DogOptions) (*Dog, error) {
	if o.Stuck == nil {
		return nil, errors.New("the watchdog has nobody to call when a part is stuck")
	}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	d := &Dog{o: o, log: o.Log, every: ownEvery, start: time.Now(), parts: map[*Part]struct{}{}}
	if i := o.Notifier.Interval(); i > 0 {
		d.every = min(ownEvery, i/looksPerInterval)
	}
	return d, nil
}

// Part is something that has to give signs of life.
type Part struct {
	dog      *Dog
	name     string
	patience time.Duration
	last     atomic.Int64         // of the last sign of life, in nanoseconds after the dog's start
	at       atomic.Pointer[task] // nil: its usual work
}

// task is something else than a part's usual work.
type task struct {
	what     string
	patience time.Duration // 0: for as long as it takes
}

// Part adds a part, which has just given a sign of life. Patience should be several times what one round of its work
// takes on a bad day, and longer than any wait that it does not end by itself.
func (d *Dog) Part(name string, patience time.Duration) *Part {
	if d == nil {
		return nil
	}
	p := &Part{dog: d, name: name, patience: patience}
	p.last.Store(int64(d.now()))
	d.mu.Lock()
	defer d.mu.Unlock()
	d.parts[p] = struct{}{}
	return p
}

func (d *Dog) now() time.Duration { return time.Since(d.start) }

// Beat is a sign of life: something was handled, or a known outage is. It is cheap enough for every frame.
func (p *Part) Beat() {
	if p == nil {
		return
	}
	p.last.Store(int64(p.dog.now()))
	if p.at.Load() != nil {
		p.at.Store(nil)
	}
}

// Busy is a sign of life, and says that the next one may take up to patience because of one long task, such as loading a
// model. Beat ends it.
func (p *Part) Busy(what string, patience time.Duration) { p.begin(&task{what, max(patience, 1)}) }

// Idle says that there is nothing to do for now, because the part is disabled or has ended: no sign of life is expected
// before the next Beat or Busy.
func (p *Part) Idle(reason string) { p.begin(&task{what: reason}) }

func (p *Part) begin(t *task) {
	if p == nil {
		return
	}
	p.last.Store(int64(p.dog.now()))
	p.at.Store(t)
}

// Close takes the part away. It is idempotent.
func (p *Part) Close() {
	if p == nil {
		return
	}
	p.dog.mu.Lock()
	defer p.dog.mu.Unlock()
	delete(p.dog.parts, p)
}

// Run watches until ctx ends.
func (d *Dog) Run(ctx context.Context) error {
	if d == nil {
		return nil
	}
	tick := time.NewTicker(d.every)
	defer tick.Stop()
	told := ""
	for d.looked = d.now(); ; {
		if p, t, silent := d.look(d.now()); p != nil {
			d.o.Stuck(p.name, t.what, silent)
			<-ctx.Done()
			return nil
		}
		err := d.o.Notifier.alive(2 * looksPerInterval * d.every)
		if err != nil && err.Error() != told { // the same is not news
			told = err.Error()
			d.log.Warn("systemd's watchdog is not answered", zap.Error(err))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// look is stuck, but for a look that comes much too late.
func (d *Dog) look(now time.Duration) (worst *Part, at task, silent time.Duration) {
	if late := now - d.looked; late > lateLook*d.every {
		d.log.Warn("the whole process has stood still", zap.Duration("for", late))
		d.forgive(now)
	}
	d.looked = now
	return d.stuck(now)
}

// stuck is the part that has been silent for longest beyond its patience; nil: there is none.
func (d *Dog) stuck(now time.Duration) (worst *Part, at task, silent time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for p := range d.parts {
		// The task is read first: a sign of life that comes between is the younger one, and then counts.
		t := task{patience: p.patience}
		if other := p.at.Load(); other != nil {
			t = *other
		}
		quiet := now - time.Duration(p.last.Load())
		if t.patience > 0 && quiet > t.patience && quiet > silent {
			worst, at, silent = p, t, quiet
		}
	}
	return worst, at, silent
}

// forgive lets the patience with every part begin anew.
func (d *Dog) forgive(now time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for p := range d.parts {
		p.last.Store(int64(now))
	}
}
