package awake

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// machine is a machine whose sleep and clock the test rules. It is awake as
// long as the test's own time goes on.
type machine struct {
	begun time.Time

	mu         sync.Mutex
	slept, set time.Duration
	err        error
}

func (m *machine) sleep(d time.Duration) { m.mu.Lock(); m.slept += d; m.mu.Unlock() }
func (m *machine) setBy(d time.Duration) { m.mu.Lock(); m.set += d; m.mu.Unlock() }
func (m *machine) fail(err error)        { m.mu.Lock(); m.err = err; m.mu.Unlock() }

func (m *machine) clocks() (Reading, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	awake := time.Since(m.begun)
	return Reading{
		Wall: m.begun.Add(awake + m.slept + m.set), Boot: time.Hour + awake + m.slept, Awake: time.Hour/2 + awake,
	}, m.err
}

func TestWatchClock(t *testing.T) {
	const every = 5 * time.Second
	tests := []struct {
		name string
		do   func(*machine)
		want []Jump
	}{
		{"nothing happens", func(*machine) { time.Sleep(time.Hour) }, nil},
		{"it slept", func(m *machine) { time.Sleep(time.Minute); m.sleep(8 * time.Hour) }, []Jump{{Slept: 8 * time.Hour}}},
		{"it slept twice", func(m *machine) {
			m.sleep(time.Minute)
			time.Sleep(time.Minute)
			m.sleep(time.Hour)
		}, []Jump{{Slept: time.Minute}, {Slept: time.Hour}}},
		{"the clock was set forward", func(m *machine) { m.setBy(90 * time.Minute) }, []Jump{{Set: 90 * time.Minute}}},
		{"the clock was set back", func(m *machine) { m.setBy(-3 * time.Second) }, []Jump{{Set: -3 * time.Second}}},
		{"it slept, and its clock was wrong after", func(m *machine) { m.sleep(time.Hour); m.setBy(-time.Minute) }, []Jump{{Slept: time.Hour, Set: -time.Minute}}},
		{"exactly the threshold", func(m *machine) { m.sleep(threshold) }, []Jump{{Slept: threshold}}},
		{"a clock that is slewed", func(m *machine) {
			for range 1000 { // five times as fast as adjtimex slews
				time.Sleep(every)
				m.setBy(12 * time.Millisecond)
			}
		}, nil},
		{"a nap below the threshold", func(m *machine) { m.sleep(threshold - 1) }, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := &machine{begun: time.Now()}
				ctx, cancel := context.WithCancel(t.Context())
				var got []Jump
				done := make(chan error)
				go func() {
					done <- WatchClock(ctx, every, m.clocks, func(j Jump) {
						if now, _ := m.clocks(); !j.At.Equal(now.Wall) {
							t.Errorf("noticed at %v, it is %v", j.At, now.Wall)
						}
						j.At = time.Time{}
						got = append(got, j)
					})
				}()
				time.Sleep(every / 2)
				tt.do(m)
				time.Sleep(every) // one look is enough
				cancel()
				if err := <-done; err != nil {
					t.Error(err)
				}
				if diff := cmp.Diff(tt.want, got); diff != "" {
					t.Errorf("jumps (-want +got):\n%s", diff)
				}
			})
		})
	}
}

func TestWatchClockWithoutClocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := errors.New("no clock")
		m := &machine{begun: time.Now(), err: broken}
		if err := WatchClock(t.Context(), time.Second, m.clocks, nil); !errors.Is(err, broken) {
			t.Errorf("at the start: %v", err)
		}
		m.fail(nil)
		time.AfterFunc(1500*time.Millisecond, func() { m.fail(broken) })
		if err := WatchClock(t.Context(), time.Second, m.clocks, nil); !errors.Is(err, broken) {
			t.Errorf("later: %v", err)
		}
	})
}

func TestThisMachinesClocks(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	looks := 0
	clocks := func() (Reading, error) {
		looks++
		return SystemClocks()
	}
	err := WatchClock(ctx, 50*time.Millisecond, clocks, func(j Jump) { t.Errorf("a jump without a cause: %+v", j) })
	if err != nil || looks < 5 {
		t.Errorf("%d looks, %v", looks, err)
	}
	r, err := SystemClocks()
	if err != nil || r.Awake <= 0 || r.Wall != r.Wall.Round(0) || r.Boot < r.Awake-time.Second || time.Since(r.Wall).Abs() > time.Minute {
		t.Errorf("clocks %+v, %v", r, err)
	}
}
