package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdfast-dev/holdfast/internal/config"
	"github.com/holdfast-dev/holdfast/internal/httpapi"
	"github.com/holdfast-dev/holdfast/internal/obs"
	"github.com/holdfast-dev/holdfast/internal/probe"
	"github.com/holdfast-dev/holdfast/internal/proc"
	"github.com/holdfast-dev/holdfast/internal/said"
	"github.com/holdfast-dev/holdfast/internal/session"
	"github.com/holdfast-dev/holdfast/internal/store"
	"github.com/holdfast-dev/holdfast/internal/supervise"
)

// host is what the control socket asks of the whole.
type host struct {
	started  time.Time
	scheme   string // http or https
	web      config.HTTP
	addr     string // "" where no host runs, but a command has the state folder open
	limit    uint64
	unit     supervise.Unit
	awake    func() string
	core     *core
	store    *store.Store
	sessions *session.Manager
	stop     func()
	replace  *replacing // nil where no host runs
	crash    string     // the folder of dumps
	ring     *obs.Ring
	peak     atomic.Int64 // most descriptors seen
	life     *probe.Recorder
	safe     *safeMode
	evidence *probe.Evidence
}

var _ httpapi.Host = (*host)(nil)

// Status implements httpapi.Host.
func (h *host) Status(ctx context.Context) httpapi.Status {
	st := httpapi.Status{
		PID: os.Getpid(), Address: h.addr, URL: h.URL(), StartedAt: h.started, UptimeS: time.Since(h.started).Seconds(), Unit: h.unit.String(),
		Sessions: h.store.Stats(ctx).Sessions, Descriptors: h.count(), DescriptorsPeak: int(h.peak.Load()), DescriptorsLimit: int(h.limit), //nolint:gosec // a limit fits
	}
	if h.replace != nil {
		st.Awake = h.awake()
		st.LastLife, st.SafeMode = h.life.Last(), h.safe.text()
		told := h.replace.state()
		st.Restarts, st.Exe, st.Trial, st.Upgrade, st.UpgradeFailed = told.Restarts, told.Exe, told.Trial != nil, told.Upgrade, told.Failed
	}
	return st
}

// count is how many descriptors are open now; 0 where that cannot be told.
func (h *host) count() int {
	n, err := proc.CountDescriptors(os.Getpid())
	if err != nil {
		return 0
	}
	for {
		peak := h.peak.Load()
		if int64(n) <= peak || h.peak.CompareAndSwap(peak, int64(n)) {
			return n
		}
	}
}

// faults remembers the store's last failure to commit.
type faults struct {
	mu   sync.Mutex
	at   time.Time
	text string
}

// worst joins what several watchers say of the health: the worst state, and
// every problem.
func worst(watchers ...func() httpapi.Health) httpapi.Health {
	rank := map[string]int{httpapi.HealthOK: 0, httpapi.HealthDegraded: 1, httpapi.HealthFailing: 2}
	h := httpapi.Health{Status: httpapi.HealthOK}
	for _, watch := range watchers {
		one := watch()
		if rank[one.Status] > rank[h.Status] {
			h.Status = one.Status
		}
		h.Problems, h.Said = append(h.Problems, one.Problems...), append(h.Said, one.Said...)
	}
	return h
}

// faultFresh is how long a fault speaks for the present.
const faultFresh = 15 * time.Second

func (f *faults) note(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.at, f.text = time.Now(), err.Error()
}

// health is degraded while the store cannot commit: what is said is refused,
// what agents say waits in their spools.
func (f *faults) health() httpapi.Health {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.text == "" || time.Since(f.at) > faultFresh {
		return httpapi.Health{Status: httpapi.HealthOK}
	}
	return httpapi.Degraded(said.NotStored(f.text))
}

// URL implements httpapi.Host.
func (h *host) URL() string { return h.listener() + h.web.BasePath }

// PublicURL implements httpapi.Host.
func (h *host) PublicURL() string { return h.web.PublicURL }

// listener is where this machine reaches the public listener. A wildcard address
// is shown as loopback, which every browser here can reach.
func (h *host) listener() string {
	name, port, err := net.SplitHostPort(h.addr)
	if err != nil {
		return h.scheme + "://" + config.DefaultAddr
	}
	if ip := net.ParseIP(name); ip != nil && ip.IsUnspecified() {
		name = "127.0.0.1"
	}
	return h.scheme + "://" + net.JoinHostPort(name, port)
}

// Stop implements httpapi.Host.
func (h *host) Stop(ctx context.Context, all, stay bool) error {
	if h.sessions != nil && stay {
		h.sessions.Hold() // for good: the supervisor ends this process next
	}
	if all && h.sessions != nil {
		if err := h.sessions.EndAll(ctx); err != nil {
			return err
		}
	}
	if !stay {
		h.stop()
	}
	return nil
}

// Restart implements httpapi.Host.
func (h *host) Restart(ctx context.Context, r httpapi.Restart) error {
	if h.replace == nil {
		return &httpapi.RefusedError{Text: "No host runs."}
	}
	return h.replace.ask(ctx, r)
}

// Verify implements httpapi.Host.
func (h *host) Verify(ctx context.Context, progress func(done, total int64)) (httpapi.VerifyReport, error) {
	differences, err := h.store.Verify(ctx, progress)
	if err != nil {
		return httpapi.VerifyReport{}, err
	}
	stats := h.store.Stats(ctx)
	report := httpapi.VerifyReport{Sessions: int64(stats.Sessions), Events: stats.Events, Wrong: []string{}}
	for _, d := range differences {
		report.Wrong = append(report.Wrong, fmt.Sprint(d))
	}
	return report, nil
}

// listenControl opens the unix socket by which commands reach this host. The
// state folder's lock is held, so a socket that is there already is a dead
// host's.
func listenControl(home string) (net.Listener, error) {
	path, err := config.EnsureSocket(home)
	if err != nil {
		return nil, refuse("%v", err)
	}
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		return nil, fmt.Errorf("remove old control socket: %w", err)
	}
	ln, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("listen on control socket: %w", err)
	}
	// Its folder is private already. A umask would do this in one step, and
	// take the x bit of folders that other goroutines make meanwhile.
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("make control socket private: %w", err), ln.Close())
	}
	return ln, nil
}
