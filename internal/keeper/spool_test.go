//go:build unix

package keeper

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

// writer begins a spool in an epoch's folder.
func writer(t interface {
	Helper()
	Fatal(...any)
}, dir string, limit, segment int64, trouble func(Status),
) *spoolWriter {
	t.Helper()
	if trouble == nil {
		trouble = func(Status) {}
	}
	s, err := newSpoolWriter(filepath.Join(dir, dirSpool), limit, segment, func() {}, trouble)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func readAll(dir string, from uint64) ([]Record, bool, error) {
	s, err := OpenSpool(dir, from)
	if err != nil {
		return nil, false, err
	}
	defer s.Close()
	var recs []Record
	for {
		rec, err := s.Next()
		if errors.Is(err, io.EOF) {
			return recs, s.Torn(), nil
		}
		if err != nil {
			return recs, false, err
		}
		recs = append(recs, rec)
	}
}

func TestSpoolTornAnywhere(t *testing.T) {
	dir := t.TempDir()
	s := writer(t, dir, 1<<30, 1<<20, nil)
	for i := range 5 {
		s.append(KindLine, bytes.Repeat([]byte{'a' + byte(i)}, 20*i))
	}
	s.append(KindLine, bytes.Repeat([]byte("z"), maxPayload+10))
	s.f.Close()
	path := filepath.Join(dir, dirSpool, segmentName(1))
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want, torn, err := readAll(dir, 1)
	if err != nil || torn || len(want) != 6 {
		t.Fatalf("%d records, torn %v, %v", len(want), torn, err)
	}
	rapid.Check(t, func(t *rapid.T) {
		cut := rapid.IntRange(0, len(whole)).Draw(t, "cut")
		if rapid.Bool().Draw(t, "early") {
			cut = min(cut, 400)
		}
		junk := rapid.SampledFrom([][]byte{nil, make([]byte, 100), []byte("junk")}).Draw(t, "junk")
		if err := os.WriteFile(path, append(bytes.Clone(whole[:cut]), junk...), 0o600); err != nil {
			t.Fatal(err)
		}
		got, _, err := readAll(dir, 1)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want[:len(got)], got, cmpopts.EquateEmpty()); diff != "" {
			t.Fatal(diff)
		}
	})
	// In a segment that is not the last one the same is damage.
	if err := os.WriteFile(path, whole[:len(whole)-1], 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, dirSpool, segmentName(7)), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := readAll(dir, 1); !errors.Is(err, errCorrupt) && !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("error %v", err)
	}
}

// Whatever the sizes, the segments, the trims and where a reader begins: it
// gets every record once, in order.
func TestSpoolReadWhileWrittenAndTrimmed(t *testing.T) {
	root := t.TempDir()
	run := 0
	rapid.Check(t, func(t *rapid.T) {
		run++
		dir := filepath.Join(root, fmt.Sprint(run))
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		s := writer(t, dir, 1<<30, int64(rapid.IntRange(1, 2000).Draw(t, "segment")), nil)
		defer func() { s.f.Close() }()
		var pipe bytes.Buffer
		var c *cursor
		defer func() {
			if c != nil {
				c.close()
			}
		}()
		dec := &decoder{r: &pipe}
		var written, read uint64
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			switch rapid.IntRange(0, 3).Draw(t, "step") {
			case 0, 1:
				size := rapid.IntRange(0, 500).Draw(t, "size")
				written = s.append(KindLine, bytes.Repeat([]byte{byte(written + 1)}, size))
			case 2:
				if c == nil || rapid.IntRange(0, 4).Draw(t, "again") == 0 {
					if c != nil {
						c.close()
					}
					var err error
					if c, err = s.newCursor(read + 1); err != nil {
						t.Fatal(err)
					}
					pipe.Reset()
					dec = &decoder{r: &pipe}
				}
				b, err := c.read()
				if err != nil {
					t.Fatal(err)
				}
				pipe.Write(b)
				for pipe.Len() > 0 {
					rec, err := dec.read()
					if err != nil {
						t.Fatal(err)
					}
					if rec.N != read+1 || len(rec.Data) > 0 && rec.Data[0] != byte(rec.N) {
						t.Fatalf("record %d after %d", rec.N, read)
					}
					read = rec.N
				}
			case 3:
				if err := s.trim(rapid.Uint64Range(0, read).Draw(t, "trim")); err != nil {
					t.Fatal(err)
				}
			}
		}
		first, last := s.bounds()
		if last != written || first > s.trimmedThrough()+1 {
			t.Fatalf("bounds %d to %d, written %d, trimmed %d", first, last, written, s.trimmedThrough())
		}
		recs, torn, err := readAll(dir, first)
		if err != nil || torn || uint64(len(recs)) != last+1-first {
			t.Fatalf("%d records on disk, torn %v, %v", len(recs), torn, err)
		}
		if first > 1 {
			if _, err := s.newCursor(first - 1); !errors.Is(err, ErrGone) {
				t.Fatalf("dropped record: %v", err)
			}
			if _, err := OpenSpool(dir, first-1); !errors.Is(err, ErrGone) {
				t.Fatalf("dropped record on disk: %v", err)
			}
		}
	})
}

func TestSpoolRefuses(t *testing.T) {
	dir := t.TempDir()
	s := writer(t, dir, 1<<30, 1<<20, nil)
	defer s.f.Close()
	s.append(KindLine, []byte("a"))
	if err := s.trim(2); !errors.Is(err, ErrProtocol) {
		t.Errorf("trim of what is not there: %v", err)
	}
	if _, err := s.newCursor(3); !errors.Is(err, ErrProtocol) {
		t.Errorf("read of what is not there: %v", err)
	}
	if _, err := newSpoolWriter(filepath.Join(dir, dirSpool), 1, 1, func() {}, nil); err == nil {
		t.Error("another life's spool was taken")
	}
}

func TestFullSpoolWaitsForTheHost(t *testing.T) {
	dir := t.TempDir()
	trouble := make(chan Status, 10)
	s := writer(t, dir, 1000, 1<<20, func(st Status) { trouble <- st })
	defer func() { s.f.Close() }()
	done := make(chan uint64)
	go func() {
		for range 20 {
			s.append(KindLine, make([]byte, 500))
		}
		done <- s.append(KindExit, []byte("{}"))
	}()
	last := uint64(0)
	for {
		select {
		case st := <-trouble:
			if st.Kind == StatusSpoolFull {
				s.mu.Lock()
				total := s.total
				last = s.last
				s.mu.Unlock()
				if total > 1600 {
					t.Errorf("%d bytes on disk", total)
				}
				if err := s.trim(last); err != nil {
					t.Fatal(err)
				}
			}
		case n := <-done:
			if n != 21 {
				t.Errorf("exit is record %d", n)
			}
			return
		case <-time.After(20 * time.Second):
			t.Fatal("the writer hangs")
		}
	}
}

// smallDisk mounts a file system of the given size.
func smallDisk(t *testing.T, bytes int) string {
	t.Helper()
	dir := t.TempDir()
	err := errors.New("only tried on Linux")
	if runtime.GOOS == "linux" {
		err = mountTmpfs(dir, bytes)
	}
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("a full disk cannot be tested here: %v", err)
		}
		t.Skipf("NOT TESTED: a full disk, which needs root: %v", err)
	}
	t.Cleanup(func() {
		if err := unmount(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func TestFullDiskLosesNothing(t *testing.T) {
	dir := smallDisk(t, 256<<10)
	trouble := make(chan Status, 100)
	s := writer(t, dir, 1<<30, 1<<20, func(st Status) { trouble <- st })
	defer func() { s.f.Close() }()
	filler := filepath.Join(dir, "filler")
	if err := os.WriteFile(filler, make([]byte, 128<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	const count = 20
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range count {
			s.append(KindLine, bytes.Repeat([]byte{byte('a' + i)}, 10_007))
		}
	}()
	st := wait(t, trouble, "status")
	if st.Kind != StatusDiskFull || !strings.Contains(st.Text, "no space") {
		t.Errorf("status %+v", st)
	}
	recs, torn, err := readAll(dir, 1)
	if err != nil || torn {
		t.Errorf("on the full disk: %d records, torn %v, %v", len(recs), torn, err)
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	if st := wait(t, trouble, "recovery"); st.Kind != StatusRecovered {
		t.Errorf("status %+v", st)
	}
	wait(t, done, "end of the writer")
	recs, torn, err = readAll(dir, 1)
	if err != nil || torn || len(recs) != count {
		t.Fatalf("%d records, torn %v, %v", len(recs), torn, err)
	}
	for i, rec := range recs {
		if len(rec.Data) != 10_007 || rec.Data[0] != byte('a'+i) {
			t.Errorf("record %d is %d bytes of %q", rec.N, len(rec.Data), rec.Data[0])
		}
	}
}

func TestRing(t *testing.T) {
	var r ring
	fmt.Fprint(&r, "short\n")
	if got := string(r.tail().Text); got != "short\n" {
		t.Errorf("tail %q", got)
	}
	for i := range 20_000 {
		fmt.Fprintf(&r, "line %d\n", i)
	}
	got := string(r.tail().Text)
	if len(got) > ringSize || !strings.HasPrefix(got, "line ") || !strings.HasSuffix(got, "line 19999\n") {
		t.Errorf("tail of %d bytes: %.20q…", len(got), got)
	}
	r.Write(bytes.Repeat([]byte("x"), 3*ringSize))
	if len(r.tail().Text) != ringSize {
		t.Errorf("tail of %d bytes", len(r.tail().Text))
	}
}

// The outlet cuts the same lines whatever the reads.
func TestOutlet(t *testing.T) {
	root := t.TempDir()
	run := 0
	rapid.Check(t, func(t *rapid.T) {
		run++
		dir := filepath.Join(root, fmt.Sprint(run))
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		s := writer(t, dir, 1<<30, 1<<20, nil)
		defer func() { s.f.Close() }()
		sizes := rapid.SliceOfN(rapid.OneOf(rapid.IntRange(0, 50), rapid.IntRange(maxPayload-2, maxPayload+2),
			rapid.SampledFrom([]int{3*maxPayload + 1, 2 * maxPayload})), 0, 8).Draw(t, "sizes")
		var want []string
		for i, size := range sizes {
			want = append(want, strings.Repeat(string(rune('a'+i)), size))
		}
		text := strings.Join(want, "\n")
		ended := rapid.Bool().Draw(t, "ended")
		if ended && len(want) > 0 {
			text += "\n"
		}
		if n := len(want); n > 0 && !ended && want[n-1] == "" {
			want = want[:n-1] // nothing stands after the last newline
		}
		var seen []string
		o := &outlet{spool: s, look: func() bool { return true }, seen: func(b []byte) { seen = append(seen, string(b)) }}
		if err := o.copy(iotest([]byte(text), rapid.SampledFrom([]int{1, 7, 4096, 1 << 20}).Draw(t, "reads"))); err != nil {
			t.Fatal(err)
		}
		recs, _, err := readAll(dir, 1)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for i, rec := range recs {
			got = append(got, string(rec.Data))
			if rec.Unended != (i == len(recs)-1 && !ended && len(sizes) > 0 && sizes[len(sizes)-1] > 0) || rec.Truncated {
				t.Fatalf("record %d of %d: %+v", i, len(recs), rec.Unended)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" && len(want)+len(got) > 0 {
			t.Fatal(diff)
		}
		if whole := len(recs); whole > 0 && recs[whole-1].Unended {
			want = want[:whole-1]
		}
		if diff := cmp.Diff(want, seen); diff != "" && len(want)+len(seen) > 0 {
			t.Fatal(diff)
		}
	})
}

func TestResponseID(t *testing.T) {
	tests := map[string]string{
		`{"jsonrpc":"2.0","id":3,"result":{"stopReason":"end_turn"}}`:       "3",
		`{"jsonrpc":"2.0", "id" : "a b" ,"error":{"code":1,"message":"x"}}`: `"a b"`,
		`{"jsonrpc":"2.0","id":3,"result":null}`:                            "3",
		`{"jsonrpc":"2.0","id":3,"method":"x","params":{"result":1}}`:       "",
		`{"jsonrpc":"2.0","method":"x","params":{"id":3,"result":{}}}`:      "",
		`{"jsonrpc":"2.0","id":3,"params":{"result":1}}`:                    "",
		`{"id":3,"result":`:  "",
		`junk "id" "result"`: "",
	}
	for line, want := range tests {
		if got := responseID([]byte(line)); got != want {
			t.Errorf("%s: id %q, want %q", line, got, want)
		}
	}
}
