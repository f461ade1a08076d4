package watch

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
	"time"

	"github.com/holdfast-dev/holdfast/internal/proc"
)

// busyShare is the part of the wait for an answer in which a process must have
// worked, or have waited for a processor, to count as busy. An idle server
// with threads that tick uses about a hundredth.
const busyShare = 0.1

// answer is what a probe came to.
type answer struct {
	alive bool
	busy  bool   // it did not answer, and was at work
	text  string // what was seen
}

// ask sends one request. A server that answers anything at all is alive: an
// error page, bad HTTP, a certificate that is not ours to judge. Of one that
// does not, the work of its processes meanwhile tells whether it is busy.
func ask(ctx context.Context, url string, timeout time.Duration, ids []proc.ID) answer {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var connected, spoke atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn:              func(httptrace.GotConnInfo) { connected.Store(true) },
		GotFirstResponseByte: func() { spoke.Store(true) },
		TLSHandshakeDone: func(s tls.ConnectionState, _ error) {
			spoke.Store(spoke.Load() || s.HandshakeComplete || len(s.PeerCertificates) > 0)
		},
	})
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return answer{text: err.Error()}
	}
	req.Header.Set("User-Agent", "holdfast-watch")
	transport := &http.Transport{DisableKeepAlives: true}
	defer transport.CloseIdleConnections()
	before, began := effort(ids), time.Now()
	resp, err := transport.RoundTrip(req) // redirects are not followed: they are an answer
	took := time.Since(began)
	if err == nil {
		resp.Body.Close()
		return answer{alive: true, text: fmt.Sprintf("%s answered %s in %s", url, resp.Status, round(took))}
	}
	if spoke.Load() {
		return answer{alive: true, text: fmt.Sprintf("%s answered in %s, with what is no plain HTTP answer", url, round(took))}
	}
	if ctx.Err() == nil {
		return answer{text: fmt.Sprintf("%s: %v", url, err)}
	}
	a := answer{text: fmt.Sprintf("%s took no connection within %s", url, timeout)}
	if connected.Load() {
		a.text = fmt.Sprintf("%s took the connection and did not answer within %s", url, timeout)
	}
	after := effort(ids)
	work := after.CPU - before.CPU + after.Waited - before.Waited
	switch {
	case float64(work) >= busyShare*float64(took):
		a.busy = true
		a.text += fmt.Sprintf("; it is at work: %s of processor used or waited for meanwhile", round(work))
	case before.Blocked > 0 && after.Blocked > 0:
		a.busy = true
		a.text += "; it waits for a disk"
	default:
		a.text += fmt.Sprintf("; it is idle: %s of processor meanwhile", round(work))
	}
	return a
}

func round(d time.Duration) time.Duration { return d.Round(time.Millisecond) }

// effort sums what the processes and their descendants have worked: the
// request may be in a worker's hands.
func effort(ids []proc.ID) proc.Work {
	all, err := proc.All()
	if err != nil {
		all = nil
	}
	var pids []int
	for _, id := range ids {
		pids = append(pids, id.PID)
	}
	for _, p := range proc.Descendants(all, pids...) {
		pids = append(pids, p.PID)
	}
	var sum proc.Work
	for _, pid := range pids {
		w, err := proc.Effort(pid)
		if err != nil {
			continue
		}
		sum.CPU += w.CPU
		sum.Waited += w.Waited
		sum.Blocked += w.Blocked
	}
	return sum
}
