package advisor_test

import (
	"flag"
	"fmt"
	"net"
	"os"
	"testing"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"
)

// parallel is how many tests run at once: they wait for the product's timeouts, of which the longest is 30 s, and
// compute next to nothing.
const parallel = "100"

// TestMain fails the package if any test leaves a goroutine behind, and gives it a name server of its own.
func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", parallel); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	zerolog.SetGlobalLevel(zerolog.Disabled) // toxiproxy's toxics log to the global logger
	names, err := startNames()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	net.DefaultResolver = names.resolver() // the one that the client asks
	code := m.Run()
	names.close()
	if code == 0 {
		// A link of toxiproxy that closed its connection by itself waits for ever to pass on the next piece.
		err := goleak.Find(goleak.IgnoreAnyFunction("github.com/Shopify/toxiproxy/v2.(*ToxicLink).read"),
			goleak.IgnoreAnyFunction("github.com/Shopify/toxiproxy/v2/toxics.(*ToxicStub).Run"))
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}
