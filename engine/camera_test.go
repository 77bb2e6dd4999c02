package engine_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"gnomon/engine"
)

// buffers counts a kind of memory: what exists now and the most that ever did.
type buffers struct {
	mu         sync.Mutex
	open, most int
}

func (b *buffers) add(n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.open += n
	b.most = max(b.most, b.open)
}

func (b *buffers) read() (open, most int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.open, b.most
}

// camBuffer has a size, as a decoder's picture does: one of another size is made anew.
type camBuffer struct {
	pix []byte
	of  *buffers
}

func (b *camBuffer) Close() error { b.of.add(-1); return nil }

// cam is a camera by the clock of a synctest bubble. It satisfies engine.Grabber.
type cam struct {
	name   string
	every  time.Duration
	n      int // pictures; 0: without end
	size   int // pixels of a row; there are as many rows
	memory *buffers
	stuck  <-chan struct{}  // retrieving waits for it; nil: does not
	lag    time.Duration    // how old pictures are when they come
	bad    func(n int) bool // pictures that cannot be decoded; nil: none

	start     time.Time
	at        time.Time
	seq       int
	retrieved atomic.Int64
	remade    atomic.Int64
}

func (c *cam) Name() string { return c.name }
func (c *cam) Live() bool   { return true }
func (c *cam) Close() error { return nil }

func (c *cam) Grab(ctx context.Context) error {
	if c.n > 0 && c.seq == c.n {
		return io.EOF
	}
	if c.start.IsZero() {
		c.start = time.Now()
	}
	c.seq++
	select {
	case <-time.After(time.Until(c.start.Add(time.Duration(c.seq) * c.every))):
	case <-ctx.Done():
		return ctx.Err()
	}
	c.at = time.Now()
	return nil
}

func (c *cam) Retrieve(f *engine.Frame) error {
	if c.stuck != nil {
		<-c.stuck
	}
	if c.bad != nil && c.bad(c.seq-1) {
		return fmt.Errorf("cut short: %w", engine.ErrBadPicture)
	}
	size := max(1, c.size)
	b, ok := f.Buffer.(*camBuffer)
	if !ok || len(b.pix) != 3*size*size {
		_ = f.Close()
		b = &camBuffer{pix: make([]byte, 3*size*size), of: c.memory}
		c.memory.add(1)
		c.remade.Add(1)
		f.Buffer = b
	}
	b.pix[0] = byte(c.seq - 1)
	f.Pix, f.Width, f.Height, f.Stride, f.Format = b.pix, size, size, 3*size, engine.BGR24
	f.Seq, f.CapturedAt = uint64(c.seq-1), c.at.Add(-c.lag)
	c.retrieved.Add(1)
	return nil
}

func (c *cam) Read(ctx context.Context, f *engine.Frame) error {
	if err := c.Grab(ctx); err != nil {
		return err
	}
	return c.Retrieve(f)
}

// reader hides that a source can grab.
type reader struct{ engine.Source }

// every run of the model takes so long.
func takes(d time.Duration) fakeModel { return fakeModel{delay: func() time.Duration { return d }} }

// site is a slot with pipelines that run in a bubble.
type site struct {
	t     *testing.T
	slot  *engine.Slot
	stop  context.CancelFunc
	ctx   context.Context
	ended sync.WaitGroup
	pipes []*engine.Pipeline
}

// inBubble runs a test on its own clock with a model of so many lanes.
func inBubble(t *testing.T, m *engine.Model, test func(*site)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := &site{t: t, slot: engine.NewSlot(m)}
		s.ctx, s.stop = context.WithCancel(t.Context())
		defer func() {
			s.end()
			if err := s.slot.Close(context.Background()); err != nil {
				t.Error(err)
			}
		}()
		test(s)
	})
}

// add starts a pipeline; its sink may be nil.
func (s *site) add(o engine.PipelineOptions) *engine.Pipeline {
	s.t.Helper()
	o.Slot = s.slot
	if o.Sink == nil {
		o.Sink = sinkFunc(func(r *engine.Result) error { return r.Err })
	}
	p, err := engine.NewPipeline(o)
	if err != nil {
		s.t.Fatal(err)
	}
	s.pipes = append(s.pipes, p)
	s.ended.Go(func() {
		if err := p.Run(s.ctx); err != nil {
			s.t.Error(err)
		}
	})
	return p
}

func (s *site) end() {
	s.stop()
	s.ended.Wait()
}

// shares are the frames of each pipeline that went through the model.
func (s *site) shares() []float64 {
	var out []float64
	for _, p := range s.pipes {
		out = append(out, float64(p.Stats().Processed))
	}
	return out
}

// A picture that cannot be decoded is passed over, as if it had not come; many in a row end the source.
func TestBadPictures(t *testing.T) {
	inBubble(t, takes(time.Millisecond).load("m", 1, new(atomic.Int64)), func(s *site) {
		run := func(bad func(int) bool) (engine.Stats, error) {
			c := &cam{name: "c", every: 10 * time.Millisecond, n: 200, memory: &buffers{}, bad: bad}
			p, err := engine.NewPipeline(engine.PipelineOptions{Source: c, Slot: s.slot, Sink: sinkFunc(func(*engine.Result) error { return nil })})
			if err != nil {
				t.Fatal(err)
			}
			err = p.Run(s.ctx)
			return p.Stats(), err
		}
		if st, err := run(func(n int) bool { return n%4 > 0 }); err != nil || st.Captured != 50 || st.Processed != 50 {
			t.Errorf("three of four are bad: %+v, %v", st, err)
		}
		if st, err := run(func(n int) bool { return n >= 10 }); !errors.Is(err, engine.ErrBadPicture) || st.Processed != 10 {
			t.Errorf("nothing good comes any more: %+v, %v", st, err)
		}
	})
}
