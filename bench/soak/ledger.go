package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"gnomon/devcloud"
)

// ledger notes every message of detections that reaches the cloud. Any goroutine may ask.
type ledger struct {
	client mqtt.Client

	mu      sync.Mutex
	sources map[string]*heard
	odd     []string // what could not be read
}

// heard is what came of one source.
type heard struct {
	seen     map[uint64]struct{} // numbers of frames
	captured []time.Time         // when each frame was grabbed, in the order of arrival
	again    int
}

// listen connects to the broker itself, past the proxy.
func listen(c *devcloud.Cloud) (*ledger, error) {
	files, err := c.AdminFiles()
	if err != nil {
		return nil, err
	}
	cert, err := tls.LoadX509KeyPair(files.CertFile, files.KeyFile)
	if err != nil {
		return nil, err
	}
	ca, err := os.ReadFile(c.CAFile())
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	l := &ledger{sources: map[string]*heard{}}
	l.client = mqtt.NewClient(mqtt.NewClientOptions().AddBroker(strings.Replace(c.MQTTURL(), "mqtts", "ssl", 1)).
		SetTLSConfig(&tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{cert}, RootCAs: roots}).
		SetClientID(files.Name + "-soak").SetAutoReconnect(false))
	for _, do := range []func() mqtt.Token{l.client.Connect, func() mqtt.Token {
		return l.client.Subscribe("dt/gnomon/"+thingName+"/+/detections", 1, func(_ mqtt.Client, m mqtt.Message) { l.take(m.Payload()) })
	}} {
		token := do()
		if !token.WaitTimeout(time.Minute) {
			return nil, errors.New("listen to the broker: no answer within a minute")
		}
		if token.Error() != nil {
			return nil, fmt.Errorf("listen to the broker: %w", token.Error())
		}
	}
	return l, nil
}

func (l *ledger) close() { l.client.Disconnect(100) }

// detection is what the ledger wants to know of a message.
type detection struct {
	Batch      []detection `json:"batch"`
	Source     string      `json:"source"`
	Seq        uint64      `json:"seq"`
	CapturedAt time.Time   `json:"captured_at"`
}

func (l *ledger) take(payload []byte) {
	var d detection
	err := json.Unmarshal(payload, &d)
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		l.odd = append(l.odd, err.Error())
		return
	}
	all := d.Batch
	if all == nil {
		all = []detection{d}
	}
	for _, d := range all {
		h := l.sources[d.Source]
		if h == nil {
			h = &heard{seen: map[uint64]struct{}{}}
			l.sources[d.Source] = h
		}
		// A source that was opened again counts its frames anew, so the moment is part of the number.
		key := d.Seq<<44 ^ uint64(d.CapturedAt.UnixMicro())
		if _, known := h.seen[key]; known {
			h.again++
			continue
		}
		h.seen[key] = struct{}{}
		h.captured = append(h.captured, d.CapturedAt)
	}
}

// count is how many frames of a source came.
func (l *ledger) count(source string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	if h := l.sources[source]; h != nil {
		return len(h.captured)
	}
	return 0
}

// times are those of all frames of a source, in their order.
func (l *ledger) times(source string) []time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	h := l.sources[source]
	if h == nil {
		return nil
	}
	sorted := slices.Clone(h.captured)
	slices.SortFunc(sorted, time.Time.Compare)
	return sorted
}

// repeated is how many messages came more than once, and what could not be read.
func (l *ledger) repeated() (again int, odd []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, h := range l.sources {
		again += h.again
	}
	return again, slices.Clone(l.odd)
}
