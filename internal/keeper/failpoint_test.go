//go:build failpoints && unix

package keeper

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/holdfast-dev/holdfast/internal/failpoint"
	"github.com/holdfast-dev/holdfast/internal/proc"
)

func TestKeeperDiesAt(t *testing.T) {
	tests := []struct {
		place           string
		intent, written uint64
		records         int // at least, whole
		torn            bool
	}{
		{place: "keeper.intent=kill@2", intent: 2, written: 1, records: 1},
		{place: "keeper.write=kill@2", intent: 2, written: 1, records: 1},
		{place: "keeper.mid_record=kill@2", intent: 2, written: 2, records: 1, torn: true},
	}
	for _, tt := range tests {
		t.Run(tt.place, func(t *testing.T) {
			t.Setenv(failpoint.EnvVar, tt.place)
			l := begin(t, nil)
			h := l.attach(1)
			h.send(1, "say one")
			h.want(1, "one")
			wait(t, h.written, "written")
			h.send(2, "say two")
			l.waitGone()
			n, err := ReadNotes(l.dir)
			if err != nil || n.Intent != tt.intent || n.Written < tt.written-1 || n.Written > tt.written {
				t.Errorf("notes %+v, %v", n, err)
			}
			recs, torn := l.disk(1)
			if len(recs) < tt.records || string(recs[0].Data) != "one" || torn != tt.torn {
				t.Errorf("%d records, torn %v", len(recs), torn)
			}
			until(t, "the agent's end", func() bool { return !proc.Alive(h.Hello.Agent) })
		})
	}
}

func TestKeeperDiesAtBirth(t *testing.T) {
	t.Setenv(failpoint.EnvVar, "keeper.born=kill")
	l := begin(t, nil)
	if _, err := Dial(context.Background(), l.dir, Events{}); !errors.Is(err, ErrNoKeeper) {
		t.Errorf("dial: %v", err)
	}
	if recs, torn := l.disk(1); len(recs) > 0 || torn {
		t.Errorf("%d records, torn %v", len(recs), torn)
	}
}

func TestKeeperHangsAtBirth(t *testing.T) {
	t.Setenv(failpoint.EnvVar, "keeper.born=sleep60000")
	l := begin(t, nil)
	if held, err := Held(l.dir); err != nil || !held {
		t.Errorf("held %v, %v", held, err)
	}
	if err := Kill(l.dir); err != nil {
		t.Error(err)
	}
	if held, err := Held(l.dir); err != nil || held {
		t.Errorf("held %v, %v", held, err)
	}
}

// The host dies between the fork and everything else: the keeper is there, and
// is found by the next host.
func TestHostDiesAfterTheFork(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "e")
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	host := exec.Command(exe, "start", dir)
	host.Env = append(os.Environ(), failpoint.EnvVar+"=host.fork=kill")
	if out, err := host.CombinedOutput(); err == nil {
		t.Fatalf("the host lives on: %s", out)
	}
	if _, err := os.Stat(filepath.Join(dir, fileBorn)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("noted by the host: %v", err)
	}
	l := &life1{t: t, dir: dir, spec: testSpec(exe, dir)}
	t.Cleanup(l.remove)
	h := l.attach(1)
	h.send(1, "say hello")
	h.want(1, "hello")
}
