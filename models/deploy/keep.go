package deploy

import (
	"encoding/json"
	"fmt"

	"go.uber.org/zap"

	"gnomon/models/store"
)

// kept is the form of store.State.Desired: what the cloud wants, and what its tags were resolved to. The store keeps
// versions and downloads whose digests occur in it.
type kept struct {
	Models json.RawMessage `json:"models"`
	// Sources is the member of that name, which is not read here: it is kept for who else follows the desired document.
	Sources json.RawMessage `json:"sources,omitempty"`
	Pinned  map[string]pin  `json:"pinned,omitempty"`
}

// pin is what the tag of a slot's entry was resolved to. It is good for that very entry.
type pin struct {
	URI    string `json:"uri"` // the reference with the digest
	SHA256 string `json:"sha256"`
	of     want
}

// recall takes up the desired document that the store kept, with its pins. Nothing is running yet.
func (d *Deployer) recall() {
	raw := d.store.State().Desired
	doc := parseDocument(raw, d.names)
	var k kept
	if doc.models == nil || json.Unmarshal(raw, &k) != nil {
		doc = parseDocument(json.RawMessage("{}"), d.names)
	}
	d.mu.Lock()
	d.models, d.sources, d.unknown = doc.models, doc.sources, doc.unknown
	for name, s := range d.slots {
		s.next = doc.orders[name].want
		if p := k.Pinned[name]; isDigest(p.SHA256) {
			p.of = s.next
			s.pin = p
		}
	}
	d.mu.Unlock()
	for _, name := range d.names {
		d.give(d.slots[name], doc.orders[name])
	}
}

// adopt makes raw the desired document and lets the slots know whose entry is another than before. The disk knows
// first: what a slot has begun must be wanted after a kill too. A document that cannot be read at all is refused in
// every slot, and the disk keeps the one before. After an error only the disk does not know.
func (d *Deployer) adopt(raw json.RawMessage) error {
	doc := parseDocument(raw, d.names)
	d.mu.Lock()
	d.unknown = doc.unknown
	for name, s := range d.slots {
		s.next = doc.orders[name].want
	}
	if doc.models != nil {
		d.models, d.sources = doc.models, doc.sources
	}
	d.mu.Unlock()
	var err error
	if doc.models != nil {
		err = d.keep()
	}
	for _, name := range d.names {
		d.give(d.slots[name], doc.orders[name])
	}
	d.changed()
	return err
}

// keep stores the desired document and the pins.
func (d *Deployer) keep() error {
	err := d.update("desired", func(st *store.State) error {
		k := kept{Pinned: map[string]pin{}}
		d.mu.Lock()
		k.Models, k.Sources = d.models, d.sources
		for name, s := range d.slots {
			if s.pin.SHA256 != "" && s.pin.of == s.next {
				k.Pinned[name] = s.pin
			}
		}
		d.mu.Unlock()
		raw, err := json.Marshal(k)
		st.Desired = raw
		return err
	})
	if err != nil {
		return fmt.Errorf("keep the desired models for the next start: %w", err)
	}
	return nil
}

// give hands an order to a slot. Work on another one ends, unless it is past the download and for the same model.
func (d *Deployer) give(s *slot, o order) {
	d.mu.Lock()
	same := s.serial > 0 && s.order == o
	carriesOn := s.obtained && s.order.bad.Code == "" && s.order.want.sameModel(o.want)
	s.order = o
	if same || carriesOn {
		d.mu.Unlock()
		return
	}
	s.serial++
	s.obtained = false
	if s.cancel != nil {
		s.cancel()
	}
	d.mu.Unlock()
	signal(s.wake)
	if o.bad.Code != "" {
		d.log.Warn("the desired model of a slot is refused", zap.String("slot", s.name), zap.String("code", o.bad.Code), zap.String("reason", o.bad.Message))
	}
}

// signal rings a bell that is heard once however often it rang.
func signal(bell chan struct{}) {
	select {
	case bell <- struct{}{}:
	default:
	}
}
