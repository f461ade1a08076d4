package doctor

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast/internal/store"
)

// one finds the check of that name.
func one(t *testing.T, checks []Check, name string) Check {
	t.Helper()
	for _, c := range checks {
		if c.Name == name {
			return c
		}
	}
	t.Fatalf("no check %q in %+v", name, checks)
	return Check{}
}

func TestMachineChecks(t *testing.T) {
	now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	well := machine{system: "Linux", memory: 8 << 30, available: 4 << 30, booted: now.Add(-72 * time.Hour)}
	for name, c := range map[string]struct {
		change func(*machine)
		now    time.Time
		check  string
		state  State
		seen   string
	}{
		"well":          {func(*machine) {}, now, "clock", OK, "booted 3 days ago"},
		"little memory": {func(m *machine) { m.available = 100 << 20 }, now, "memory", Warning, "100 MB are free"},
		"free unknown":  {func(m *machine) { m.available = 0 }, now, "memory", OK, "8192 MB"},
		"no clock":      {func(*machine) {}, time.Unix(5, 0), "clock", Failed, "never set"},
		"asleep":        {func(m *machine) { m.asleep, m.sleeps = true, "it sleeps" }, now, "sleep", Warning, "it sleeps"},
	} {
		m := well
		c.change(&m)
		if got := one(t, m.checks(c.now), c.check); got.State != c.state || !strings.Contains(got.Seen, c.seen) || (got.Remedy == "") != (got.State == OK) {
			t.Errorf("%s: %+v", name, got)
		}
	}
	// This machine has something to say of itself.
	if got := Machine(t.Context()); len(got) < 3 {
		t.Errorf("%+v", got)
	}
}

func TestLimitChecks(t *testing.T) {
	for name, c := range map[string]struct {
		l     limits
		check string
		state State
	}{
		"enough":           {limits{soft: 16384, hard: math.MaxUint64, open: 30, processes: 4096}, "descriptors", OK},
		"none":             {limits{soft: math.MaxUint64, hard: math.MaxUint64, open: 30}, "descriptors", OK},
		"launchd's own":    {limits{soft: 256, hard: 256, open: 30}, "descriptors", Warning},
		"next to nothing":  {limits{soft: 32, hard: 32, open: 8}, "descriptors", Failed},
		"nearly all taken": {limits{soft: 4096, hard: 4096, open: 4000}, "descriptors", Failed},
		"few processes":    {limits{soft: 4096, processes: 100}, "processes", Warning},
		"few, for root":    {limits{soft: 4096, processes: 100, root: true}, "processes", OK},
		"no more tasks":    {limits{soft: 4096, tasks: 100, tasksNow: 90}, "tasks", Warning},
		"tasks":            {limits{soft: 4096, tasks: 100, tasksNow: 20}, "tasks", OK},
	} {
		if got := one(t, c.l.checks("the host"), c.check); got.State != c.state || (got.Remedy == "") != (got.State == OK) {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestDatabaseChecks(t *testing.T) {
	whole := store.Condition{Bytes: 1 << 20, SQLite: "3.54.1", Schema: 3, Known: 3, Generation: "abc"}
	for name, c := range map[string]struct {
		change func(*store.Condition)
		err    error
		state  State
		seen   string
	}{
		"whole":      {func(*store.Condition) {}, nil, OK, "generation abc"},
		"damaged":    {func(c *store.Condition) { c.Damage = []string{"row 3 missing from index"} }, nil, Failed, "row 3 missing"},
		"newer":      {func(c *store.Condition) { c.Schema = 4 }, nil, Warning, "newer Holdfast"},
		"another's":  {func(c *store.Condition) { c.Foreign = true }, nil, Failed, "another program"},
		"broken off": {func(c *store.Condition) { c.Unchecked = errors.New("no time") }, nil, Warning, "no time"},
		"unreadable": {func(*store.Condition) {}, errors.New("disk I/O error"), Failed, "disk I/O error"},
	} {
		cond := whole
		c.change(&cond)
		if got := Database(cond, c.err); got.State != c.state || !strings.Contains(got.Seen, c.seen) || (got.Remedy == "") != (got.State == OK) {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestFolderChecks(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no modes on Windows")
	}
	home := t.TempDir()
	for mode, want := range map[os.FileMode]State{0o700: OK, 0o755: Warning, 0o500: Failed} {
		if err := os.Chmod(home, mode); err != nil {
			t.Fatal(err)
		}
		if got := one(t, Folder(home), "folder"); got.State != want {
			t.Errorf("mode %o: %+v", mode, got)
		}
	}
	if err := os.Chmod(home, 0o700); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 {
		if err := os.Chown(home, 12345, -1); err != nil {
			t.Fatal(err)
		}
		if got := one(t, Folder(home), "folder"); got.State != Failed || !strings.Contains(got.Seen, "12345") {
			t.Errorf("another user's: %+v", got)
		}
	}
	if got := Folder(filepath.Join(home, "none")); len(got) != 1 || got[0].State != OK {
		t.Errorf("none yet: %+v", got)
	}
	for free, want := range map[uint64]State{100 << 20: Failed, 1 << 30: Warning, 9 << 30: OK} {
		if got := diskCheck(free); got.State != want {
			t.Errorf("%d free: %+v", free, got)
		}
	}
	for bytes, want := range map[int64]State{1 << 20: OK, 100 << 20: Warning} {
		if got := walCheck(bytes); got.State != want {
			t.Errorf("a log of %d: %+v", bytes, got)
		}
	}
}

func TestHealthAnswers(t *testing.T) {
	for body, want := range map[string]State{
		`{"status":"ok"}`: OK,
		`{"status":"degraded","problems":["the disk is nearly full"]}`: Warning,
		`hello`: OK,
	} {
		got := answer{code: 200, status: "200 OK", body: body}.check("http://h/health?deep=1")
		if got.State != want || strings.Contains(body, "disk") != strings.Contains(got.Seen, "the disk is nearly full") {
			t.Errorf("%s: %+v", body, got)
		}
	}
	if got := (answer{code: 503, status: "503", body: `{"status":"failing","problems":["no reads"]}`}).check("http://h"); got.State != Failed || !strings.Contains(got.Seen, "no reads") {
		t.Errorf("%+v", got)
	}
}
