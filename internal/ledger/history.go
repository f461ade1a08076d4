package ledger

import "time"

// Point is a moment of the history: of the samples that it stands for, the
// most.
type Point struct {
	At         time.Time `json:"at"`
	Expected   int       `json:"expected"`
	Observed   int       `json:"observed"`
	RSS        int64     `json:"rss"`
	Goroutines int       `json:"goroutines"`
	WAL        int64     `json:"wal"`
	Agents     int       `json:"agents"`
	AgentFDs   int       `json:"agent_descriptors"`
	AgentRSS   int64     `json:"agent_rss"`
	Streams    int       `json:"streams"`
	ProbeMS    float64   `json:"probe_ms,omitempty" doc:"How long the host's last look at itself took; absent where it has not looked"`
}

func (p Point) with(o Point) Point {
	return Point{
		At: p.At, Expected: max(p.Expected, o.Expected), Observed: max(p.Observed, o.Observed), RSS: max(p.RSS, o.RSS),
		Goroutines: max(p.Goroutines, o.Goroutines), WAL: max(p.WAL, o.WAL), Agents: max(p.Agents, o.Agents),
		AgentFDs: max(p.AgentFDs, o.AgentFDs), AgentRSS: max(p.AgentRSS, o.AgentRSS), Streams: max(p.Streams, o.Streams), ProbeMS: max(p.ProbeMS, o.ProbeMS),
	}
}

const (
	historyPoints = 500
	historySpan   = 24 * time.Hour
)

// History keeps the last 24 hours in at most 500 points: the fewer the younger
// the host is, the finer. The zero History is ready.
type History struct {
	step   time.Duration // a point stands for
	points []Point
}

// Add takes a point that is younger than all before.
func (h *History) Add(p Point) {
	if n := len(h.points); n > 0 && p.At.Sub(h.points[n-1].At) < h.step {
		h.points[n-1] = h.points[n-1].with(p)
	} else {
		h.points = append(h.points, p)
	}
	for len(h.points) > 0 && p.At.Sub(h.points[0].At) > historySpan {
		h.points = h.points[1:]
	}
	if len(h.points) > historyPoints {
		span := p.At.Sub(h.points[0].At)
		h.step = max(2*h.step, 2*span/historyPoints)
		kept := h.points[:0:0]
		for i := 0; i+1 < len(h.points); i += 2 {
			kept = append(kept, h.points[i].with(h.points[i+1]))
		}
		if len(h.points)%2 == 1 {
			kept = append(kept, h.points[len(h.points)-1])
		}
		h.points = kept
	}
}

// Points lists them, oldest first.
func (h *History) Points() []Point { return append([]Point{}, h.points...) }
