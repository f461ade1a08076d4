package app

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast/internal/config"
	"github.com/holdfast-dev/holdfast/internal/handoff"
	"github.com/holdfast-dev/holdfast/internal/ledger"
	"github.com/holdfast-dev/holdfast/internal/proc"
)

// counted is a client's end of a connection, which in this test is a
// descriptor of the host's own process.
type counted struct {
	net.Conn
	n    *atomic.Int64
	once sync.Once
}

func (c *counted) Close() error {
	err := c.Conn.Close()
	c.once.Do(func() { c.n.Add(-1) })
	return err
}

// books under a load of everything that clients do: lists, events, streams that
// come and go, requests that are given up, writes. Nothing of it is a fault.
func TestLedgerUnderLoad(t *testing.T) {
	if _, err := proc.Table(os.Getpid()); err != nil {
		t.Skipf("NOT TESTED: %v", err)
	}
	home := filepath.Join(t.TempDir(), "home")
	cfg, err := config.Load(config.Sources{Home: home, Env: os.Environ()})
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	lock, err := takeHome(cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	c, err := open(t.Context(), cfg, log, "/nowhere", lock, false)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server, err := c.server(ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	token, err := c.access.CreateToken(t.Context(), "load")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- server.Serve(ctx, handoff.NewListener(ln)) }()
	defer func() {
		stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	}()

	var clients atomic.Int64
	c.books.others = func() []ledger.Owner {
		// Room for what is closed but not yet counted off.
		return []ledger.Owner{{Name: "the clients", Kind: ledger.KindSocket, Holds: func() (int, int) { return int(clients.Load()) + 8, 1000 }}}
	}
	// The client's half of the goroutines of each connection.
	transport := &http.Transport{MaxIdleConnsPerHost: 16, DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		clients.Add(1)
		conn, err := (&net.Dialer{}).DialContext(ctx, network, addr)
		if err != nil {
			clients.Add(-1)
			return nil, err
		}
		return &counted{Conn: conn, n: &clients}, nil
	}}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	var requests atomic.Int64
	do := func(ctx context.Context, method, path, body string) {
		req, err := http.NewRequestWithContext(ctx, method, "http://"+ln.Addr().String()+path, strings.NewReader(body))
		if err != nil {
			t.Error(err)
			return
		}
		req.Header.Set("Authorization", "Bearer "+token)
		if body != "" {
			req.Header.Set("Content-Type", "application/json")
		}
		resp, err := client.Do(req)
		if err != nil {
			return // given up
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		requests.Add(1)
	}
	load, end := context.WithTimeout(ctx, 4*time.Second)
	defer end()
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			for n := 0; load.Err() == nil; n++ {
				switch (i + n) % 6 {
				case 0:
					do(load, "GET", "/api/v1/sessions", "")
				case 1:
					do(load, "POST", "/api/v1/sessions", fmt.Sprintf(`{"agent":"tour","cwd":"/","client_id":"c%d-%d"}`, i, n))
				case 2:
					short, cancel := context.WithTimeout(load, time.Duration(n%40)*time.Millisecond)
					do(short, "GET", "/api/v1/stream", "")
					cancel()
				case 3:
					do(load, "GET", "/health?deep=1", "")
				case 4:
					short, cancel := context.WithTimeout(load, time.Millisecond)
					do(short, "GET", "/api/v1/sessions?limit=200", "")
					cancel()
				case 5:
					do(load, "GET", "/api/v1/host/ledger", "")
				}
			}
		})
	}
	dump := func(why string) (string, error) {
		t.Errorf("a diagnosis is written: %s", why)
		return "", nil
	}
	samples := 0
	for tick := time.NewTicker(50 * time.Millisecond); load.Err() == nil; samples++ {
		c.books.turn(ctx, dump)
		for _, f := range c.books.findings {
			t.Errorf("sample %d: %s: %s", samples, f.Code, f.Text)
		}
		<-tick.C
	}
	group.Wait()
	if samples < 20 || requests.Load() < 100 {
		t.Errorf("only %d samples and %d requests: too little to tell", samples, requests.Load())
	}
	if c.books.last.Observed == 0 || c.books.last.Expected == 0 {
		t.Errorf("the last sample is empty: %+v", c.books.last)
	}
	t.Logf("%d samples, %d requests; the last: %d of %d expected", samples, requests.Load(), c.books.last.Observed, c.books.last.Expected)
}
