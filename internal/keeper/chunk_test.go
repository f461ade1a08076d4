package keeper

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// encode makes the chunks of a record, cut at the given sizes and then whole.
func encode(rec Record, cuts []int) []byte {
	var out []byte
	c := chunk{kind: rec.Kind, n: rec.N, at: rec.At.UnixNano(), flags: flagFirst}
	data := rec.Data
	for _, cut := range cuts {
		cut = min(cut, len(data))
		out, c.sum = appendChunk(out, c, data[:cut])
		data = data[cut:]
		c.flags = 0
	}
	c.flags |= flagLast
	if rec.Truncated {
		c.flags |= flagTruncated
	}
	if rec.Unended {
		c.flags |= flagUnended
	}
	out, _ = appendChunk(out, c, data)
	return out
}

func genRecord(n uint64) *rapid.Generator[Record] {
	return rapid.Custom(func(t *rapid.T) Record {
		return Record{
			N:         n,
			At:        time.Unix(0, rapid.Int64().Draw(t, "at")).UTC(),
			Kind:      rapid.SampledFrom([]Kind{KindLine, KindStderr, KindExit}).Draw(t, "kind"),
			Data:      rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "data"),
			Truncated: rapid.Bool().Draw(t, "truncated"),
			Unended:   rapid.Bool().Draw(t, "unended"),
		}
	})
}

func TestRecordsComeBackWhole(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		first := rapid.Uint64Range(1, 1<<40).Draw(t, "first")
		var recs []Record
		var stream []byte
		var ends []int
		for i := range rapid.IntRange(1, 6).Draw(t, "count") {
			rec := genRecord(first+uint64(i)).Draw(t, "record")
			cuts := rapid.SliceOfN(rapid.IntRange(0, 120), 0, 4).Draw(t, "cuts")
			recs = append(recs, rec)
			stream = append(stream, encode(rec, cuts)...)
			ends = append(ends, len(stream))
		}
		// Torn anywhere, the records before the cut are whole and the rest is
		// told apart from an orderly end.
		cut := rapid.IntRange(0, len(stream)).Draw(t, "cut")
		d := &decoder{r: iotest(stream[:cut], rapid.IntRange(1, 50).Draw(t, "reads"))}
		whole := 0
		for whole < len(ends) && ends[whole] <= cut {
			whole++
		}
		for i := range whole {
			got, err := d.read()
			if err != nil {
				t.Fatalf("record %d: %v", i, err)
			}
			if diff := cmp.Diff(recs[i], got); diff != "" {
				t.Fatal(diff)
			}
		}
		want := io.ErrUnexpectedEOF
		if cut == 0 || whole > 0 && ends[whole-1] == cut {
			want = io.EOF
		}
		if _, err := d.read(); !errors.Is(err, want) {
			t.Fatalf("at the cut: %v, want %v", err, want)
		}
		// One changed byte never yields another record in silence.
		if len(stream) > 0 {
			bad := bytes.Clone(stream)
			at := rapid.IntRange(0, len(bad)-1).Draw(t, "at")
			bad[at] ^= byte(rapid.IntRange(1, 255).Draw(t, "xor"))
			d := &decoder{r: bytes.NewReader(bad)}
			for i := 0; ; i++ {
				got, err := d.read()
				if err != nil {
					if err == io.EOF {
						t.Fatalf("byte %d changed, unnoticed", at)
					}
					break
				}
				if diff := cmp.Diff(recs[i], got); diff != "" {
					t.Fatal(diff)
				}
			}
		}
	})
}

// iotest reads at most n bytes at a time.
func iotest(b []byte, n int) io.Reader { return &slowly{bytes.NewReader(b), n} }

type slowly struct {
	r io.Reader
	n int
}

func (s *slowly) Read(p []byte) (int, error) { return s.r.Read(p[:min(len(p), s.n)]) }

func TestChunksInTheWrongPlace(t *testing.T) {
	line := func(n uint64, flags uint8, sum uint32, kind Kind) ([]byte, uint32) {
		return appendChunk(nil, chunk{n: n, flags: flags, sum: sum, kind: kind}, []byte("abc"))
	}
	first, sum := line(1, flagFirst, 0, KindLine)
	other, _ := line(1, flagFirst|flagLast, 0, KindLine)
	going, _ := line(1, flagLast, 0, KindLine)
	second, _ := line(2, flagLast, sum, KindLine)
	kind, _ := line(1, flagLast, sum, KindExit)
	third, _ := line(3, flagFirst|flagLast, 0, KindLine)
	tests := map[string][]byte{
		"goes on without a beginning": going,
		"begins within another":       append(bytes.Clone(first), other...),
		"another's piece":             append(bytes.Clone(first), second...),
		"changes its kind":            append(bytes.Clone(first), kind...),
		"a gap":                       append(bytes.Clone(other), third...),
	}
	for name, stream := range tests {
		t.Run(name, func(t *testing.T) {
			d := &decoder{r: bytes.NewReader(stream)}
			var err error
			for err == nil {
				_, err = d.read()
			}
			if !errors.Is(err, errCorrupt) {
				t.Errorf("error %v", err)
			}
		})
	}
}

func FuzzDecoder(f *testing.F) {
	rec := Record{N: 1, Kind: KindLine, Data: []byte("hello"), At: time.Unix(1, 2)}
	f.Add(encode(rec, nil))
	f.Add(encode(rec, []int{2, 0}))
	f.Add(append(encode(rec, nil), "HFS1 and then junk that is no header at all"...))
	f.Fuzz(func(t *testing.T, b []byte) {
		d := &decoder{r: bytes.NewReader(b)}
		var n uint64
		for {
			rec, err := d.read()
			if err != nil {
				return
			}
			if n != 0 && rec.N != n+1 || len(rec.Data) > len(b) {
				t.Fatalf("record %d after %d, %d bytes of %d", rec.N, n, len(rec.Data), len(b))
			}
			n = rec.N
		}
	})
}

func FuzzFrames(f *testing.F) {
	f.Add(appendFrame(nil, frameLine, appendLine(nil, Line{N: 1, Data: []byte("x"), Ends: "7"})))
	f.Add(jsonFrame(frameHello, Hello{Protocol: 1}))
	f.Add([]byte{66, 255, 255, 255, 255, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		r := bytes.NewReader(b)
		for {
			typ, n, err := readHead(r)
			if err != nil {
				return
			}
			payload, err := readPayload(r, n)
			if err != nil {
				return
			}
			if typ == frameLine {
				if l, err := parseLine(payload); err == nil && !bytes.Equal(appendLine(nil, l)[9:], payload[9:]) {
					t.Fatalf("line %+v is not what came", l)
				}
			}
		}
	})
}

func TestNotes(t *testing.T) {
	at := time.Unix(100, 5).UTC()
	var b []byte
	b = appendNote(b, noteIntent, 1, at)
	b = appendNote(b, noteWritten, 1, at)
	b = appendNote(b, noteIntent, 2, at)
	want := Notes{Intent: 2, Written: 1, WrittenAt: at}
	if diff := cmp.Diff(want, parseNotes(b)); diff != "" {
		t.Error(diff)
	}
	torn := appendNote(bytes.Clone(b), noteWritten, 2, at)
	if diff := cmp.Diff(want, parseNotes(torn[:len(torn)-1])); diff != "" {
		t.Error("torn:", diff)
	}
	torn[len(torn)-1] ^= 1
	if diff := cmp.Diff(want, parseNotes(torn)); diff != "" {
		t.Error("damaged:", diff)
	}
	if n, err := ReadNotes(t.TempDir()); err != nil || n != (Notes{}) {
		t.Errorf("no file: %+v, %v", n, err)
	}
}
