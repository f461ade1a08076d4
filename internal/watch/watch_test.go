package watch

import (
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/holdfast-dev/holdfast/internal/proc"
	"github.com/holdfast-dev/holdfast/internal/supervise"
)

func TestTally(t *testing.T) {
	fds := []proc.Descriptor{
		{FD: 1, Kind: proc.KindSQLite, Name: "/state.db"},
		{FD: 2, Kind: proc.KindSQLite, Name: "/state.db"},
		{FD: 3, Kind: proc.KindSQLite, Name: "/other.db"},
		{FD: 4, Kind: proc.KindFile, Name: "/gone", Deleted: true},
		{FD: 5, Kind: proc.KindPipe, Name: "pipe"},
		{FD: 6, Kind: proc.KindPipe, Name: "pipe"},
	}
	before := tally(fds)
	want := &Sample{
		Count: 6,
		Kinds: []Tally{{Kind: "sqlite", Count: 3}, {Kind: "pipe", Count: 2}, {Kind: "file", Count: 1, Deleted: 1}},
		Names: []Tally{
			{Kind: "pipe", Name: "pipe", Count: 2},
			{Kind: "sqlite", Name: "/state.db", Count: 2},
			{Kind: "file", Name: "/gone", Count: 1, Deleted: 1},
			{Kind: "sqlite", Name: "/other.db", Count: 1},
		},
	}
	if diff := cmp.Diff(want, before); diff != "" {
		t.Error(diff)
	}
	// One pipe is closed, two databases are opened, a file is closed and
	// another one opened.
	now := tally(append(fds[:5:5],
		proc.Descriptor{Kind: proc.KindSQLite, Name: "/state.db"},
		proc.Descriptor{Kind: proc.KindSQLite, Name: "/state.db"},
	))
	now.Names = now.Names[:len(now.Names)-1] // /other.db is closed
	got := Since(before, now)
	wantDelta := Delta{
		Count: 1,
		Kinds: []Tally{{Kind: "sqlite", Count: 2}, {Kind: "pipe", Count: -1}},
		Names: []Tally{
			{Kind: "sqlite", Name: "/state.db", Count: 2},
			{Kind: "pipe", Name: "pipe", Count: -1},
			{Kind: "sqlite", Name: "/other.db", Count: -1},
		},
	}
	if diff := cmp.Diff(wantDelta, got); diff != "" {
		t.Error(diff)
	}
	if d := Since(now, now); d.Count != 0 || len(d.Kinds)+len(d.Names) > 0 {
		t.Errorf("of nothing: %+v", d)
	}
}

func TestThreshold(t *testing.T) {
	for text, want := range map[string]Threshold{
		"200": {Count: 200}, "1": {Count: 1}, "80%": {Share: 0.8}, "100%": {Share: 1}, "12.5%": {Share: 0.125},
	} {
		if got, err := ParseThreshold(text); err != nil || got != want {
			t.Errorf("%s: %+v %v", text, got, err)
		}
	}
	for _, bad := range []string{"", "%", "0", "-1", "0%", "101%", "NaN%", "many", "80 %", "1e3"} {
		if got, err := ParseThreshold(bad); err == nil {
			t.Errorf("%q: %+v", bad, got)
		}
	}
	for _, c := range []struct {
		t     Threshold
		s     Sample
		over  bool
		fails error
	}{
		{Threshold{Count: 200}, Sample{Count: 199}, false, nil},
		{Threshold{Count: 200}, Sample{Count: 200}, true, nil},
		{Threshold{Share: 0.8}, Sample{Count: 204, Soft: 256}, false, nil},
		{Threshold{Share: 0.8}, Sample{Count: 205, Soft: 256}, true, nil},
		{Threshold{Share: 0.8}, Sample{Count: 205}, false, ErrNoLimit},
		{Threshold{Share: 0.8}, Sample{Count: 205, Hard: 512}, false, nil}, // no soft limit
		{Threshold{}, Sample{Count: 9999, Soft: 256}, false, nil},
	} {
		if over, err := c.t.Over(&c.s); over != c.over || !errors.Is(err, c.fails) {
			t.Errorf("%s of %+v: %v %v", c.t, c.s, over, err)
		}
	}
}

func TestParseSignal(t *testing.T) {
	for _, text := range []string{"TERM", "SIGTERM", "term", "15"} {
		if s, err := ParseSignal(text); err != nil || s != 15 {
			t.Errorf("%s: %v %v", text, s, err)
		}
	}
	for _, bad := range []string{"", "0", "-9", "NOPE", "65"} {
		if s, err := ParseSignal(bad); err == nil {
			t.Errorf("%q: %v", bad, s)
		}
	}
}

// TestCooldown acts once in ten minutes, whoever looks.
func TestCooldown(t *testing.T) {
	path := filepath.Join(t.TempDir(), "deep", "state.json")
	marks := filepath.Join(t.TempDir(), "marks")
	o := Options{Cooldown: 10 * time.Minute, Action: Action{Exec: "echo x >>" + marks}, Save: func(m Memory) error { return m.Save(path) }}
	begin := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, c := range []struct {
		after time.Duration
		acts  bool
	}{
		{0, true},
		{time.Second, false},
		{10*time.Minute - time.Second, false},
		{10 * time.Minute, true},
		{11 * time.Minute, false},
		{0, true}, // the clock was set back: what was noted says nothing
	} {
		m, err := Load(path) // as another process would
		if err != nil {
			t.Fatal(err)
		}
		f := &Finding{Time: begin.Add(c.after), State: Trouble}
		o.act(t.Context(), f, &m, nil)
		if f.Acted != c.acts || (f.Failed == "") != c.acts {
			t.Errorf("after %s: %+v", c.after, f)
		}
	}
	// Where nothing can be kept nothing is done: the next run would do it again.
	o.Save = func(Memory) error { return errors.New("disk full") }
	f, m := &Finding{Time: begin.Add(time.Hour), State: Trouble}, Memory{}
	if o.act(t.Context(), f, &m, nil); f.Acted || f.Failed != "disk full" || !m.Acted.IsZero() {
		t.Errorf("%+v %+v", f, m)
	}
}

func TestAction(t *testing.T) {
	u, err := supervise.ParseUnit("runit:/etc/service/x")
	if err != nil {
		t.Fatal(err)
	}
	for want, a := range map[string]Action{"": {}, "exec true": {Exec: "true"}, "signal TERM": {Signal: 15}, "restart runit:/etc/service/x": {Restart: u}} {
		if a.String() != want || a.None() != (want == "") {
			t.Errorf("%+v: %s", a, a)
		}
	}
	f := &Finding{}
	if err := (Action{Exec: "exit 4"}).do(t.Context(), f, nil); err == nil {
		t.Error("a command that fails is no failure")
	}
	if err := (Action{Signal: 15}).do(t.Context(), f, nil); err == nil {
		t.Error("a signal to nobody is no failure")
	}
}
