package metrics

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"time"

	"golang.org/x/net/netutil"
)

// DefaultListen is where Prometheus finds the metrics: only on this machine, as there is no password.
const DefaultListen = "127.0.0.1:9464"

// Limits of the server. It has one reader, who asks a few times a minute.
const (
	maxConnections   = 16
	maxHeader        = 16 << 10
	headerTimeout    = 5 * time.Second
	answerTimeout    = 10 * time.Second // for the whole answer, to a reader that takes it slowly
	idleTimeout      = 2 * time.Minute  // longer than the usual time between two questions
	shutdownPatience = time.Second
)

// contentType is that of the text format of Prometheus.
const contentType = "text/plain; version=0.0.4; charset=utf-8"

// ServerOptions is what a Server is made of.
type ServerOptions struct {
	Addr string        // host and port; empty: DefaultListen
	Text func() []byte // what is answered: Registry.Text with what there is to tell
	// OnListen is called once with the address that is listened on; nil: nobody is told.
	OnListen func(net.Addr)
}

// Server answers GET /metrics.
type Server struct{ o ServerOptions }

// NewServer makes a Server, which does not listen yet.
func NewServer(o ServerOptions) (*Server, error) {
	if o.Text == nil {
		return nil, errors.New("a server of metrics needs something to tell")
	}
	if o.Addr == "" {
		o.Addr = DefaultListen
	}
	if _, _, err := net.SplitHostPort(o.Addr); err != nil {
		return nil, fmt.Errorf("the address %q of the metrics is no host and port, such as %s: %w", o.Addr, DefaultListen, err)
	}
	return &Server{o: o}, nil
}

// Run listens and answers until ctx ends. An error means that nobody can read the metrics there; everything else goes on.
func (s *Server) Run(ctx context.Context) error {
	var config net.ListenConfig
	l, err := config.Listen(ctx, "tcp", s.o.Addr)
	if ctx.Err() != nil { // told to end before it began
		if l != nil {
			_ = l.Close()
		}
		return nil
	}
	if err != nil {
		return fmt.Errorf("listen on %s for metrics: %w; choose another address for telemetry.metrics.listen", s.o.Addr, err)
	}
	if s.o.OnListen != nil {
		s.o.OnListen(l.Addr())
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		_, _ = w.Write(s.o.Text()) // a reader that has gone misses it
	})
	server := &http.Server{
		Handler: mux, ReadHeaderTimeout: headerTimeout, ReadTimeout: headerTimeout, WriteTimeout: answerTimeout,
		IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeader,
		ErrorLog: log.New(io.Discard, "", 0), // what readers do wrong is their trouble
	}
	done := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(done)
		patience, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownPatience)
		defer cancel()
		if server.Shutdown(patience) != nil { // somebody takes long to read
			_ = server.Close()
		}
	})
	err = server.Serve(netutil.LimitListener(l, maxConnections))
	if !stop() {
		<-done
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("answer for metrics on %s: %w", l.Addr(), err)
}
