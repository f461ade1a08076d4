//go:build soak

package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// soak is a host under everything at once, and what was seen meanwhile.
type soak struct {
	w     *world
	t     *testing.T
	ctx   context.Context // ends when the load does
	bench []*desk

	runs, streams, cut, uploads, backups, late atomic.Int64

	mu      sync.Mutex
	reasons map[string]int
	unwell  map[string]int // what health said that is not ok
	memory  []int64        // resident and anonymous, each ten seconds
	open    []int          // descriptors, likewise
	slowest time.Duration  // of /health
	waited  time.Duration  // the longest that a run waited for an agent
}

// desk is a place at which one session follows another.
type desk struct {
	n  int
	mu sync.Mutex
	id string
}

func (d *desk) session() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.id
}

// TestSoak: a host that is used hard says that nothing is wrong, from the
// beginning to the end, and holds at the end what it held at the beginning.
// SOAK_MINUTES says for how long; 2 by itself.
func TestSoak(t *testing.T) {
	t.Parallel()
	minutes := 2.0
	if text := os.Getenv("SOAK_MINUTES"); text != "" {
		var err error
		if minutes, err = strconv.ParseFloat(text, 64); err != nil {
			t.Fatalf("SOAK_MINUTES: %v", err)
		}
	}
	w := newWorld(t, nil, "")
	w.args = []string{superviseFlag}
	w.start()
	pid := w.host.Process.Pid
	s := &soak{w: w, t: t, reasons: map[string]int{}, unwell: map[string]int{}}
	v := w.visitor()
	for n := range 10 { // two more than agents may live: some must go and come back
		d := &desk{n: n, id: w.newSession().ID}
		s.bench = append(s.bench, d)
		s.ran(v, d)
	}
	before := w.atRest()

	length := time.Duration(minutes * float64(time.Minute))
	ctx, stop := context.WithTimeout(t.Context(), length)
	defer stop()
	s.ctx = ctx
	var group sync.WaitGroup
	for _, d := range s.bench {
		group.Go(func() { s.work(d) })
	}
	for i := range 6 {
		group.Go(func() { s.page(rand.New(rand.NewPCG(1, uint64(i)))) })
	}
	for range 2 {
		group.Go(s.slowReader)
	}
	for _, one := range []func(){s.uploader, s.reader, s.silent, s.backup, s.watch, s.measure} {
		group.Go(one)
	}
	group.Wait()

	t.Logf("%s: %d runs that ended by %v; %d visits of pages, %d slow readers cut, %d uploads, %d backups, %d large reads that took too long; /health took %s at most; a run waited %s at most for its agent",
		length, s.runs.Load(), s.reasons, s.streams.Load(), s.cut.Load(), s.uploads.Load(), s.backups.Load(), s.late.Load(), s.slowest.Round(time.Millisecond), s.waited.Round(time.Millisecond))
	t.Logf("resident memory in MB: %v", inMB(s.memory))
	t.Logf("descriptors: %v", s.open)
	for text, n := range s.unwell {
		t.Errorf("health was not ok %d times: %s", n, text)
	}
	for _, d := range s.bench {
		w.until("the end of all runs", 2*time.Minute, func() bool { one := w.session(d.session()); return one.Run == "" && one.Queued == 0 })
		s.ran(v, d)
	}
	v.leave()
	t.Logf("before %+v, after %+v", before, w.settled(before, 40*time.Second))
	s.flat()
	w.whole(s.bench[0].session())
	w.quiet(t)
	if w.host.Process.Pid != pid || len(s.dumps()) > 0 {
		t.Errorf("the host died on the way: %v", s.dumps())
	}
	s.complaints()
}

// dumps are what a host leaves that had reason to.
func (s *soak) dumps() []string {
	names, _ := filepath.Glob(filepath.Join(s.w.home, "crash", "*.txt"))
	return slices.DeleteFunc(names, func(name string) bool { info, err := os.Stat(name); return err == nil && info.Size() == 0 })
}

// complaints are lines of the log that nobody who did what was done here should
// have to read.
func (s *soak) complaints() {
	seen := map[string]int{}
	for line := range strings.Lines(s.w.out.String()) {
		_, rest, ok := strings.Cut(line, "level=")
		if !ok || !strings.HasPrefix(rest, "WARN") && !strings.HasPrefix(rest, "ERROR") {
			continue
		}
		_, msg, _ := strings.Cut(rest, "msg=")
		text, _, _ := strings.Cut(strings.TrimPrefix(msg, `"`), `"`)
		if seen[text]++; seen[text] == 1 {
			s.t.Logf("a warning: %.400s", line)
		}
	}
	for text, n := range seen {
		s.t.Logf("%5d × %s", n, text)
	}
}

// flat fails where memory or descriptors have grown from the second quarter of
// the time to the last.
func (s *soak) flat() {
	n := len(s.memory) / 4
	if n == 0 {
		return
	}
	mean := func(all []int64) (sum int64) {
		for _, v := range all {
			sum += v
		}
		return sum / int64(len(all))
	}
	early, late := mean(s.memory[n:2*n]), mean(s.memory[len(s.memory)-n:])
	s.t.Logf("resident memory: %d MB in the second quarter, %d MB in the last", early>>20, late>>20)
	if late > early+early/4+20<<20 {
		s.t.Errorf("memory grew from %d MB to %d MB", early>>20, late>>20)
	}
	if a, b := slices.Max(s.open[n:2*n]), slices.Max(s.open[len(s.open)-n:]); b > a+a/4+10 {
		s.t.Errorf("descriptors grew from %d to %d", a, b)
	}
}

func inMB(all []int64) (mb []int64) {
	for i := 0; i < len(all); i += max(1, len(all)/30) {
		mb = append(mb, all[i]>>20)
	}
	return mb
}

// pause reports whether the load goes on.
func (s *soak) pause(d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-s.ctx.Done():
		return false
	}
}

// ran has the desk's agent answer once.
func (s *soak) ran(v *visitor, d *desk) {
	if reason, _ := s.run(v, d, "say ready", nil); reason != "end_turn" {
		s.t.Errorf("a plain run ended by %q", reason)
	}
}

// run sends a text, does what is to be done meanwhile, and waits for the end.
func (s *soak) run(v *visitor, d *desk, text string, meanwhile func(run string)) (reason string, ok bool) {
	id := d.session()
	var a accepted
	if v.do("POST", "/api/v1/sessions/"+id+"/messages", map[string]any{"client_id": fmt.Sprint("soak", s.runs.Add(1)), "text": text}, &a, 202) != 202 {
		return "", false
	}
	after, begun := a.Seq, time.Now()
	if meanwhile != nil {
		meanwhile(a.Run)
	}
	for deadline := time.Now().Add(3 * time.Minute); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		var page struct{ Events []event }
		if v.do("GET", fmt.Sprintf("/api/v1/sessions/%s/events?after=%d&limit=1000", id, after), nil, &page, 200) != 200 {
			return "", false
		}
		for _, e := range page.Events {
			after = e.Seq
			if e.Kind == "run.started" && e.Run == a.Run {
				s.mu.Lock()
				s.waited = max(s.waited, time.Since(begun))
				s.mu.Unlock()
			}
			if e.Kind == "run.ended" && e.Run == a.Run {
				var body struct{ Reason string }
				_ = json.Unmarshal(e.Body, &body)
				return body.Reason, true
			}
		}
	}
	s.t.Errorf("the run %s of %s did not end: %.100q", a.Run, id, text)
	return "", false
}

// work is one run after the other, and now and then a new session.
func (s *soak) work(d *desk) {
	rng := rand.New(rand.NewPCG(2, uint64(d.n)))
	v := s.w.visitor()
	defer v.leave()
	output := strings.Repeat("ok  github.com/example/project/internal/part 0.123s ", 1000)
	for s.pause(time.Duration(rng.IntN(300)) * time.Millisecond) {
		text, want := "say fine\nthink of it\nplan +A|*B|C", "end_turn"
		var meanwhile func(run string)
		session := d.session()
		cancel := func(run string) {
			time.Sleep(time.Duration(rng.IntN(200)) * time.Millisecond)
			v.do("POST", "/api/v1/sessions/"+session+"/cancel", map[string]any{"run": run}, nil, 202)
		}
		switch k := rng.IntN(100); {
		case k < 35:
			text = fmt.Sprintf("stream %d 5ms seed=%d", 100+rng.IntN(300), k)
		case k < 50:
			text = "tool t1 execute go test\n" + strings.Repeat("tool-output t1 "+output+"\n", 8) + "tool-done t1\nsay done"
		case k < 55:
			text = "line 1MB"
		case k < 65:
			text, want, meanwhile = "say begin\nstream 10000 5ms", "cancelled", cancel
		case k < 80:
			text, meanwhile = "ask q1 Run it go test\nsay done", func(string) {
				v.do("POST", "/api/v1/approvals/"+v.question(session), map[string]any{"option": "allow_once"}, nil, 200)
			}
		case k < 85:
			text, want = "error -32603 it broke", "error"
		case k < 87:
			text, want = "say begin\nexit 3", "interrupted"
		case k < 92:
			text = "diff a.txt old new\nsay it is written"
		}
		reason, ok := s.run(v, d, text, meanwhile)
		if !ok {
			return
		}
		s.mu.Lock()
		s.reasons[reason]++
		s.mu.Unlock()
		if reason != want {
			s.t.Errorf("%.60q ended by %q, want %q", text, reason, want)
		}
		if rng.IntN(60) == 0 {
			var fresh sessionRow
			if v.do("POST", "/api/v1/sessions", map[string]any{"agent": s.w.agent, "cwd": s.w.work}, &fresh, 201) != 201 {
				return
			}
			d.mu.Lock()
			old := d.id
			d.id = fresh.ID
			d.mu.Unlock()
			v.do("DELETE", "/api/v1/sessions/"+old, nil, nil, 200, 204)
		}
	}
}

// page is a browser that is opened, looks at a session and is closed again: it
// must see every event of the session from its snapshot on.
func (s *soak) page(rng *rand.Rand) {
	v := s.w.visitor()
	defer v.leave()
	for s.pause(time.Duration(rng.IntN(500)) * time.Millisecond) {
		id := s.bench[rng.IntN(len(s.bench))].session()
		v.do("GET", "/", nil, nil, 200)
		v.do("GET", "/api/v1/sessions?limit=50", nil, nil, 200)
		var snapshot struct {
			Cursor string
			Seq    int64
		}
		if s.heavy(v, "/api/v1/sessions/"+id+"/items?limit=50", &snapshot) != 200 {
			continue // it was deleted meanwhile
		}
		ctx, stop := context.WithTimeout(s.ctx, time.Duration(500+rng.IntN(15_000))*time.Millisecond)
		s.look(ctx, v, id, snapshot.Cursor, snapshot.Seq)
		stop()
		s.streams.Add(1)
	}
}

// look reads a stream until ctx ends.
func (s *soak) look(ctx context.Context, v *visitor, id, cursor string, seq int64) {
	req, err := http.NewRequestWithContext(ctx, "GET", s.w.base+"/api/v1/stream?session="+id+"&cursor="+cursor, nil)
	if err != nil {
		panic(err)
	}
	req.Header.Set("Authorization", "Bearer "+s.w.token)
	resp, err := v.client.Do(req)
	if err != nil {
		return
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		if resp.StatusCode != http.StatusNotFound && resp.StatusCode != http.StatusGone {
			s.t.Errorf("a stream got %s", resp.Status)
		}
		return
	}
	for in := bufio.NewReaderSize(resp.Body, 64<<10); ; {
		line, err := in.ReadString('\n')
		if err != nil {
			if ctx.Err() == nil {
				s.t.Errorf("a stream that is read ended: %v", err)
			}
			return
		}
		data, ok := strings.CutPrefix(line, "data: ")
		var e event
		if !ok || json.Unmarshal([]byte(data), &e) != nil || e.Session != id || e.Seq <= seq {
			continue
		}
		if e.Seq != seq+1 {
			s.t.Errorf("a page saw event %d of %s after %d", e.Seq, id, seq)
		}
		seq = e.Seq
	}
}

// slowReader takes a hundred bytes a second of all that happens, and comes back
// when it is cut.
func (s *soak) slowReader() {
	for s.pause(time.Second) {
		conn, err := net.Dial("tcp", strings.TrimPrefix(s.w.base, "http://"))
		if err != nil {
			s.t.Errorf("dial: %v", err)
			return
		}
		_ = conn.(*net.TCPConn).SetReadBuffer(4 << 10)
		var named []string
		for _, d := range s.bench {
			named = append(named, "session="+d.session())
		}
		_, _ = fmt.Fprintf(conn, "GET /api/v1/stream?%s HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\n\r\n", strings.Join(named, "&"), s.w.token)
		for s.pause(time.Second) {
			_ = conn.SetReadDeadline(time.Now().Add(2 * time.Second))
			if _, err := conn.Read(make([]byte, 100)); err != nil {
				s.cut.Add(1)
				break
			}
		}
		conn.Close()
	}
}

// uploader sends files, and one of four with a message.
func (s *soak) uploader() {
	v := s.w.visitor()
	defer v.leave()
	file := newUpload(256 << 10)
	for s.pause(time.Second) {
		v.do("POST", "/api/v1/attachments", file, nil, 200, 201)
		s.uploads.Add(1)
	}
}

// reader reads what there is to be read.
func (s *soak) reader() {
	v := s.w.visitor()
	defer v.leave()
	for i := 0; s.pause(20 * time.Millisecond); i++ {
		session := "/api/v1/sessions/" + s.bench[i%len(s.bench)].session()
		switch i % 12 {
		case 0:
			v.do("GET", "/metrics", nil, nil, 200)
		case 1:
			v.do("GET", "/api/v1/host/ledger", nil, nil, 200)
		case 2:
			var deep healthNow
			v.do("GET", "/health?deep=1", nil, &deep, 200)
			if deep.Status != "ok" {
				s.mu.Lock()
				s.unwell[fmt.Sprint("deep: ", deep.Problems)]++
				s.mu.Unlock()
			}
		case 3:
			v.do("GET", "/api/v1/openapi.json", nil, nil, 200)
		case 4:
			s.heavy(v, session+"/events?after=0&limit=1000", nil)
		case 5:
			s.heavy(v, session+"/items?limit=200", nil)
		case 6:
			v.do("GET", "/api/v1/folders?path="+s.w.work, nil, nil, 200)
		case 7:
			v.do("GET", "/api/v1/nothing", nil, nil, 404)
		case 8:
			v.do("POST", session+"/messages", "{", nil, 400)
		default:
			v.do("GET", "/api/v1/sessions?limit=50", nil, nil, 200)
		}
	}
}

// heavy reads many megabytes of a session that may be deleted meanwhile. On a
// machine whose processors belong to others it may be told that it took too long.
func (s *soak) heavy(v *visitor, path string, out any) int {
	status := v.do("GET", path, nil, out, 200, 404, 410, 503)
	if status == http.StatusServiceUnavailable {
		s.late.Add(1)
	}
	return status
}

// silent opens connections and says nothing.
func (s *soak) silent() {
	var held []net.Conn
	for s.pause(500 * time.Millisecond) {
		if conn, err := net.Dial("tcp", strings.TrimPrefix(s.w.base, "http://")); err == nil {
			held = append(held, conn)
		}
		if len(held) > 20 {
			for _, conn := range held {
				conn.Close()
			}
			held = nil
		}
	}
	for _, conn := range held {
		conn.Close()
	}
}

// backup copies the database now and then, as a timer does each night.
func (s *soak) backup() {
	for i := 0; s.pause(30 * time.Second); i++ {
		file := filepath.Join(s.w.work, fmt.Sprint("backup", i, ".tar.gz"))
		out, err := s.w.command("backup", "--home", s.w.home, "--to", file).CombinedOutput()
		if err != nil {
			s.t.Errorf("backup: %v: %s", err, out)
		}
		_ = os.RemoveAll(file)
		s.backups.Add(1)
	}
}

// watch asks for the host's health as a monitor does.
func (s *soak) watch() {
	client := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	for s.pause(250 * time.Millisecond) {
		begun := time.Now()
		var h healthNow
		resp, err := client.Get(s.w.base + "/health")
		if err == nil {
			err = json.NewDecoder(resp.Body).Decode(&h)
			resp.Body.Close()
		}
		took := time.Since(begun)
		s.mu.Lock()
		s.slowest = max(s.slowest, took)
		if err != nil || h.Status != "ok" {
			s.unwell[fmt.Sprint(h.Status, h.Problems, err)]++
		}
		s.mu.Unlock()
	}
}

// measure notes what the host takes.
func (s *soak) measure() {
	for s.pause(10 * time.Second) {
		memory, open := s.w.memory("RssAnon"), len(s.w.openFiles())
		s.mu.Lock()
		s.memory, s.open = append(s.memory, memory), append(s.open, open)
		s.mu.Unlock()
	}
}
