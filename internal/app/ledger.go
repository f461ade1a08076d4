package app

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdfast-dev/holdfast/internal/config"
	"github.com/holdfast-dev/holdfast/internal/failpoint"
	"github.com/holdfast-dev/holdfast/internal/httpapi"
	"github.com/holdfast-dev/holdfast/internal/ledger"
	"github.com/holdfast-dev/holdfast/internal/proc"
	"github.com/holdfast-dev/holdfast/internal/session"
	"github.com/holdfast-dev/holdfast/internal/store"
)

const (
	sampleEvery = 15 * time.Second
	// sampleHurried is how often it is looked while half of the limit is taken:
	// a limit of 256 can be reached between two samples.
	sampleHurried = time.Second
	sweepEvery    = 5 * time.Minute

	historyFile = "history.jsonl" // in the state folder

	// memoryBudget is what a host needs at most, with everything that its
	// defaults allow; the collector works against memoryGoal.
	memoryBudget = 2 * memoryGoal
)

// books keep the ledger: they sample what the host and its agents hold, judge
// it, and say what must be done without.
type books struct {
	cfg      *config.Config
	log      *slog.Logger
	limit    int
	home     string // without links on the way; "" where that is not known
	store    *store.Store
	sessions *session.Manager
	server   atomic.Pointer[httpapi.Server]
	pressure atomic.Pointer[httpapi.Pressure]
	others   func() []ledger.Owner // a test's own; nil: none
	latency  func() time.Duration  // of the last look of the host at itself; nil: it does not look

	mu       sync.Mutex
	watch    ledger.Watch
	levels   ledger.Levels
	history  *ledger.Journal
	last     ledger.Sample
	gauges   ledger.Gauges
	agents   []ledger.AgentSample
	findings []ledger.Finding

	reportMu sync.Mutex
	reportAt time.Time
	reported httpapi.HostLedger

	said map[string]string // texts of the findings that the log has
}

func newBooks(c *core) *books {
	b := &books{cfg: c.cfg, log: c.log, limit: int(c.limit), store: c.store, sessions: c.sessions, said: map[string]string{}, history: &ledger.Journal{}}
	b.pressure.Store(&httpapi.Pressure{})
	b.home, _ = filepath.EvalSymlinks(c.cfg.Home) // "" leaves the paths as they are
	return b
}

// owners are all that hold descriptors in this process. One that is added to
// the host and not here shows as unexplained.
func (b *books) owners() []ledger.Owner {
	fixed := func(expected, bound int) func() (int, int) { return func() (int, int) { return expected, bound } }
	live := b.sessions.Live()
	list := []ledger.Owner{
		{
			Name: "standard input and output", Kind: ledger.KindFile, Holds: fixed(3, 3),
			Claims: func(d proc.Descriptor) bool { return d.FD <= 2 },
		},
		// The store's own bound: whatever more there is was opened by somebody else, or not closed.
		{Name: "store", Kind: ledger.KindSQLite, Holds: fixed(store.MaxDescriptors, store.MaxDescriptors), Claims: b.claims(b.cfg.DB())},
		{Name: "lock", Kind: ledger.KindFile, Holds: fixed(1, 1), Claims: b.claims(b.cfg.Lock())},
		{Name: "record of this life", Kind: ledger.KindFile, Holds: fixed(1, 2), Claims: b.claims(filepath.Join(b.cfg.Home, "life.json"))},
		{Name: "history", Kind: ledger.KindFile, Holds: fixed(1, 2), Claims: b.claims(filepath.Join(b.cfg.Home, historyFile))},
		// For the runtime's last words and the next dump, which must not need a descriptor then; a dump that is read.
		{Name: "crash folder", Kind: ledger.KindFile, Holds: fixed(2, 8), Claims: b.claims(b.cfg.Crash())},
		// A file that turns over is open twice for a moment.
		{Name: "log", Kind: ledger.KindFile, Holds: fixed(1, 4), Claims: b.claims(b.cfg.Logs())},
		// A spool that is drained, a lock that is handed to a keeper.
		{
			Name: "spools", Kind: ledger.KindFile, Holds: fixed(2+4*live, 8+8*max(live, b.cfg.Limits.LiveAgents)),
			Claims: b.claims(b.cfg.Keepers()),
		},
		{Name: "the runtime's limits", Kind: ledger.KindFile, Holds: fixed(2, 8), Claims: ledger.PathPrefix("/sys/fs/cgroup")},
		{Name: "the runtime's poller", Kind: ledger.KindEvent, Holds: fixed(2, 4)},
		{Name: "listeners", Kind: ledger.KindSocket, Holds: fixed(2, 4)},
		{Name: "keeper sockets", Kind: ledger.KindSocket, Holds: fixed(live, 2*max(live, b.cfg.Limits.LiveAgents))},
		{Name: "connections", Kind: ledger.KindSocket, Holds: b.connections},
		// A look at our own listener and its supervisor: short, but a sample may meet it.
		{Name: "probes", Kind: ledger.KindSocket, Holds: fixed(4, 16)},
		{Name: "keeping awake", Kind: ledger.KindSocket, Holds: fixed(1, 2)},
		// Versions that are asked for, the login shell, a keeper that is born.
		{Name: "helper processes' pipes", Kind: ledger.KindPipe, Holds: fixed(4, 64)},
		{Name: "helper processes", Kind: ledger.KindEvent, Holds: fixed(2, 32)},
		{Name: "files being read", Kind: ledger.KindFile, Holds: fixed(4, 32)},
	}
	if b.others != nil {
		list = append(list, b.others()...)
	}
	if path := failpoint.Value("http.cache"); path != "" {
		// A test's: an owner that forgets to close what it evicts.
		list = append(list, ledger.Owner{Name: "the cache", Kind: ledger.KindSQLite, Holds: fixed(4, 8), Claims: ledger.PathPrefix(path)})
	}
	return list
}

// claims tells the descriptors that lie at a path of the state folder. The
// kernel names them without the links on the way.
func (b *books) claims(path string) func(proc.Descriptor) bool {
	if rest, ok := strings.CutPrefix(path, b.cfg.Home); ok && b.home != "" {
		path = b.home + rest
	}
	return ledger.PathPrefix(path)
}

func (b *books) connections() (expected, bound int) {
	bound = 2 * min(b.cfg.Limits.Connections, b.limit/2) // of two listeners
	if s := b.server.Load(); s != nil {
		expected = s.Connections()
	}
	return expected, bound
}

// sample looks at this process by a list of its descriptors: proc.Descriptors,
// which costs little, or proc.Table, which knows what sockets are for and takes
// some ms for it. Without one the rest of the sample is still there.
func (b *books) sample(list func(pid int) ([]proc.Descriptor, error)) (ledger.Sample, ledger.Gauges, error) {
	fds, err := list(os.Getpid())
	s := ledger.Count(time.Now().UTC().Truncate(time.Millisecond), b.limit, fds, b.owners())
	g := ledger.Gauges{
		RSSBudget: memoryBudget, Goroutines: runtime.NumGoroutine(), WAL: b.store.WAL(), Copying: b.store.Copying(), DiskFree: freeDisk(b.cfg.Home),
	}
	conns, _ := b.connections()
	g.GoroutinesExpected = 60 + 4*conns + 8*b.sessions.Live()
	if info, err := proc.Lookup(os.Getpid()); err == nil {
		g.RSS = info.RSS
	}
	if b.latency != nil {
		g.ProbeMS = float64(b.latency().Microseconds()) / 1000
	}
	return s, g, err
}

// freeDisk is what may still be written to the disk of the folder; -1 where
// that is not known. A test's file may say something else.
func freeDisk(dir string) int64 {
	if path := failpoint.Value("disk.free"); path != "" {
		text, err := os.ReadFile(path)
		if n, nerr := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err == nil && nerr == nil {
			return n
		}
	}
	free, err := proc.FreeDisk(dir)
	if err != nil {
		return -1
	}
	return int64(min(free, 1<<62))
}

// remember takes up the last day from the file, which this process keeps from
// here on. The charts of a host are no reason not to start it.
func (b *books) remember() {
	j, err := ledger.OpenJournal(filepath.Join(b.cfg.Home, historyFile), time.Now(), failpoint.Millis("history_ms", ledger.JournalStep))
	if err != nil {
		b.log.Warn("the history of this host is not kept", "err", err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.history = j
}

// keep samples until ctx ends. dump writes a diagnosis.
func (b *books) keep(ctx context.Context, dump func(why string) (string, error)) error {
	b.remember()
	defer func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		if err := b.history.Close(); err != nil {
			b.log.Warn("close the history of this host", "err", err)
		}
	}()
	every := sampleEvery
	if d, err := time.ParseDuration(failpoint.Value("ledger.every")); err == nil {
		every = d
	}
	sweepAt := time.Now()
	for {
		share := b.turn(ctx, dump)
		if !time.Now().Before(sweepAt) {
			sweepAt = time.Now().Add(max(sweepEvery/60, min(sweepEvery, 20*every)))
			b.sweep(ctx)
		}
		wait := every
		if share > 0.5 {
			wait = min(wait, sampleHurried)
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil
		}
	}
}

// turn is one sample with all that follows from it. It returns the share of
// the limit that is open.
func (b *books) turn(ctx context.Context, dump func(string) (string, error)) float64 {
	agents, err := b.sampleAgents(ctx)
	if err != nil {
		b.log.Debug("sample agents", "err", err)
	}
	s, g, err := b.sample(proc.Descriptors)

	b.mu.Lock()
	var found []ledger.Finding
	shed := false
	if err == nil {
		found, shed = b.watch.Feed(s)
	}
	levels, readOnly := b.levels.Feed(g)
	judged, replace := ledger.JudgeAgents(agents)
	found = append(append(found, levels...), judged...)
	b.last, b.gauges, b.agents, b.findings = s, g, agents, found
	point := ledger.Point{At: s.At, Expected: s.Expected, Observed: s.Observed, RSS: g.RSS, Goroutines: g.Goroutines, WAL: g.WAL, Agents: len(agents), ProbeMS: g.ProbeMS}
	for _, a := range agents {
		point.AgentFDs += a.Descriptors
		point.AgentRSS += a.RSS
	}
	if server := b.server.Load(); server != nil {
		for _, c := range server.Load() {
			if c.Class == "stream" {
				point.Streams = c.Now
			}
		}
	}
	kept := b.history.Note(point)
	b.mu.Unlock()
	if kept != nil {
		b.log.Debug("the history of this host is not whole", "err", kept)
	}

	next := httpapi.Pressure{Descriptors: shed}
	if readOnly {
		next.Disk = ledger.ReadOnlyText(g.DiskFree)
	}
	before := b.pressure.Swap(&next)
	b.tell(found)
	b.replace(ctx, replace)
	if shed {
		if ended, err := b.sessions.EndIdle(ctx); err != nil && ctx.Err() == nil {
			b.log.Error("end idle agents", "err", err)
		} else if ended > 0 {
			b.log.Warn("idle agents are ended", "agents", ended)
		}
		if !before.Descriptors {
			path, err := dump("nearly all descriptors are open")
			b.log.Warn("nearly all descriptors are open", "open", s.Observed, "limit", s.Limit, "diagnosis", path, "err", err)
		}
	}
	if s.Limit <= 0 {
		return 0
	}
	return float64(s.Observed) / float64(s.Limit)
}

// tell logs what has come and what has gone.
func (b *books) tell(found []ledger.Finding) {
	now := map[string]string{}
	for _, f := range found {
		key := f.Code + " " + f.Subject
		now[key] = f.Text
		if b.said[key] == "" {
			b.log.Warn("the ledger does not add up", "code", f.Code, "subject", f.Subject, "text", f.Text)
		}
	}
	for key, text := range b.said {
		if now[key] == "" {
			b.log.Info("the ledger adds up again", "was", text)
		}
	}
	b.said = now // keep alone calls this
}

// sampleAgents looks at each live agent with its keeper.
func (b *books) sampleAgents(ctx context.Context) ([]ledger.AgentSample, error) {
	figure, _ := strconv.Atoi(failpoint.Value("ledger.figure"))
	var trees []ledger.Tree
	for _, a := range b.sessions.LiveAgents(ctx) {
		t := ledger.Tree(a)
		if figure > 0 {
			t.Figure = figure
		}
		trees = append(trees, t)
	}
	return ledger.Trees(time.Now(), trees)
}

// replace ends those over their budget that have nothing to do; the others
// when they have.
func (b *books) replace(ctx context.Context, over []ledger.Finding) {
	for _, f := range over {
		done, err := b.sessions.Replace(ctx, f.Subject, f.Words)
		switch {
		case err != nil && ctx.Err() == nil:
			b.log.Error("replace an agent over its budget", "session", f.Subject, "err", err)
		case done:
			b.log.Warn("an agent over its budget is replaced", "session", f.Subject, "reason", f.Text)
		}
	}
}

// sweep ends what carries this state folder's mark and belongs to nobody, and
// removes files of that kind.
func (b *books) sweep(ctx context.Context) {
	marks, err := ledger.Marks(b.cfg.Home + ":")
	if err == nil {
		err = b.sessions.SweepOrphans(ctx, marks)
	}
	if err != nil && ctx.Err() == nil {
		b.log.Warn("look for processes without a keeper", "err", err)
	}
	if err := b.sessions.SweepFiles(ctx); err != nil && ctx.Err() == nil {
		b.log.Warn("remove files that nothing names", "err", err)
	}
}

// health is what the ledger says of the host.
func (b *books) health() httpapi.Health {
	b.mu.Lock()
	defer b.mu.Unlock()
	h := httpapi.Degraded()
	for _, f := range b.findings {
		h.Tell(f.Words)
	}
	return h
}

// press says what the host cannot take more of.
func (b *books) press() httpapi.Pressure { return *b.pressure.Load() }

// reportFresh is how long a report is good for everybody who asks.
const reportFresh = time.Second

// report is the ledger now: its sample is a fresh one, its findings are those
// of the samples in their order.
func (b *books) report(ctx context.Context) (httpapi.HostLedger, error) {
	b.reportMu.Lock()
	defer b.reportMu.Unlock()
	if time.Since(b.reportAt) >= reportFresh {
		agents, err := b.sampleAgents(ctx)
		if err != nil {
			agents = []ledger.AgentSample{}
		}
		s, g, err := b.sample(proc.Table)
		b.reportAt, b.reported = time.Now(), httpapi.HostLedger{Available: err == nil, Now: s, Gauges: g, Agents: agents}
	}
	r := b.reported
	b.mu.Lock()
	defer b.mu.Unlock()
	r.Findings, r.History = append([]ledger.Finding{}, b.findings...), b.history.Points()
	return r, nil
}
