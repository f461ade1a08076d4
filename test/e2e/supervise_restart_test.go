//go:build supervisors

package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdfast-dev/holdfast/internal/proc"
)

// restartInPlace: the program is replaced again and again under clients that
// ask all the time, agents that answer, and others that begin meanwhile.
func restartInPlace(s *site) {
	t := s.t
	s.install()
	pid := s.healthy(0)
	session := s.newSession()
	repeated := map[string]any{"client_id": "repeated", "text": "say once"}
	s.must("POST", "/api/v1/sessions/"+session.ID+"/messages", repeated, nil)
	load := s.ask(session.ID, repeated)
	births := s.births()
	turns := []*turn{s.turn(sessionRow{}, 1500)}
	// A machine that has much else to do takes longer for as many requests.
	var took []time.Duration
	for begun := time.Now(); len(took) < 6 || load.least() < 2000 && time.Since(begun) < 90*time.Second; {
		if last := turns[len(turns)-1]; last.over() {
			turns = append(turns, s.turn(last.session, 1500))
		}
		began := time.Now()
		if code, out := s.holdfast("restart"); code != 0 {
			t.Fatalf("restart %d: exit code %d\n%s", len(took)+1, code, out)
		}
		took = append(took, time.Since(began).Round(time.Millisecond))
		time.Sleep(1200 * time.Millisecond)
	}
	asked, lost := load.end()
	for kind, n := range asked {
		t.Logf("%-28s %6d requests", kind, n)
		if n < 200 {
			t.Errorf("%s: only %d requests: this showed little", kind, n)
		}
	}
	t.Logf("restarts took %v", took)
	for _, err := range lost[:min(len(lost), 20)] {
		t.Errorf("a request failed: %v", err)
	}
	if len(lost) > 0 {
		t.Errorf("%d requests failed", len(lost))
	}
	born := births()
	for _, tu := range turns {
		tu.whole()
	}
	if now := s.healthy(0); now != pid {
		t.Errorf("the host is process %d now, and was %d", now, pid)
	}
	s.supervised(pid, s.m.parents())
	s.wantStarts(1)
	if s.m.calm != nil {
		if out := s.m.calm(s, service); out != "" {
			t.Errorf("%s counted an end: %s", s.m.name, out)
		}
	}
	// Not even a keeper that was born in the middle of a restart holds what is
	// the host's.
	if born == 0 {
		t.Errorf("no session was begun beside the restarts")
	}
	for _, keeper := range s.marked() {
		fds, err := proc.Descriptors(keeper)
		if err != nil {
			continue
		}
		for _, fd := range fds {
			if strings.HasPrefix(fd.Target, s.home+"/host.lock") || strings.HasPrefix(fd.Target, s.home+"/holdfast.db") {
				t.Errorf("process %d of an agent holds the host's %s", keeper, fd.Target)
			}
		}
	}
	// The supervisor still knows its child.
	s.mustRun(s.m.down(s, service)...)
	s.until("the end", 20*time.Second, func() bool { return len(s.listeners()) == 0 })
	s.wantStarts(1)
}

// births begins sessions, and with them keepers, until it is told to end. Then
// it returns how many there were.
func (s *site) births() func() int {
	ctx, cancel := context.WithCancel(s.t.Context())
	var wg sync.WaitGroup
	n := 0
	wg.Go(func() {
		for ctx.Err() == nil {
			var row sessionRow
			if err := s.call("POST", "/api/v1/sessions", map[string]any{"agent": s.agent, "cwd": s.work}, &row); err != nil {
				s.t.Errorf("a session: %v", err)
				return
			}
			text := map[string]any{"client_id": "born", "text": "say hello"}
			if err := s.call("POST", "/api/v1/sessions/"+row.ID+"/messages", text, nil); err != nil {
				s.t.Errorf("a message to a new session: %v", err)
				return
			}
			n++
			time.Sleep(400 * time.Millisecond)
		}
	})
	return func() int { cancel(); wg.Wait(); return n }
}

// load is clients that ask all the time, of as many kinds as there are ways to
// lose a request.
type load struct {
	cancel context.CancelFunc
	wg     sync.WaitGroup
	asked  map[string]*atomic.Int64

	mu   sync.Mutex
	lost []error
}

// asker makes one request and returns what went wrong.
type asker func(context.Context) error

// ask starts the clients. The message is one that the session has got already,
// so that it may be sent again.
func (s *site) ask(session string, message any) *load {
	ctx, cancel := context.WithCancel(s.t.Context())
	l := &load{cancel: cancel, asked: map[string]*atomic.Int64{}}
	s.t.Cleanup(func() { l.end() })
	body, err := json.Marshal(message)
	if err != nil {
		s.t.Fatal(err)
	}
	path := "/api/v1/sessions/" + session + "/messages"
	start := func(kind string, clients int, rest time.Duration, client func() (asker, func())) {
		n := &atomic.Int64{}
		l.asked[kind] = n
		for range clients {
			l.wg.Go(func() {
				do, done := client()
				defer done()
				for ctx.Err() == nil {
					// A request is made to its end, also at the end.
					one, stop := context.WithTimeout(context.Background(), 15*time.Second)
					err := do(one)
					stop()
					n.Add(1)
					if err != nil {
						l.mu.Lock()
						l.lost = append(l.lost, fmt.Errorf("%s: %w", kind, err))
						l.mu.Unlock()
					}
					time.Sleep(time.Duration(rand.Int64N(int64(rest) + 1)))
				}
			})
		}
	}
	overHTTP := func(method, path string, body []byte, fresh bool) func() (asker, func()) {
		return func() (asker, func()) {
			tr := &http.Transport{DisableKeepAlives: fresh}
			c := &http.Client{Transport: tr}
			return func(ctx context.Context) error { return s.askOnce(ctx, c, method, path, body) }, tr.CloseIdleConnections
		}
	}
	// Together fewer than the host answers at once: after a restart all that has
	// waited comes in the same moment, and what is too much is refused by right.
	start("new connections", 2, 4*time.Millisecond, overHTTP("GET", "/health", nil, true))
	start("keep-alive GET", 2, 4*time.Millisecond, overHTTP("GET", "/api/v1/sessions", nil, false))
	start("keep-alive POST", 2, 4*time.Millisecond, overHTTP("POST", path, body, false))
	start("raw keep-alive", 2, 4*time.Millisecond, s.raw)
	start("raw keep-alive with pauses", 50, 500*time.Millisecond, s.raw)
	return l
}

// least is how many requests the kind made that made the fewest.
func (l *load) least() int64 {
	least := int64(math.MaxInt64)
	for _, n := range l.asked {
		least = min(least, n.Load())
	}
	return least
}

// end ends the clients, and returns how many requests they made and which
// failed.
func (l *load) end() (asked map[string]int64, lost []error) {
	l.cancel()
	l.wg.Wait()
	asked = map[string]int64{}
	for kind, n := range l.asked {
		asked[kind] = n.Load()
	}
	return asked, l.lost
}

func (s *site) askOnce(ctx context.Context, c *http.Client, method, path string, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, method, s.base+path, strings.NewReader(string(body)))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+s.token)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
		req.GetBody = nil // or Go sends it again by itself
	}
	resp, err := c.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode/100 != 2 {
		err = fmt.Errorf("%s: %.200s", resp.Status, answer)
	}
	return err
}

// raw is a client that forgives nothing: it opens another connection only where
// the host has said that it would close this one.
func (s *site) raw() (asker, func()) {
	var conn net.Conn
	var r *bufio.Reader
	quit := func() {
		if conn != nil {
			_ = conn.Close()
			conn = nil
		}
	}
	ask := func(ctx context.Context) error {
		age := "used"
		if conn == nil {
			age = "new"
			var d net.Dialer
			var err error
			if conn, err = d.DialContext(ctx, "tcp", s.addr); err != nil {
				return fmt.Errorf("connect: %w", err)
			}
			r = bufio.NewReader(conn)
		}
		if at, ok := ctx.Deadline(); ok {
			_ = conn.SetDeadline(at)
		}
		if _, err := io.WriteString(conn, "GET /api/v1/sessions HTTP/1.1\r\nHost: "+s.addr+"\r\nAuthorization: Bearer "+s.token+"\r\n\r\n"); err != nil {
			quit()
			return fmt.Errorf("write on a %s connection: %w", age, err)
		}
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			quit()
			return fmt.Errorf("read on a %s connection: %w", age, err)
		}
		answer, err := io.ReadAll(resp.Body)
		err = errors.Join(err, resp.Body.Close())
		if err == nil && resp.StatusCode != http.StatusOK {
			err = fmt.Errorf("%s on a %s connection: %.300s", resp.Status, age, answer)
		}
		if resp.Close || err != nil {
			quit()
		}
		return err
	}
	return ask, quit
}

// wedged: a host that is stuck as a whole cannot help itself; the second line
// ends it, once, and lets one alone that is well.
func wedged(s *site) {
	t := s.t
	s.install()
	pid := s.healthy(0)
	look := func(flags ...string) string {
		_, out := s.holdfast(append([]string{"doctor", "--restart-if-wedged"}, flags...)...)
		return out
	}
	// As it is installed it gives a host a minute; one supervisor sees that.
	hasty := []string{"--young", "2s", "--pause", "1s", "--deadline", "3s"}
	if s.m.name == runit.name {
		hasty = nil
	}
	look()
	if s.healthy(0) != pid {
		t.Errorf("the doctor ended a host that was well")
	}
	tu := s.turn(sessionRow{}, 600)
	s.signalHost(pid, stopSignal)
	var said string
	s.until("the end of the wedged host", 90*time.Second, func() bool {
		said += look(hasty...)
		return !slices.Contains(s.hosts(), pid)
	})
	now := s.healthy(pid)
	t.Logf("the doctor said:\n%s", said)
	if dump := s.crashFile("A host that does not answer, seen from outside"); !strings.Contains(dump, "(stopped)") {
		t.Errorf("the doctor's report does not tell of its state:\n%.2000s", dump)
	}
	s.lastLife("killed")
	tu.whole()
	look()
	settle()
	if s.healthy(0) != now {
		t.Errorf("the doctor ended the new host as well")
	}
	s.wantStarts(2)
}

// watchdog: systemd ends a host that gives no sign of life.
func watchdog(s *site) {
	t := s.t
	s.install()
	pid := s.healthy(0)
	s.m.watchdog(s, service, 4*time.Second)
	s.mustRun(s.m.restart(s, service)...)
	pid = s.healthy(pid)
	time.Sleep(10 * time.Second) // a host that is well feeds it
	if s.healthy(0) != pid {
		t.Fatalf("the watchdog ended a host that was well")
	}
	tu := s.turn(sessionRow{}, 600)
	s.signalHost(pid, stopSignal)
	s.until("the end of the wedged host", 30*time.Second, func() bool { return !slices.Contains(s.hosts(), pid) })
	s.healthy(pid)
	if l := s.lastLife("crash"); !strings.Contains(l.Reason, "SIGABRT") || l.File == "" {
		t.Errorf("the last life is told by %q, in %q", l.Reason, l.File)
	}
	tu.whole()
	settle()
	s.wantStarts(3)
}
