package metrics

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

// How often metrics are published.
const (
	DefaultEvery = 30 * time.Second
	MinEvery     = time.Second
	MaxEvery     = time.Hour
)

// PublisherOptions is what a Publisher is made of.
type PublisherOptions struct {
	Registry *Registry
	// Collect tells what others count. It is called once for each message, from the Publisher's goroutine.
	Collect func() Inputs
	// Publish takes a message, which is the Publisher's no longer. It must not block. Its errors are counted where
	// messages are, so they are not looked at. Nil: no messages, but references are kept up.
	Publish func(payload []byte) error
	// Namespace is CloudWatch's; empty: no messages in its format.
	Namespace string
	// PublishEMF takes messages in CloudWatch's format, one by one; they must not be put into batches.
	PublishEMF func(payload []byte) error
	Every      time.Duration // 0: DefaultEvery
	Log        *zap.Logger   // nil: none
}

// Publisher makes a Snapshot now and then and publishes it.
type Publisher struct {
	o       PublisherOptions
	every   atomic.Int64
	changed chan struct{} // one slot
}

// NewPublisher makes a Publisher.
func NewPublisher(o PublisherOptions) (*Publisher, error) {
	if o.Registry == nil || o.Collect == nil {
		return nil, errors.New("a publisher of metrics needs a registry, and something to collect")
	}
	if o.Namespace != "" && o.PublishEMF == nil {
		return nil, errors.New("metrics for CloudWatch have nowhere to go")
	}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	p := &Publisher{o: o, changed: make(chan struct{}, 1)}
	if o.Every == 0 {
		o.Every = DefaultEvery
	}
	p.SetEvery(o.Every)
	return p, nil
}

// SetEvery changes how often messages are made, within MinEvery and MaxEvery, from now on. Any goroutine may call it.
func (p *Publisher) SetEvery(every time.Duration) {
	p.every.Store(int64(min(max(every, MinEvery), MaxEvery)))
	select {
	case p.changed <- struct{}{}:
	default:
	}
}

// Run publishes until ctx ends, then once more, and keeps what was learnt about the models.
func (p *Publisher) Run(ctx context.Context) error {
	tick := time.NewTicker(time.Duration(p.every.Load()))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			p.publish()
			return p.o.Registry.Save()
		case <-p.changed:
			tick.Reset(time.Duration(p.every.Load()))
		case <-tick.C:
			p.publish()
		}
	}
}

func (p *Publisher) publish() {
	snap := p.o.Registry.Snapshot(p.o.Collect())
	if p.o.Publish != nil {
		payload, err := snap.JSON(MessageLimit)
		if err != nil {
			p.o.Log.Warn("metrics cannot be published", zap.Error(err))
		} else {
			_ = p.o.Publish(payload)
		}
	}
	if p.o.Namespace == "" {
		return
	}
	payloads, err := snap.EMF(p.o.Namespace)
	if err != nil {
		p.o.Log.Warn("metrics cannot be written for CloudWatch", zap.Error(err))
		return
	}
	for _, payload := range payloads {
		_ = p.o.PublishEMF(payload)
	}
}
