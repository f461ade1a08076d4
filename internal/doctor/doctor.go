package doctor

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-dev/holdfast/internal/proc"
	"github.com/holdfast-dev/holdfast/internal/said"
)

// Options say which host is looked at, and how patiently.
type Options struct {
	Home     string
	Tries    int           // failures in a row that make a wedge
	Pause    time.Duration // between two of them
	Deadline time.Duration // of one request
	Young    time.Duration // a host younger than this is left alone
}

// Defaults are the figures of the timer: a host that is stuck is ended after
// forty seconds, and one that is slow is not.
func Defaults(home string) Options {
	return Options{Home: home, Tries: 3, Pause: 5 * time.Second, Deadline: 10 * time.Second, Young: time.Minute}
}

// Report is what an examination found.
type Report struct {
	Checks []Check
	Host   Holder
	ID     proc.ID // of the host; zero where it is not known for sure
	Held   bool    // a host holds the state folder
	Wedged bool    // it lives, and answered none of the requests
	Asked  []string
}

// Bad tells whether something has failed.
func (r *Report) Bad() bool {
	return slices.ContainsFunc(r.Checks, func(c Check) bool { return c.State == Failed })
}

func (r *Report) ok(name, format string, args ...any) {
	r.Checks = append(r.Checks, Okf(GroupService, name, format, args...))
}

func (r *Report) bad(name, remedy, format string, args ...any) {
	r.Checks = append(r.Checks, Failf(GroupService, name, remedy, format, args...))
}

// Examine looks at the host of a state folder and changes nothing. Each look
// needs the one before it.
func Examine(ctx context.Context, o Options) *Report {
	r := &Report{}
	for _, look := range []func(context.Context, Options) bool{r.lookFolder, r.lookLock, r.lookProcess, r.lookHealth} {
		if !look(ctx, o) {
			break
		}
	}
	return r
}

func (r *Report) lookFolder(_ context.Context, o Options) bool {
	info, err := os.Stat(o.Home)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		r.ok("folder", "%s does not exist: no host has run here", o.Home)
		return false
	case err != nil:
		r.bad("folder", "Run this as the user who runs the host, or name another folder with --home.", "%v", err)
		return false
	case !info.IsDir():
		r.bad("folder", "Name another folder with --home.", "%s is no folder", o.Home)
		return false
	}
	r.ok("folder", "%s", o.Home)
	return true
}

func (r *Report) lookLock(_ context.Context, o Options) bool {
	h, held, err := Look(o.Home)
	switch {
	case err != nil:
		r.bad("host", "Run this as the user who runs the host.", "%v", err)
		return false
	case !held:
		r.ok("host", "none runs")
		return false
	case h.PID == 0:
		r.ok("host", "one is starting, or has just ended")
		return false
	}
	r.Host, r.Held = h, true
	by := "without a supervisor"
	if h.Unit != "" {
		by = "as " + h.Unit
	}
	r.ok("host", "runs %s since %s, version %s (pid %d)", by, h.Since.Local().Format(time.DateTime), h.Version, h.PID)
	return true
}

func (r *Report) lookProcess(_ context.Context, o Options) bool {
	info, err := proc.Lookup(r.Host.PID)
	switch {
	case errors.Is(err, proc.ErrGone):
		// A descriptor of the lock outlived the host, or the next host has not
		// written its name yet.
		r.bad("process", "Wait a moment and look again. If it stays so, see who holds the lock: lsof "+filepath.Join(o.Home, "host.lock"),
			"the lock is held and its process %d is gone", r.Host.PID)
		return false
	case err != nil:
		r.bad("process", "Run this as the user who runs the host.", "%v", err)
		return false
	case !r.holds(info, filepath.Join(o.Home, "host.lock")):
		r.bad("process", "Wait a moment and look again.", "process %d (%s) does not hold the lock: a host has just begun or ended", info.PID, info.Command)
		return false
	}
	r.ID = info.ID
	text := said.Size(info.RSS) + " of memory"
	if n, err := proc.CountDescriptors(info.PID); err == nil {
		text += fmt.Sprintf(", %d descriptors", n)
	}
	if at, err := proc.StartedAt(info.ID); err == nil {
		text += ", begun " + span(time.Since(at)) + " ago"
	}
	r.ok("process", "%s", text)
	return true
}

// holds tells whether the process is the one that holds the lock. The text in
// the file may be older than the lock, and a pid in it may belong to a
// stranger by now.
func (r *Report) holds(info proc.Info, path string) bool {
	fds, err := proc.Descriptors(info.PID)
	if err != nil {
		return false
	}
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	known := false
	for _, d := range fds {
		if d.Target == path {
			return true
		}
		known = known || d.Target != ""
	}
	if known {
		return false
	}
	// Where the kernel names no targets (macOS): a stranger began after the host
	// wrote its name, and is no Holdfast.
	at, err := proc.StartedAt(info.ID)
	if err != nil || at.After(r.Host.Since.Add(2*time.Second)) {
		return false
	}
	args, err := proc.Args(info.PID)
	return err == nil && (slices.Contains(args, "serve") || slices.Contains(args, "up"))
}

// age is how long the host is there. A host that was replaced in place has the
// process of the old one.
func (r *Report) age() time.Duration {
	age := time.Since(r.Host.Since)
	if at, err := proc.StartedAt(r.ID); err == nil {
		age = min(age, time.Since(at))
	}
	return age
}

func (r *Report) lookHealth(ctx context.Context, o Options) bool {
	if r.Host.Address == "" {
		r.ok("health", "the host does not listen yet: it is starting, or waits for its address")
		return false
	}
	url := r.Host.URL() + "/health?deep=1"
	for try := 1; ; try++ {
		answer, err := ask(ctx, url, o.Deadline)
		if err == nil {
			r.Asked = append(r.Asked, answer.text())
			r.Checks = append(r.Checks, answer.check(url))
			return true
		}
		r.Asked = append(r.Asked, err.Error())
		if ctx.Err() != nil {
			r.bad("health", "", "the look was broken off: %v", ctx.Err())
			return false
		}
		if try >= o.Tries {
			break
		}
		t := time.NewTimer(o.Pause)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
		}
	}
	if age := r.age(); age < o.Young {
		r.bad("health", "Wait a moment and look again.", "%s does not answer; the host is %s old", url, age.Round(time.Second))
		return false
	}
	r.Wedged = true
	r.bad("health", "End it and let its supervisor start another one: holdfast doctor --restart-if-wedged. Without a supervisor add --force, then start one: holdfast up",
		"%s was asked %d times and did not answer: %s", url, o.Tries, r.Asked[len(r.Asked)-1])
	return true
}

// URL is where this machine reaches the host.
func (h Holder) URL() string {
	scheme := h.Scheme
	if scheme == "" {
		scheme = "http"
	}
	return scheme + "://" + reachable(h.Address)
}

// Client asks a host of this machine: not through a proxy of the environment,
// and whatever its certificate is, for who answers at the host's own address is
// known from its lock.
func Client() *http.Client {
	return &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}, //nolint:gosec // see above
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// reachable is where this machine reaches a listener.
func reachable(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return addr
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
		if ip.To4() == nil {
			host = "::1"
		}
	}
	return net.JoinHostPort(host, port)
}

// answer is what a host answered to a request for its health.
type answer struct {
	code   int
	status string
	took   time.Duration
	body   string
}

func (a answer) text() string {
	return fmt.Sprintf("%s after %s: %s", a.status, a.took.Round(time.Millisecond), a.body)
}

// check judges an answer. A host that says that something is wrong is not
// stuck, and a restart need not mend it.
func (a answer) check(url string) Check {
	at := strings.TrimSuffix(url, "/health?deep=1")
	var said struct {
		Status   string   `json:"status"`
		Problems []string `json:"problems"`
	}
	if json.Unmarshal([]byte(a.body), &said) != nil || said.Status == "" {
		if a.code == http.StatusOK {
			return Okf(GroupService, "health", "%s answers", at)
		}
		return Failf(GroupService, "health", "Look into its log: holdfast logs", "%s says: %s", at, a.text())
	}
	what := strings.Join(said.Problems, "; ")
	switch {
	case a.code == http.StatusOK && said.Status == "ok":
		return Okf(GroupService, "health", "%s says that all is well, after %s", at, a.took.Round(time.Millisecond))
	case a.code == http.StatusOK:
		return Warnf(GroupService, "health", "The page Host shows what to do about it; so does its log: holdfast logs", "%s says %s: %s", at, said.Status, what)
	}
	return Failf(GroupService, "health", "Look into its log: holdfast logs", "%s says %s: %s", at, said.Status, what)
}

// ask makes one request on a connection of its own. Any answer is one, 503
// too: what it says of itself is the host's business.
func ask(ctx context.Context, url string, deadline time.Duration) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return answer{}, fmt.Errorf("make request: %w", err)
	}
	began := time.Now()
	resp, err := Client().Do(req)
	if err != nil {
		return answer{}, fmt.Errorf("after %s: %w", time.Since(began).Round(time.Millisecond), err)
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(resp.Body, 4<<10))
	return answer{resp.StatusCode, resp.Status, time.Since(began), strings.TrimSpace(string(body))}, nil
}
