package ledger

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/holdfast-dev/holdfast/internal/proc"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func holds(expected, bound int) func() (int, int) {
	return func() (int, int) { return expected, bound }
}

// open makes descriptors: n of each target. A % in it becomes the number.
func open(targets map[string]int) []proc.Descriptor {
	var fds []proc.Descriptor
	for target, n := range targets {
		for i := range n {
			fds = append(fds, proc.Descriptor{FD: 10 + len(fds), Target: strings.ReplaceAll(target, "%", fmt.Sprint(i))})
		}
	}
	return fds
}

func owned() []Owner {
	return []Owner{
		{Name: "store", Kind: KindSQLite, Claims: PathPrefix("/home/holdfast.db"), Holds: holds(11, 11)},
		{Name: "listeners", Kind: KindSocket, Holds: holds(2, 4)},
		{Name: "connections", Kind: KindSocket, Holds: holds(5, 100)},
		{Name: "runtime", Kind: KindEvent, Holds: holds(2, 4)},
	}
}

func healthy() map[string]int {
	return map[string]int{"/home/holdfast.db": 5, "/home/holdfast.db-wal": 5, "/home/holdfast.db-shm": 1, "socket:[%]": 7, "anon_inode:[eventpoll]": 1, "anon_inode:[eventfd]": 1}
}

func TestCount(t *testing.T) {
	at := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	fds := healthy()
	fds["/home/state-%.db"] = 12
	fds["socket:[%]"] += 3
	s := Count(at, 256, open(fds), owned())
	if s.Expected != 20 || s.Observed != 35 || s.Unexplained != 15 {
		t.Errorf("expected %d, observed %d, unexplained %d", s.Expected, s.Observed, s.Unexplained)
	}
	want := []Holding{
		{Owner: "store", Kind: KindSQLite, Expected: 11, Bound: 11, Observed: 11},
		{Owner: "listeners", Kind: KindSocket, Expected: 2, Bound: 4, Observed: -1},
		{Owner: "connections", Kind: KindSocket, Expected: 5, Bound: 100, Observed: -1},
		{Owner: "runtime", Kind: KindEvent, Expected: 2, Bound: 4, Observed: -1},
	}
	if diff := cmp.Diff(want, s.Owners); diff != "" {
		t.Error(diff)
	}
	for _, k := range s.Kinds {
		if k.Kind == KindSQLite {
			if diff := cmp.Diff(Group{Kind: KindSQLite, Target: "/home/state-*.db", Count: 12}, k.Top[0]); diff != "" {
				t.Error(diff)
			}
		}
	}
}

// codes runs samples through a watch and tells what was found in each.
func codes(samples []Sample) (found [][]string, shed []bool) {
	var w Watch
	for _, s := range samples {
		f, full := w.Feed(s)
		var list []string
		for _, one := range f {
			list = append(list, one.Code)
		}
		found, shed = append(found, list), append(shed, full)
	}
	return found, shed
}

func TestRules(t *testing.T) {
	with := func(limit int, target string, n int) Sample {
		fds := healthy()
		fds[target] = n
		return Count(time.Time{}, limit, open(fds), owned())
	}
	series := func(target string, ns ...int) (list []Sample) {
		for _, n := range ns {
			list = append(list, with(1000, target, n))
		}
		return list
	}
	const other = "/else/f%"
	for _, c := range []struct {
		name    string
		samples []Sample
		last    []string // found in the last sample
		first   int      // the first sample in which anything is found; -1: none
	}{
		{"well", series(other, 0, 0, 0, 0, 0, 0, 0, 0), nil, -1},
		{"noise", series(other, 0, 5, 1, 9, 0, 7, 2, 8, 1, 12, 0), nil, -1},
		{"a step up and no more", series(other, 0, 5, 10, 10, 10, 10, 10, 10), nil, -1},
		{"grows too little to tell", series(other, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4), nil, -1},
		{"grows over five samples", series(other, 0, 1, 2, 3, 4, 5), []string{"descriptors_leak"}, 5},
		{"has grown, and stays", series(other, 0, 2, 4, 6, 8, 10, 10, 10, 10), []string{"descriptors_leak"}, 5},
		{"has grown, and is given back", series(other, 0, 2, 4, 6, 8, 10, 10, 2), nil, 5},
		{"a peak of one sample", series(other, 0, 0, 60, 0, 0), nil, -1},
		{"twice what is expected", series(other, 0, 30, 30, 30), []string{"descriptors_twice"}, 2},
		{"inside an owner", series("/home/holdfast.db-shm", 1, 2), []string{"owner_leak"}, 1},
		{"near the limit", []Sample{with(100, other, 50), with(30, "x", 1)}, []string{"descriptors_near"}, 0},
	} {
		found, _ := codes(c.samples)
		if diff := cmp.Diff(c.last, found[len(found)-1]); diff != "" {
			t.Errorf("%s: %s (all: %v)", c.name, diff, found)
		}
		first := -1
		for i, f := range found {
			if len(f) > 0 {
				first = i
				break
			}
		}
		if first != c.first {
			t.Errorf("%s: first found in %d, want %d: %v", c.name, first, c.first, found)
		}
	}
}

// A leak that is slower than the noise is seen over longer distances.
func TestSlowLeakUnderNoise(t *testing.T) {
	var w Watch
	for i := range 1200 {
		fds := healthy()
		fds["/leaked/state-%.db"] = i / 40
		fds["/noise/%"] = (i * 7) % 5
		found, _ := w.Feed(Count(time.Time{}, 10000, open(fds), owned()))
		for _, f := range found {
			if f.Code != "descriptors_leak" {
				continue
			}
			if !strings.Contains(f.Text, "sqlite /leaked/state-*.db") {
				t.Fatalf("sample %d: %s", i, f.Text)
			}
			t.Logf("found at sample %d: %s", i, f.Text)
			return
		}
	}
	t.Error("a handle more in every ten minutes was not found in five hours")
}

func TestLimit(t *testing.T) {
	var list []Sample
	for _, n := range []int{10, 69, 70, 89, 90, 85, 80, 79, 90, 60} {
		list = append(list, Sample{Limit: 100, Observed: n, Expected: n})
	}
	_, shed := codes(list)
	if diff := cmp.Diff([]bool{false, false, false, false, true, true, true, false, true, false}, shed); diff != "" {
		t.Error(diff)
	}
}

// What stays under its bounds and only goes up and down is never called a leak,
// in whatever order; what rises by one or more in each of enough samples is.
func TestGrowthAlone(t *testing.T) {
	sample := func(n int) Sample { return Sample{Limit: 1 << 20, Observed: n, Expected: 1 << 19, Unexplained: n} }
	rapid.Check(t, func(t *rapid.T) {
		steps := rapid.SliceOfN(rapid.IntRange(1, 9), 6, 40).Draw(t, "steps")
		var w Watch
		n, found := 0, []Finding(nil)
		for _, step := range steps {
			n += step
			found, _ = w.Feed(sample(n))
		}
		if len(found) != 1 || found[0].Code != "descriptors_leak" {
			t.Fatalf("growth by %v was not found: %v", steps, found)
		}
		found, _ = w.Feed(sample(0))
		if len(found) != 0 {
			t.Fatalf("all was given back: %v", found)
		}
	})
	rapid.Check(t, func(t *rapid.T) {
		// Every fifth sample is as low as any: a load that comes and goes.
		peaks := rapid.SliceOfN(rapid.IntRange(3, 500), 5, 300).Draw(t, "peaks")
		var w Watch
		for i, n := range peaks {
			if i%5 == 0 {
				n = 3
			}
			if found, _ := w.Feed(sample(n)); len(found) != 0 {
				t.Fatalf("sample %d of %v: %v", i, peaks, found)
			}
		}
	})
}

func TestLevels(t *testing.T) {
	well := Gauges{RSS: 50 << 20, RSSBudget: 400 << 20, Goroutines: 40, GoroutinesExpected: 60, WAL: 4 << 20, DiskFree: 100 << 30}
	change := func(f func(*Gauges)) Gauges { g := well; f(&g); return g }
	for _, c := range []struct {
		name     string
		feed     []Gauges
		want     []string
		readOnly bool
	}{
		{"well", []Gauges{well, well, well}, nil, false},
		{"a burst of goroutines", []Gauges{change(func(g *Gauges) { g.Goroutines = 500 }), change(func(g *Gauges) { g.Goroutines = 500 }), well}, nil, false},
		{"goroutines", repeat(change(func(g *Gauges) { g.Goroutines = 500 })), []string{"goroutines"}, false},
		{"memory", repeat(change(func(g *Gauges) { g.RSS = 500 << 20 })), []string{"memory"}, false},
		{"a starved log", repeat(change(func(g *Gauges) { g.WAL = 100 << 20 })), []string{"wal"}, false},
		{"a log that a backup keeps", repeat(change(func(g *Gauges) { g.WAL, g.Copying = 100<<20, true })), nil, false},
		{"little disk", []Gauges{change(func(g *Gauges) { g.DiskFree = 1 << 30 })}, []string{"disk_low"}, false},
		{"nearly no disk", []Gauges{change(func(g *Gauges) { g.DiskFree = 100 << 20 })}, []string{"disk_read_only"}, true},
		{"not enough again", []Gauges{change(func(g *Gauges) { g.DiskFree = 100 << 20 }), change(func(g *Gauges) { g.DiskFree = 210e6 })}, []string{"disk_read_only"}, true},
		{"enough again", []Gauges{change(func(g *Gauges) { g.DiskFree = 100 << 20 }), change(func(g *Gauges) { g.DiskFree = 230e6 })}, []string{"disk_low"}, false},
		{"not known", []Gauges{change(func(g *Gauges) { g.DiskFree = -1 })}, nil, false},
	} {
		var l Levels
		var got []string
		readOnly := false
		for _, g := range c.feed {
			var found []Finding
			found, readOnly = l.Feed(g)
			got = nil
			for _, f := range found {
				got = append(got, f.Code)
			}
		}
		if diff := cmp.Diff(c.want, got); diff != "" || readOnly != c.readOnly {
			t.Errorf("%s: read-only %t; %s", c.name, readOnly, diff)
		}
	}
}

func repeat(g Gauges) []Gauges { return []Gauges{g, g, g} }

func TestJudgeAgents(t *testing.T) {
	agent := func(session string, n int) AgentSample {
		return AgentSample{Session: session, Title: session, Agent: "a", Descriptors: n, Expected: 50, Budget: 200, Top: []Group{{KindDevice, "/dev/null", n}}}
	}
	for _, c := range []struct {
		name           string
		agents         []AgentSample
		found, replace []string
	}{
		{"none", nil, nil, nil},
		{"well", []AgentSample{agent("a", 50), agent("b", 90)}, nil, nil},
		{"one hides in the whole", []AgentSample{agent("a", 20), agent("b", 150)}, nil, nil},
		{"twice", []AgentSample{agent("a", 20), agent("b", 199)}, []string{"b"}, nil},
		{"over its budget", []AgentSample{agent("a", 20), agent("b", 201)}, []string{"b"}, []string{"b"}},
		{"much memory", []AgentSample{{Session: "m", RSS: AgentMemory + 1, Expected: 1, Budget: 1}}, nil, []string{"m"}},
	} {
		found, replace := JudgeAgents(c.agents)
		subjects := func(list []Finding) (out []string) {
			for _, f := range list {
				out = append(out, f.Subject)
			}
			return out
		}
		if diff := cmp.Diff(c.found, subjects(found)); diff != "" {
			t.Errorf("%s: found: %s", c.name, diff)
		}
		if diff := cmp.Diff(c.replace, subjects(replace)); diff != "" {
			t.Errorf("%s: replaced: %s", c.name, diff)
		}
	}
}

func TestHistory(t *testing.T) {
	var h History
	at := time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC)
	for i := range 4 * 60 * 50 { // fifty hours
		p := Point{At: at.Add(time.Duration(i) * 15 * time.Second), Observed: 10}
		if i == 4*60*40 {
			p.Observed = 99 // a peak of one sample
		}
		h.Add(p)
		if n := len(h.points); n > historyPoints {
			t.Fatalf("%d points after %d samples", n, i)
		}
	}
	points := h.Points()
	last, first := points[len(points)-1].At, points[0].At
	if span := last.Sub(first); span < historySpan-20*time.Minute || span > historySpan {
		t.Errorf("the history spans %s", span)
	}
	if len(points) < 200 {
		t.Errorf("only %d points of a day", len(points))
	}
	peak := 0
	for i, p := range points {
		peak = max(peak, p.Observed)
		if i > 0 && !p.At.After(points[i-1].At) {
			t.Fatalf("point %d is not after the one before", i)
		}
	}
	if peak != 99 {
		t.Errorf("the peak is lost: %d", peak)
	}
}

func TestKindOf(t *testing.T) {
	for target, want := range map[string]string{
		"socket:[1]": KindSocket, "pipe:[2]": KindPipe, "anon_inode:[eventpoll]": KindEvent, "/dev/pts/3": KindPTY, "/dev/null": KindDevice,
		"/h/state.db": KindSQLite, "/h/state.db-wal": KindSQLite, "/h/x.sqlite3 (deleted)": KindSQLite, "/h/log.txt": KindFile, "": KindFile,
	} {
		if got := KindOf(proc.Descriptor{Target: target}); got != want {
			t.Errorf("%q is %s, want %s", target, got, want)
		}
	}
}

// Trees looks at real processes: this one stands for a keeper.
func TestTrees(t *testing.T) {
	self, err := proc.Self()
	if err != nil {
		t.Skipf("NOT TESTED: %v", err)
	}
	f, err := os.Open("ledger.go")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	list, err := Trees(time.Now(), []Tree{{Session: "s", Agent: "a", Keeper: self}})
	if err != nil {
		t.Fatal(err)
	}
	a := list[0]
	if a.Descriptors < 4 || a.RSS == 0 || a.AgeS <= 0 || a.Kinds[KindFile] == 0 || a.Budget <= a.Expected {
		t.Errorf("this process: %+v", a)
	}
	gone, err := Trees(time.Now(), []Tree{{Session: "s", Keeper: proc.ID{PID: self.PID, Start: self.Start + 1}}})
	if err != nil || gone[0].Descriptors != 0 {
		t.Errorf("a keeper that is gone: %+v, %v", gone, err)
	}
}

func BenchmarkSample(b *testing.B) {
	for range 100 {
		f, err := os.Open(os.DevNull)
		if err != nil {
			b.Fatal(err)
		}
		defer f.Close()
	}
	var w Watch
	for b.Loop() {
		fds, err := proc.Descriptors(os.Getpid())
		if err != nil {
			b.Fatal(err)
		}
		w.Feed(Count(time.Now(), 256, fds, owned()))
	}
}
