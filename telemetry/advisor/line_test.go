package advisor_test

import (
	"context"
	"strings"
	"testing"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"gnomon/devcloud"
)

// line is a network that can be made bad, with a real broker at its end.
type line struct {
	t     *testing.T
	proxy *toxiproxy.Proxy
	got   ledger
}

// newLine starts devcloud's broker behind toxiproxy.
func newLine(t *testing.T) *line {
	t.Helper()
	l := &line{t: t}
	server, err := devcloud.NewBroker(devcloud.BrokerOptions{Tap: func(m devcloud.Message) { l.got.take(m.Topic, m.Payload) }})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := server.Run(context.Background()); err != nil {
			t.Errorf("broker: %v", err)
		}
	}()
	t.Cleanup(func() { server.Close(); <-done })
	l.connect(strings.TrimPrefix(server.Addr(), "mqtt://"))
	return l
}

// connect lays the line to an address.
func (l *line) connect(target string) {
	l.t.Helper()
	api := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(prometheus.NewRegistry()), zerolog.Nop())
	l.proxy = toxiproxy.NewProxy(api, "line", "127.0.0.1:0", target)
	l.up()
	l.t.Cleanup(l.down)
}

// down cuts every connection, and refuses new ones.
func (l *line) down() { l.proxy.Stop() }

// up lets connections through, on the same port as before.
func (l *line) up() {
	l.t.Helper()
	if err := l.proxy.Start(); err != nil {
		l.t.Fatal(err)
	}
}

func (l *line) url() string { return "mqtt://" + l.proxy.Listen }

// poison adds toxics, as toxiproxy describes them in JSON, to all connections, and returns what takes them away.
func (l *line) poison(toxics ...string) (mend func()) {
	l.t.Helper()
	var names []string
	for _, text := range toxics {
		toxic, err := l.proxy.Toxics.AddToxicJson(strings.NewReader(text))
		if err != nil {
			l.t.Fatal(err)
		}
		names = append(names, toxic.Name)
	}
	return func() {
		l.t.Helper()
		for _, name := range names {
			if err := l.proxy.Toxics.RemoveToxic(l.t.Context(), name); err != nil {
				l.t.Fatal(err)
			}
		}
	}
}

// both is a toxic for each direction.
func both(kind, attributes string) []string {
	return []string{toxic("upstream", kind, attributes), toxic("downstream", kind, attributes)}
}

// toxic is one for one direction: upstream is from the device to the broker.
func toxic(stream, kind, attributes string) string {
	return `{"stream":"` + stream + `","type":"` + kind + `","attributes":{` + attributes + `}}`
}
