package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// figure is one line of the table.
type figure struct {
	Part string `json:"part"`
	Name string `json:"name"`
	Unit string `json:"unit"` // ms, MB, B, x

	// Target is what Value is held against; 0 where the figure has none. Both
	// are in Unit.
	Target float64 `json:"target,omitempty"`
	Value  float64 `json:"value"`
	// How says what Value and Target are of: p50, p99, median, once.
	How string `json:"how"`

	Spread *spread `json:"spread,omitempty"` // of repeated measurements
	// Beside is the yardstick, in Unit, measured in the same window.
	Beside     *spread `json:"beside,omitempty"`
	BesideName string  `json:"beside_name,omitempty"`
	Note       string  `json:"note,omitempty"`
}

// spread is what many measurements came to.
type spread struct {
	N   int     `json:"n"`
	Min float64 `json:"min"`
	P50 float64 `json:"p50"`
	P99 float64 `json:"p99"`
	Max float64 `json:"max"`
}

// spreadOf sorts took and returns its spread in milliseconds.
func spreadOf(took []time.Duration) spread {
	if len(took) == 0 {
		return spread{}
	}
	slices.Sort(took)
	at := func(i int) float64 { return float64(took[i].Nanoseconds()) / 1e6 }
	n := len(took)
	return spread{N: n, Min: at(0), P50: at(n / 2), P99: at(min(n-1, n*99/100)), Max: at(n - 1)}
}

func (b *bench) add(f figure) {
	f.Part = b.part
	b.figures = append(b.figures, f)
}

// p99 adds a figure whose 99th percentile has the target.
func (b *bench) p99(name string, target float64, s spread, note string) {
	b.add(figure{Name: name, Unit: "ms", Target: target, Value: s.P99, How: "p99", Spread: &s, Note: note})
}

// median adds a figure whose median has the target.
func (b *bench) median(name string, target float64, s spread, note string) {
	b.add(figure{Name: name, Unit: "ms", Target: target, Value: s.P50, How: "median", Spread: &s, Note: note})
}

// single adds a figure that is measured once.
func (b *bench) single(name, unit string, target, value float64, note string) {
	b.add(figure{Name: name, Unit: unit, Target: target, Value: value, How: "once", Note: note})
}

// beside gives the last figure its yardstick.
func (b *bench) beside(name string, s spread) {
	f := &b.figures[len(b.figures)-1]
	f.Beside, f.BesideName = &s, name
}

// noise is how long a fixed loop took before and after a part, in
// milliseconds: where they differ, from each other or from other parts, the
// machine had other work.
type noise struct {
	Part   string  `json:"part"`
	Before float64 `json:"before_ms"`
	After  float64 `json:"after_ms"`
}

// spin returns the median time of a fixed loop, in milliseconds.
func spin() float64 {
	took := make([]time.Duration, 15)
	x := uint64(1)
	for i := range took {
		start := time.Now()
		for range 4_000_000 {
			x = x*6364136223846793005 + 1442695040888963407
		}
		took[i] = time.Since(start)
	}
	if x == 0 {
		return 0 // never; the loop must not be optimised away
	}
	return spreadOf(took).P50
}

type report struct {
	At      time.Time `json:"at"`
	Took    string    `json:"took"`
	Quick   bool      `json:"quick"`
	Machine string    `json:"machine"`
	Figures []figure  `json:"figures"`
	Noise   []noise   `json:"noise"`
}

// print writes the table as Markdown that reads well in a terminal, too.
func (r report) print(w io.Writer) {
	fmt.Fprintf(w, "\n%s; %s; took %s", r.At.Format("2006-01-02 15:04 UTC"), r.Machine, r.Took)
	if r.Quick {
		fmt.Fprint(w, "; -quick, not to be quoted")
	}
	fmt.Fprint(w, "\n\n")
	rows := [][]string{{"Figure", "Target", "Measured", "p50 / p99 (min–max, n)", "Beside it, p50 / p99", "Note"}}
	for _, f := range r.Figures {
		rows = append(rows, f.row())
	}
	table(w, rows)
	fmt.Fprint(w, "\nHow busy the machine was: a fixed loop, median ms, before and after each part. Quiet is the same all through.\n\n")
	rows = [][]string{{"Part", "Before", "After"}}
	for _, n := range r.Noise {
		rows = append(rows, []string{n.Part, fmt.Sprintf("%.1f", n.Before), fmt.Sprintf("%.1f", n.After)})
	}
	table(w, rows)
}

func (f figure) row() []string {
	target, verdict := "–", ""
	if f.Target > 0 {
		target, verdict = number(f.Target)+" "+f.Unit, " ✓"
		if f.Value > f.Target {
			verdict = " **over**"
		}
		if f.How != "once" {
			target = f.How + " " + target
		}
	}
	detail, beside := "", ""
	if s := f.Spread; s != nil {
		detail = fmt.Sprintf("%s / %s (%s–%s, %d)", number(s.P50), number(s.P99), number(s.Min), number(s.Max), s.N)
	}
	if s := f.Beside; s != nil {
		beside = fmt.Sprintf("%s %s / %s", f.BesideName, number(s.P50), number(s.P99))
	}
	return []string{f.Part + ": " + f.Name, target, number(f.Value) + " " + f.Unit + verdict, detail, beside, f.Note}
}

func number(v float64) string {
	switch {
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	default:
		return fmt.Sprintf("%.2f", v)
	}
}

// table writes rows as a Markdown table with even columns.
func table(w io.Writer, rows [][]string) {
	t := tabwriter.NewWriter(w, 0, 0, 1, ' ', 0)
	for i, row := range rows {
		fmt.Fprintf(t, "| %s\t|\n", strings.Join(row, "\t| "))
		if i == 0 {
			fmt.Fprintf(t, "|%s\n", strings.Repeat("---\t|", len(row)))
		}
	}
	_ = t.Flush()
}
