package ledger

import "github.com/holdfast-dev/holdfast/internal/said"

// Gauges are what a host uses beside descriptors.
type Gauges struct {
	RSS                int64 `json:"rss" doc:"Bytes of memory; 0 where unknown"`
	RSSBudget          int64 `json:"rss_budget"`
	Goroutines         int   `json:"goroutines"`
	GoroutinesExpected int   `json:"goroutines_expected"`
	WAL                int64 `json:"wal" doc:"Bytes of the database's log that is not taken in yet"`
	Copying            bool  `json:"copying,omitempty" doc:"A backup copies the database, for no longer than one takes: meanwhile the log grows by what is written"`
	DiskFree           int64 `json:"disk_free" doc:"Bytes that may still be written beside the state folder; -1 where unknown"`

	ProbeMS float64 `json:"probe_ms,omitempty" doc:"How long the host's last look at itself took; absent where it has not looked"`
}

const (
	// WALLimit is a size that the database's log does not reach unless a reader
	// keeps it from being taken in: it is at 4 MB that SQLite tries.
	WALLimit = 64e6

	// DiskWarn is what should be free beside the state folder.
	DiskWarn = 2e9
	// DiskReadOnly is what must be: what lies below is for what agents at work
	// still say.
	DiskReadOnly = 200e6
	// diskBack is how much must be free until new things are taken again, so
	// that the host does not change its mind with each message.
	diskBack = 220e6
)

// Levels judges gauges. The zero Levels is ready.
type Levels struct {
	goroutines, memory, wal int
	readOnly                bool
}

// sustained is how many samples in a row a gauge must be over: a burst of work
// is no fault.
const sustained = 3

// Feed judges the gauges of one sample more. readOnly says that the disk is
// kept for what was begun.
func (l *Levels) Feed(g Gauges) (found []Finding, readOnly bool) {
	over := func(n *int, is bool) bool {
		if !is {
			*n = 0
			return false
		}
		*n++
		return *n >= sustained
	}
	if over(&l.memory, g.RSSBudget > 0 && g.RSS > g.RSSBudget) {
		found = append(found, Finding{Words: said.Memory(g.RSS, g.RSSBudget)})
	}
	if over(&l.goroutines, g.Goroutines > 2*g.GoroutinesExpected) {
		found = append(found, Finding{Words: said.Goroutines(g.Goroutines, g.GoroutinesExpected)})
	}
	if over(&l.wal, g.WAL > WALLimit && !g.Copying) {
		found = append(found, Finding{Words: said.WAL(g.WAL)})
	}
	if g.DiskFree < 0 {
		l.readOnly = false
		return found, false
	}
	switch {
	case g.DiskFree < DiskReadOnly:
		l.readOnly = true
	case g.DiskFree >= diskBack:
		l.readOnly = false
	}
	switch {
	case l.readOnly:
		found = append(found, Finding{Words: said.DiskReadOnly(g.DiskFree, diskBack)})
	case g.DiskFree < DiskWarn:
		found = append(found, Finding{Words: said.DiskLow(g.DiskFree, DiskReadOnly)})
	}
	return found, l.readOnly
}

// ReadOnlyText says why nothing new is taken.
func ReadOnlyText(free int64) string { return said.DiskReadOnly(free, diskBack).Text }
