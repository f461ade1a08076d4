//go:build unix

package keeper

import (
	"errors"
	"io"
	"os"
	"testing"
)

func TestLinesThroughTheDeathOfTheHost(t *testing.T) {
	l := begin(t, nil)
	h := l.attach(1)
	if h.Hello.Epoch != "e1" || h.Hello.Agent.Zero() || h.Hello.Keeper != l.id || h.Hello.In.N != 0 || h.Hello.First != 1 || h.Hello.Last != 0 {
		t.Errorf("hello %+v", h.Hello)
	}
	h.send(1, "say one")
	h.want(1, "one")
	if n := wait(t, h.accepted, "acceptance"); n != 1 {
		t.Errorf("accepted %d", n)
	}
	if n := wait(t, h.written, "written"); n != 1 {
		t.Errorf("written %d", n)
	}
	h.send(2, "flood 1000")
	h.want(2, "line 1")
	h.Close()

	h2 := l.attach(2)
	if h2.Hello.Agent != h.Hello.Agent || h2.Hello.In != (LineRef{2, Checksum([]byte("flood 1000"))}) || h2.Hello.Written != 2 {
		t.Errorf("hello %+v", h2.Hello)
	}
	h2.want(2, "line 1")
	for range 999 {
		h2.next()
	}
	h2.send(3, "say last")
	h2.want(1002, "last")
	if err := h2.End(false); err != nil {
		t.Fatal(err)
	}
	e, rec := h2.exit()
	if e.Code != 0 || e.Reason != ReasonAsked || rec.N != 1003 {
		t.Errorf("exit %+v in record %d", e, rec.N)
	}
	if err := h2.Trim(rec.N); err != nil {
		t.Fatal(err)
	}
	if _, err := h2.tryNext(); !errors.Is(err, io.EOF) {
		t.Errorf("after the end: %v", err)
	}
	l.waitGone()
	recs, torn := l.disk(1)
	if len(recs) != 1003 || torn {
		t.Errorf("%d records on disk, torn %v", len(recs), torn)
	}
	if err := Remove(l.dir); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(l.dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("folder: %v", err)
	}
}
