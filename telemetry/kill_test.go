package telemetry_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gnomon/devcloud"
	"gnomon/telemetry"
	"gnomon/telemetry/spool"
)

// childEnv makes the test binary a client with a spool. It has the directory, the broker and the first number to
// publish, with spaces between them; without a number, the child ends when everything has been delivered.
const childEnv = "GNOMON_TEST_SPOOL_CHILD"

// spoolChild publishes numbers and prints each when it has been promised that it is durable.
func spoolChild(args []string) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	sp, err := spool.Open(spool.Options{Dir: args[0]})
	if err != nil {
		return err
	}
	opts := options(args[1])
	opts.Spool = sp
	client, err := telemetry.New(opts)
	if err != nil {
		return err
	}
	var wg sync.WaitGroup
	wg.Go(func() { _ = sp.Run(context.Background()) })
	wg.Go(func() { _ = client.Run(ctx) })
	if len(args) > 2 {
		n, err := strconv.ParseInt(args[2], 10, 64)
		if err != nil {
			return err
		}
		var next atomic.Int64
		next.Store(n)
		for range 4 {
			wg.Go(func() {
				for {
					n := next.Add(1)
					class := telemetry.Class(n % telemetry.NumClasses)
					if client.PublishClass(class, "dt/"+class.String(), fmt.Appendf(nil, `{"n":%d}`, n)) != nil {
						return
					}
					fmt.Println(n)
				}
			})
		}
		wg.Wait() // for SIGKILL
	}
	for sp.Depth() != [spool.NumClasses]int{} {
		time.Sleep(5 * time.Millisecond)
	}
	cancel()
	err = sp.Close()
	wg.Wait()
	return err
}

// arrivals notes which numbers have arrived, alone or in a batch.
type arrivals struct {
	mu      sync.Mutex
	seen    map[int]int
	batches int
}

func (a *arrivals) record(m devcloud.Message) {
	if strings.HasSuffix(m.Topic, "/status") {
		return
	}
	var msg struct {
		N     int `json:"n"`
		Batch []struct {
			N int `json:"n"`
		} `json:"batch"`
	}
	if err := json.Unmarshal(m.Payload, &msg); err != nil {
		panic(fmt.Sprintf("%q: %v", m.Payload, err))
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if msg.Batch == nil {
		a.seen[msg.N]++
		return
	}
	a.batches++
	for _, b := range msg.Batch {
		a.seen[b.N]++
	}
}

// TestKilled kills a client with a spool a hundred times while it spools and drains. What it promised to be durable
// arrives.
func TestKilled(t *testing.T) {
	t.Parallel()
	const rounds = 100
	got := arrivals{seen: map[int]int{}}
	broker, err := devcloud.NewBroker(devcloud.BrokerOptions{Tap: got.record})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() { _ = broker.Run(context.Background()) })
	defer wg.Wait()
	defer broker.Close()
	dir, down := t.TempDir(), "mqtt://127.0.0.1:"+freePort(t)
	promised := map[int]bool{}
	for round := range rounds {
		address := broker.Addr()
		if round%3 == 0 {
			address = down
		}
		child := exec.Command(os.Args[0])
		child.Env = append(os.Environ(), fmt.Sprintf("%s=%s %s %d", childEnv, dir, address, round*1_000_000))
		child.Stderr = os.Stderr
		out, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		var timer *time.Timer
		for lines := bufio.NewScanner(out); lines.Scan(); {
			n, err := strconv.Atoi(lines.Text())
			if err != nil {
				continue // cut short
			}
			if timer == nil { // it works: now it may die
				timer = time.AfterFunc(time.Duration(rand.IntN(120))*time.Millisecond, func() { _ = child.Process.Kill() })
			}
			if n > round*1_000_000 { // not cut short either
				promised[n] = true
			}
		}
		if err := child.Wait(); err == nil || timer == nil {
			t.Fatalf("round %d: the child ended by itself: %v", round, err)
		}
	}
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), fmt.Sprintf("%s=%s %s", childEnv, dir, broker.Addr()))
	if out, err := child.CombinedOutput(); err != nil {
		t.Fatalf("the last one: %v %s", err, out)
	}
	lost, again := 0, 0
	for n := range promised {
		if got.seen[n] == 0 {
			lost++
		}
	}
	for _, times := range got.seen {
		again += times - 1
	}
	t.Logf("%d promised, %d arrived, %d batches, %d came again", len(promised), len(got.seen), got.batches, again)
	if lost > 0 {
		t.Errorf("%d records of %d are lost", lost, len(promised))
	}
	if len(promised) < 10*rounds || got.batches == 0 {
		t.Errorf("%d records, %d batches: the test is too mild", len(promised), got.batches)
	}
}
