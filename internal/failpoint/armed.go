//go:build failpoints

package failpoint

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Enabled tells whether this binary was built with the tag "failpoints".
const Enabled = true

// EnvVar names the variable that holds comma-separated entries:
//
//	place=kill@N       SIGKILL to this process at the Nth Hit of place
//	place=panic@N      panic at the Nth Hit
//	place=panics@N     panic at each Hit from the Nth on
//	place=sleepMS@N    block for MS milliseconds at the Nth Hit
//	place=slowMS@N     block for MS milliseconds at each Hit from the Nth on
//	place=lockMS@N     hold for MS milliseconds, from the Nth Hit, a lock that each Hit takes
//	place=leak@N       open a file and forget it at each Hit from the Nth on
//	name:=value        Value(name) returns value
//
// The linker may name another, so that of two binaries with one environment
// only one has the entries.
var EnvVar = "HOLDFAST_FAILPOINT"

type point struct {
	action string
	at     int
	hits   int
	lock   sync.Mutex // of the place, apart from the table's
}

var armed = sync.OnceValue(func() *table { return parse(os.Getenv(EnvVar)) })

type table struct {
	mu     sync.Mutex
	points map[string]*point
	values map[string]string
	leaked []*os.File // kept, so that no finalizer closes them
}

func parse(text string) *table {
	t := &table{points: map[string]*point{}, values: map[string]string{}}
	for entry := range strings.SplitSeq(text, ",") {
		if name, value, ok := strings.Cut(entry, ":="); ok {
			t.values[name] = value
			continue
		}
		name, rest, ok := strings.Cut(entry, "=")
		if !ok {
			continue
		}
		action, count, _ := strings.Cut(rest, "@")
		n, err := strconv.Atoi(count)
		if err != nil {
			n = 1
		}
		t.points[name] = &point{action: action, at: n}
	}
	return t
}

// Hit counts a pass through the place and acts when its turn has come.
func Hit(place string) {
	t := armed()
	t.mu.Lock()
	p := t.points[place]
	act := ""
	if p != nil {
		p.hits++
		if p.hits == p.at || p.hits > p.at && (p.action == "panics" || p.action == "leak" || strings.HasPrefix(p.action, "slow")) || strings.HasPrefix(p.action, "lock") {
			act = p.action
		}
		if p.hits != p.at && strings.HasPrefix(p.action, "lock") {
			act = "lock0"
		}
	}
	t.mu.Unlock()
	switch {
	case act == "":
	case act == "kill":
		fmt.Fprintf(os.Stderr, "failpoint %s: kill\n", place)
		self, err := os.FindProcess(os.Getpid())
		if err == nil {
			_ = self.Kill()
		}
		select {}
	case act == "panic", act == "panics":
		panic("failpoint " + place)
	case act == "leak":
		if f, err := os.Open(os.DevNull); err == nil {
			t.mu.Lock()
			t.leaked = append(t.leaked, f)
			t.mu.Unlock()
		}
	case strings.HasPrefix(act, "lock"):
		p.lock.Lock()
		defer p.lock.Unlock()
		pause(act, "lock")
	case strings.HasPrefix(act, "slow"):
		pause(act, "slow")
	case strings.HasPrefix(act, "sleep"):
		pause(act, "sleep")
	}
}

func pause(action, kind string) {
	ms, _ := strconv.Atoi(strings.TrimPrefix(action, kind))
	time.Sleep(time.Duration(ms) * time.Millisecond)
}

// Millis returns what the environment sets for name, in milliseconds, or
// otherwise.
func Millis(name string, otherwise time.Duration) time.Duration {
	if ms, err := strconv.Atoi(Value(name)); err == nil {
		return time.Duration(ms) * time.Millisecond
	}
	return otherwise
}

// Value returns what the environment sets for name, or "".
func Value(name string) string { return armed().values[name] }
