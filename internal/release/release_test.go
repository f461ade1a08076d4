package release

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"aead.dev/minisign"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestVerifyChecksum(t *testing.T) {
	line := func(name, text string) string { return fmt.Sprintf("%x  %s\n", sha256.Sum256([]byte(text)), name) }
	for _, c := range []struct {
		name, sums, file string
		want             error
	}{
		{"the file", line("other", "x") + line("a.tar.gz", "text"), "text", nil},
		{"in bytes", strings.Replace(line("a.tar.gz", "text"), "  ", " *", 1), "text", nil},
		{"without a last newline", strings.TrimSpace(line("a.tar.gz", "text")), "text", nil},
		{"another file", line("a.tar.gz", "text"), "texT", ErrChecksum},
		{"a file cut short", line("a.tar.gz", "text"), "tex", ErrChecksum},
		{"an empty list", "", "text", ErrNotListed},
		{"a longer name", line("a.tar.gz.deb", "text"), "text", ErrNotListed},
		{"a path", line("x/a.tar.gz", "text"), "text", ErrNotListed},
		{"twice", line("a.tar.gz", "text") + line("a.tar.gz", "evil"), "evil", ErrBadSums},
		{"no digits", "zz" + line("a.tar.gz", "text")[2:], "text", ErrBadSums},
		{"a short sum", line("a.tar.gz", "text")[2:], "text", ErrBadSums},
		{"one space", strings.Replace(line("a.tar.gz", "text"), "  ", " ", 1), "text", ErrBadSums},
		{"a page of a web server", "<html>not found</html>\n", "text", ErrBadSums},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := VerifyChecksum([]byte(c.sums), "a.tar.gz", strings.NewReader(c.file)); !errors.Is(err, c.want) {
				t.Errorf("%v, want %v", err, c.want)
			}
		})
	}
	broken := errors.New("broken disk")
	if err := VerifyChecksum([]byte(line("a", "")), "a", iotest.ErrReader(broken)); !errors.Is(err, broken) {
		t.Errorf("a file that cannot be read: %v", err)
	}
}

func TestVerifySignature(t *testing.T) {
	pub, key, err := minisign.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	other, _, err := minisign.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	text := func(k minisign.PublicKey) []byte {
		b, err := k.MarshalText()
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	sums := []byte("a list")
	sig := minisign.SignWithComments(key, sums, "holdfast 1.2.3", "none")
	for _, c := range []struct {
		name           string
		key, sums, sig []byte
		want           error
	}{
		{"right", text(pub), sums, sig, nil},
		{"the key's line alone", []byte(pub.String() + "\n"), sums, sig, nil},
		{"another list", text(pub), []byte("a List"), sig, ErrBadSignature},
		{"another key", text(other), sums, sig, ErrBadSignature},
		{"another comment", text(pub), sums, bytes.Replace(sig, []byte("1.2.3"), []byte("9.9.9"), 1), ErrBadSignature},
		{"no signature", text(pub), sums, nil, ErrBadSignature},
		{"no key", nil, sums, sig, ErrPublicKey},
		{"nonsense for a key", []byte("RWQ"), sums, sig, ErrPublicKey},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := VerifySignature(c.key, c.sums, c.sig); !errors.Is(err, c.want) {
				t.Errorf("%v, want %v", err, c.want)
			}
		})
	}
}

// What minisign itself signs is what we accept.
func TestMinisign(t *testing.T) {
	if _, err := exec.LookPath("minisign"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("minisign is lacking: install the package minisign")
		}
		t.Skip("no minisign here: install the package minisign")
	}
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	sums := []byte("a list\n")
	if err := os.WriteFile(at("list"), sums, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"-G", "-W", "-p", at("pub"), "-s", at("key")}, {"-S", "-s", at("key"), "-m", at("list")}} {
		if out, err := exec.CommandContext(t.Context(), "minisign", args...).CombinedOutput(); err != nil {
			t.Fatalf("minisign %v: %v\n%s", args, err, out)
		}
	}
	pub, err := os.ReadFile(at("pub"))
	if err != nil {
		t.Fatal(err)
	}
	sig, err := os.ReadFile(at("list.minisig"))
	if err != nil {
		t.Fatal(err)
	}
	if err := VerifySignature(pub, sums, sig); err != nil {
		t.Error(err)
	}
	if err := VerifySignature(pub, []byte("b list\n"), sig); !errors.Is(err, ErrBadSignature) {
		t.Errorf("another list: %v", err)
	}
}

func TestExtract(t *testing.T) {
	type file struct {
		name, text string
		kind       byte
		size       int64 // told, where it is not the text's
	}
	archive := func(files ...file) []byte {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		w := tar.NewWriter(z)
		for _, f := range files {
			h := &tar.Header{Name: f.name, Typeflag: f.kind, Mode: 0o755, Size: max(f.size, int64(len(f.text)))}
			if f.kind == tar.TypeSymlink {
				h.Linkname, h.Size = "/etc/passwd", 0
			}
			if err := w.WriteHeader(h); err != nil {
				t.Fatal(err)
			}
			_, _ = w.Write([]byte(f.text))
		}
		_ = w.Flush()
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	good := archive(file{name: "d/README.md", kind: tar.TypeReg, text: "no"}, file{name: "d/holdfast", kind: tar.TypeReg, text: "yes"})
	for _, c := range []struct {
		name string
		in   []byte
		want error
	}{
		{"a link", archive(file{name: "d/holdfast", kind: tar.TypeSymlink}), ErrNoProgram},
		{"another program", archive(file{name: "d/holdfast.sh", kind: tar.TypeReg, text: "x"}), ErrNoProgram},
		{"a bomb", archive(file{name: "holdfast", kind: tar.TypeReg, size: maxProgram + 1}), ErrTooLarge},
		{"cut short", good[:len(good)/2], nil},
		{"no archive", []byte("\x7fELF, and then some more"), gzip.ErrHeader},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out bytes.Buffer
			if err := Extract(bytes.NewReader(c.in), &out); err == nil || c.want != nil && !errors.Is(err, c.want) {
				t.Errorf("%v, want %v; wrote %q", err, c.want, out.String())
			}
		})
	}
	var out bytes.Buffer
	if err := Extract(bytes.NewReader(good), &out); err != nil || out.String() != "yes" {
		t.Errorf("%v, %q", err, out.String())
	}
}

func FuzzVerify(f *testing.F) {
	f.Add([]byte("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855  a\n"))
	f.Add([]byte("untrusted comment: x\nRWQ\ntrusted comment: y\nAA==\n"))
	f.Fuzz(func(_ *testing.T, data []byte) {
		_ = VerifyChecksum(data, "a", strings.NewReader(""))
		_ = VerifySignature(data, data, data)
		_ = Extract(bytes.NewReader(data), &bytes.Buffer{})
	})
}
