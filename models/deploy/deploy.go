package deploy

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"gnomon/models/store"
)

// Options are what a Deployer works with. Store, Source, Host and Slots are needed.
type Options struct {
	Store  *store.Store // stays the caller's, who closes it after Run
	Source Source
	Host   Host
	// Slots are the names of the places where a model runs, as the store takes them.
	Slots     []string
	Probation Probation // the zero value stands for DefaultProbation
	Retry     Retry     // fields that are zero stand for those of DefaultRetry
	// OnChange is called after Report has changed, by one goroutine of Run, with no lock held. Several changes in quick
	// succession may be one call. While it runs changes wait, but nothing else does. May be nil.
	OnChange func()
	// Log gets what an operator has to know; nil means nothing is logged.
	Log *zap.Logger

	// step is called before and after everything that changes the disk or what runs. Tests end the process there.
	step func(name string)
}

// Deployer brings the desired models into the slots. Make it with New; ask Start for each slot what to load, then call
// Run. All methods may be called from any goroutine.
type Deployer struct {
	store     *store.Store
	source    Source
	host      Host
	names     []string
	probation Probation
	retry     Retry
	onChange  func()
	log       *zap.Logger
	step      func(string)

	slots     map[string]*slot // never changes
	downloads chan struct{}    // a token in it: one download at a time; the link and the disk are the bottleneck
	probes    chan struct{}    // likewise: a probe needs the memory of a whole model
	doorbell  chan struct{}    // a desired document has come
	news      chan struct{}    // the report has changed

	mu      sync.Mutex // guards what follows, and the slots' fields as said there; held briefly, never over a call
	pending json.RawMessage
	arrived bool
	models  json.RawMessage // of the newest document that could be read
	sources json.RawMessage // likewise; see kept
	unknown map[string]store.Problem
	ran     bool
}

// slot is one place where a model runs.
type slot struct {
	name string
	wake chan struct{} // an order has come
	once sync.Once     // for what the last process left

	// Guarded by Deployer.mu.
	next     want   // of the newest document, soon the order's
	order    order  // what the slot works on
	serial   uint64 // counts orders
	cancel   context.CancelFunc
	obtained bool // the work on the order is past its download
	pin      pin
	running  store.Entry // SHA256 "" is the built-in model
	doubt    bool        // an exchange failed, so running may be wrong
	rejected map[string]bool
	view     view
}

// New makes a Deployer. It starts nothing and changes nothing.
func New(o Options) (*Deployer, error) {
	if o.Store == nil || o.Source == nil || o.Host == nil || len(o.Slots) == 0 {
		return nil, errors.New("deploy models: store, source, host and at least one slot are needed")
	}
	if o.Probation == (Probation{}) {
		o.Probation = DefaultProbation()
	}
	if err := o.Probation.check(); err != nil {
		return nil, fmt.Errorf("deploy models: %w", err)
	}
	d := &Deployer{
		store: o.Store, source: o.Source, host: o.Host, probation: o.Probation, retry: o.Retry.filled(),
		onChange: o.OnChange, log: o.Log, step: o.step,
		slots:     map[string]*slot{},
		downloads: make(chan struct{}, 1), probes: make(chan struct{}, 1),
		doorbell: make(chan struct{}, 1), news: make(chan struct{}, 1),
	}
	d.log = cmp.Or(d.log, zap.NewNop())
	if d.onChange == nil {
		d.onChange = func() {}
	}
	if d.step == nil {
		d.step = func(string) {}
	}
	state := d.store.State()
	for _, name := range o.Slots {
		if d.slots[name] != nil || !slotName(name) {
			return nil, fmt.Errorf("deploy models: slot %q is there twice, or not named with 1 to %d of a-z, 0-9, _ and -", name, maxSlotName)
		}
		s := &slot{name: name, wake: make(chan struct{}, 1), rejected: map[string]bool{}}
		s.running = active(&state, name)
		s.view = view{state: StateActive, since: state.Slot(name).Since}
		d.slots[name] = s
		d.names = append(d.names, name)
	}
	return d, nil
}

// Desire takes the desired document of the shadow, of which the member models is read. It returns at once; of several
// documents in quick succession only the last one may be looked at. Before Run it waits for Run.
func (d *Deployer) Desire(doc json.RawMessage) {
	d.mu.Lock()
	d.pending, d.arrived = append(json.RawMessage(nil), doc...), true
	d.mu.Unlock()
	signal(d.doorbell)
}

// Run deploys until ctx ends, and returns after everything that it started has ended. It begins with the desired
// document that the store kept. What it was in the middle of goes on at the next start and counts as no failure. A
// model that was in its probation then is left running, uncommitted, for the caller to close. The only errors are
// mistakes of the caller.
func (d *Deployer) Run(ctx context.Context) error {
	d.mu.Lock()
	again := d.ran
	d.ran = true
	d.mu.Unlock()
	if again {
		return errors.New("deploy models: Run was called before; make a new Deployer")
	}
	for _, name := range d.names {
		d.recover(d.slots[name])
	}
	d.recall()
	d.collect() // the process before may have died between a commit and this
	told := make(chan struct{})
	over := make(chan struct{})
	go func() {
		defer close(told)
		d.tell(over)
	}()
	var workers sync.WaitGroup
	for _, s := range d.slots {
		workers.Go(func() { d.work(ctx, s) })
	}
	d.listen(ctx)
	workers.Wait()
	close(over)
	<-told
	return nil
}

// listen adopts desired documents. One that the disk does not take is kept again later.
func (d *Deployer) listen(ctx context.Context) {
	pauses := d.retry.backoff()
	timer := time.NewTimer(0)
	<-timer.C
	defer timer.Stop()
	for {
		var err error
		select {
		case <-ctx.Done():
			return
		case <-d.doorbell:
			d.mu.Lock()
			doc, arrived := d.pending, d.arrived
			d.pending, d.arrived = nil, false
			d.mu.Unlock()
			if arrived {
				err = d.adopt(doc)
			}
		case <-timer.C:
			err = d.keep()
		}
		if err == nil {
			pauses.reset()
			timer.Stop()
			continue
		}
		d.log.Warn("a power cut would lose the desired models; the disk is tried again", zap.Error(err))
		timer.Reset(pauses.next())
	}
}

// update changes the state in the store.
func (d *Deployer) update(what string, change func(*store.State) error) error {
	d.step(what + ": store")
	if err := d.store.Update(change); err != nil {
		return err
	}
	d.step(what + ": stored")
	return nil
}

// maxSlotName is the store's limit for the name of a slot, in bytes.
const maxSlotName = 64

func slotName(name string) bool {
	return name != "" && len(name) <= maxSlotName && !strings.ContainsFunc(name, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '_' && r != '-'
	})
}

// active is what is committed in a slot.
func active(st *store.State, name string) store.Entry {
	if sl := st.Slots[name]; sl != nil && sl.Active != nil {
		return *sl.Active
	}
	return store.Entry{}
}
