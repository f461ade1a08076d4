//go:build unix

package keeper

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// The host goes away and comes back at random moments of a stream, trimming as
// it goes: every line comes once, in order, and every line for the agent gets
// through once.
func TestHostComesAndGoes(t *testing.T) {
	l := begin(t, func(s *Spec) { s.SegmentSize = 32 << 10 })
	const rounds, lines = 40, 500
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	var got, sent uint64
	check := func(rec Record) {
		t.Helper()
		if rec.N != got+1 || string(rec.Data) != fmt.Sprintf("line %d", got%lines+1) {
			t.Fatalf("record %d %q after %d", rec.N, rec.Data, got)
		}
		got++
	}
	text := fmt.Sprintf("flood %d", lines)
	for range rounds {
		h := l.attach(got + 1)
		// What the dead host had sent may have come through or not.
		for n := h.Hello.In.N + 1; n <= sent; n++ {
			h.send(n, text)
		}
		sent++
		h.send(sent, text)
		for range rnd.IntN(lines) {
			check(h.next())
		}
		if rnd.IntN(2) == 0 && got > 0 {
			if err := h.Trim(got - uint64(rnd.IntN(int(min(got, 50))))); err != nil {
				t.Fatal(err)
			}
		}
		h.Close()
	}
	h := l.attach(got + 1)
	for n := h.Hello.In.N + 1; n <= sent; n++ {
		h.send(n, text)
	}
	for got < rounds*lines {
		check(h.next())
	}
	h.send(sent+1, "say end")
	if rec := h.next(); string(rec.Data) != "end" {
		t.Errorf("after the last line: %q", rec.Data)
	}
	if err := h.Trim(got); err != nil {
		t.Fatal(err)
	}
}

// BenchmarkLines is one line from the agent's stdout to the host's Next.
func BenchmarkLines(b *testing.B) {
	l := beginBench(b)
	h := l.attach(1)
	h.send(1, fmt.Sprintf("flood %d", b.N))
	b.ResetTimer()
	for i := range b.N {
		h.next1(b)
		if i%10000 == 9999 {
			h.Trim(uint64(i))
		}
	}
	b.StopTimer()
	b.ReportMetric(float64(anonymous(b, l.id.PID)), "kB_anon")
}

// BenchmarkMemory prints what a keeper holds: fresh, and after a long line.
func BenchmarkMemory(b *testing.B) {
	l := beginBench(b)
	h := l.attach(1)
	h.send(1, "say hello")
	h.next1(b)
	fresh := anonymous(b, l.id.PID)
	h.send(2, fmt.Sprintf("big %d", 10<<20))
	h.next1(b)
	time.Sleep(100 * time.Millisecond)
	b.ReportMetric(float64(fresh), "kB_fresh")
	b.ReportMetric(float64(anonymous(b, l.id.PID)), "kB_after_10MB")
	b.ReportMetric(float64(status(b, l.id.PID, "VmRSS")), "kB_RSS")
}

func beginBench(b *testing.B) *life1 {
	b.Helper()
	return begin(b, nil)
}

func (h *host) next1(b *testing.B) Record {
	rec, err := h.Next()
	if err != nil {
		b.Fatal(err)
	}
	return rec
}
