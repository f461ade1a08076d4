package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"aead.dev/minisign"

	"github.com/holdfast-dev/holdfast/internal/release"
)

const (
	version = "1.2.3-rc.1"
	epoch   = 1700000000
)

// tool skips, or fails where everything must be there.
func tool(t *testing.T, name, pkg string) {
	t.Helper()
	if _, err := exec.LookPath(name); err == nil {
		return
	}
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s is lacking: install the package %s", name, pkg)
	}
	t.Skipf("no %s here: install the package %s", name, pkg)
}

func command(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
	return string(out)
}

// clone copies what a release is made of to another place.
func clone(t *testing.T) string {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	to := filepath.Join(t.TempDir(), "elsewhere")
	leave := []string{".git", "bin", "dist", "node_modules", "test", "tmp"}
	err = filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		if e.IsDir() {
			// web/dist is what the program serves.
			if slices.Contains(leave, e.Name()) && rel != filepath.Join("web", "dist") {
				return filepath.SkipDir
			}
			return os.MkdirAll(filepath.Join(to, rel), 0o755)
		}
		if !e.Type().IsRegular() {
			return nil
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, rel), data, 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
	return to
}

func files(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string][]byte{}
	for _, e := range entries {
		if all[e.Name()], err = os.ReadFile(filepath.Join(dir, e.Name())); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// One release for this machine, looked at from every side.
func TestRelease(t *testing.T) {
	t.Setenv("SOURCE_DATE_EPOCH", fmt.Sprint(epoch))
	source := clone(t)
	dist := filepath.Join(t.TempDir(), "dist")
	own := runtime.GOOS + "/" + runtime.GOARCH
	pub, key, err := minisign.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := minisign.EncryptKey("a password", key)
	if err != nil {
		t.Fatal(err)
	}
	keyFile := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(keyFile, secret, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("HOLDFAST_SIGNING_PASSWORD", "a password")
	if err := os.MkdirAll(dist, 0o700); err != nil {
		t.Fatal(err)
	}
	// What an older release left, and what is none of ours.
	for _, name := range []string{"holdfast_0.0.1_linux_amd64.tar.gz", "notes.txt"} {
		if err := os.WriteFile(filepath.Join(dist, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	args := func(root, out string) []string {
		return []string{"-root", root, "-out", out, "-version", version, "-targets", own, "-key", keyFile}
	}
	if err := run(t.Context(), args("../..", dist)); err != nil {
		t.Fatal(err)
	}
	archive := fmt.Sprintf("holdfast_%s_%s_%s.tar.gz", version, runtime.GOOS, runtime.GOARCH)
	deb := fmt.Sprintf("holdfast_1.2.3~rc.1-1_%s.deb", runtime.GOARCH)
	made := files(t, dist)

	t.Run("files", func(t *testing.T) {
		want := []string{release.SumsFile, release.SignatureFile, "holdfast.rb", archive, "notes.txt"}
		if runtime.GOOS == "linux" {
			want = append(want, deb)
		}
		slices.Sort(want)
		var got []string
		for name := range made {
			got = append(got, name)
		}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("made %q, want %q", got, want)
		}
	})
	t.Run("the same bytes from another folder", func(t *testing.T) {
		out := filepath.Join(t.TempDir(), "dist")
		if err := run(t.Context(), args(source, out)); err != nil {
			t.Fatal(err)
		}
		for name, data := range files(t, out) {
			if !bytes.Equal(data, made[name]) {
				t.Errorf("%s differs", name)
			}
		}
	})
	t.Run("checksums", func(t *testing.T) {
		tool(t, "sha256sum", "coreutils")
		out := command(t, dist, "sha256sum", "--strict", "-c", release.SumsFile)
		for name, data := range made {
			if strings.HasPrefix(name, release.SumsFile) || name == "notes.txt" {
				continue
			}
			if !strings.Contains(out, name+": OK\n") {
				t.Errorf("%s is not in the list", name)
			}
			if err := release.VerifyChecksum(made[release.SumsFile], name, bytes.NewReader(data)); err != nil {
				t.Error(err)
			}
		}
	})
	t.Run("signature", func(t *testing.T) {
		if err := release.VerifySignature([]byte(pub.String()), made[release.SumsFile], made[release.SignatureFile]); err != nil {
			t.Error(err)
		}
		tool(t, "minisign", "minisign")
		command(t, dist, "minisign", "-V", "-H", "-P", pub.String(), "-m", release.SumsFile)
	})
	t.Run("archive", func(t *testing.T) {
		folder := strings.TrimSuffix(archive, ".tar.gz") + "/"
		checkTar(t, made[archive], map[string]int64{
			folder: 0o755, folder + "holdfast": 0o755, folder + "README.md": 0o644, folder + "LICENSE": 0o644,
			folder + "CHANGELOG.md": 0o644, folder + "THIRD-PARTY": 0o644, folder + "docs/architecture.md": 0o644,
		})
		path := filepath.Join(t.TempDir(), "holdfast")
		f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o700)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(release.Extract(bytes.NewReader(made[archive]), f), f.Close()); err != nil {
			t.Fatal(err)
		}
		if out := command(t, ".", path, "version"); !strings.Contains(out, version) {
			t.Errorf("its version is %q", out)
		}
		// What tests break a host by is in a binary of its own. The names of the
		// places may be left in ours, the code that acts on them is not.
		program, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		broken := filepath.Join(t.TempDir(), "broken")
		command(t, ".", "go", "build", "-tags", "failpoints", "-o", broken, "../../cmd/holdfast")
		tests, err := os.ReadFile(broken)
		if err != nil {
			t.Fatal(err)
		}
		for _, trace := range []string{"failpoint %s: kill", "internal/failpoint.parse", "internal/failpoint.pause", "-tags=failpoints"} {
			if bytes.Contains(program, []byte(trace)) {
				t.Errorf("the release has failpoints: it contains %q", trace)
			}
			if !bytes.Contains(tests, []byte(trace)) {
				t.Errorf("failpoints do not show by %q any more", trace)
			}
		}
	})
	t.Run("formula", func(t *testing.T) {
		text := string(made["holdfast.rb"])
		for line := range strings.Lines(string(made[release.SumsFile])) {
			if sum, name, _ := strings.Cut(strings.TrimSpace(line), "  "); name == archive && (!strings.Contains(text, `sha256 "`+sum+`"`) || !strings.Contains(text, "/"+name+`"`)) {
				t.Errorf("the formula does not name %s with its checksum:\n%s", name, text)
			}
		}
		tool(t, "ruby", "ruby")
		command(t, dist, "ruby", "-c", "holdfast.rb")
	})
	t.Run("Debian package", func(t *testing.T) {
		if runtime.GOOS != "linux" {
			t.Skip("made for Linux only")
		}
		tool(t, "dpkg-deb", "dpkg")
		root := t.TempDir()
		path := filepath.Join(dist, deb)
		command(t, ".", "dpkg-deb", "-x", path, root)
		if out := command(t, root, filepath.Join(root, "usr/bin/holdfast"), "version"); !strings.Contains(out, version) {
			t.Errorf("its version is %q", out)
		}
		if out := command(t, ".", "dpkg-deb", "-f", path, "Package", "Version", "Architecture"); out != "Package: holdfast\nVersion: 1.2.3~rc.1-1\nArchitecture: "+runtime.GOARCH+"\n" {
			t.Errorf("its fields are %q", out)
		}
		// Nothing that runs at the installation, nothing that starts by itself.
		command(t, ".", "dpkg-deb", "-e", path, filepath.Join(root, "meta"))
		if names := files(t, filepath.Join(root, "meta")); len(names) != 2 || names["control"] == nil || names["md5sums"] == nil {
			t.Errorf("its meta data: %d files", len(names))
		}
		for _, dir := range []string{"etc", "lib", "usr/lib"} {
			if _, err := os.Stat(filepath.Join(root, dir)); err == nil {
				t.Errorf("it installs into /%s", dir)
			}
		}
		command(t, root, "md5sum", "--strict", "--quiet", "-c", "meta/md5sums")
		// dpkg itself, in a root of its own.
		if os.Geteuid() == 0 {
			inst := t.TempDir()
			admin := filepath.Join(inst, "admin")
			for _, dir := range []string{"updates", "info"} {
				if err := os.MkdirAll(filepath.Join(admin, dir), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			for _, f := range []string{"status", "available"} {
				if err := os.WriteFile(filepath.Join(admin, f), nil, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			command(t, ".", "dpkg", "--instdir="+inst, "--admindir="+admin, "--force-not-root", "--force-architecture", "--force-script-chrootless", "-i", path)
			if out := command(t, ".", filepath.Join(inst, "usr/bin/holdfast"), "version"); !strings.Contains(out, version) {
				t.Errorf("installed by dpkg: %q", out)
			}
			command(t, ".", "dpkg", "--instdir="+inst, "--admindir="+admin, "--force-not-root", "-P", "holdfast")
			if _, err := os.Stat(filepath.Join(inst, "usr/bin/holdfast")); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("after the removal: %v", err)
			}
		}
	})
	t.Run("lintian", func(t *testing.T) {
		if runtime.GOOS != "linux" {
			t.Skip("made for Linux only")
		}
		tool(t, "lintian", "lintian")
		command(t, dist, "lintian", "--allow-root", "--fail-on", "error,warning", deb)
	})
}

// checkTar checks that everything is root's, of the source's time and in
// order, and that some files are there with their modes.
func checkTar(t *testing.T, data []byte, want map[string]int64) {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	if !z.ModTime.IsZero() || z.Name != "" {
		t.Errorf("the compressed file says %v, %q", z.ModTime, z.Name)
	}
	last := ""
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Uid != 0 || h.Gid != 0 || h.Uname != "root" || h.Gname != "root" || !h.ModTime.Equal(time.Unix(epoch, 0)) {
			t.Errorf("%s: %d:%d %s:%s %v", h.Name, h.Uid, h.Gid, h.Uname, h.Gname, h.ModTime)
		}
		if h.Name <= last {
			t.Errorf("%s stands after %s", h.Name, last)
		}
		last = h.Name
		if mode, ok := want[h.Name]; ok && mode != h.Mode {
			t.Errorf("%s has mode %o", h.Name, h.Mode)
		}
		delete(want, h.Name)
	}
	for name := range want {
		t.Errorf("%s is not in the archive", name)
	}
}

func TestArguments(t *testing.T) {
	t.Setenv("SOURCE_DATE_EPOCH", "soon")
	for _, args := range [][]string{
		{}, {"-version", "1.2"}, {"-version", "1.2.3;x"}, {"-version", "1.2.3", "-targets", "linux"}, {"-version", "1.2.3"},
	} {
		if err := run(t.Context(), append(args, "-out", t.TempDir())); err == nil {
			t.Errorf("%q was taken", args)
		}
	}
}

// A program that needs the machine's C library is no release.
func TestSelfContained(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("looks at this machine's shell")
	}
	shell, err := os.ReadFile("/bin/sh")
	if err != nil {
		t.Fatal(err)
	}
	if err := selfContained(target{"linux", runtime.GOARCH}, shell); err == nil {
		t.Error("/bin/sh counts as static")
	}
}

// Debian sorts a candidate before its release.
func TestDebianVersion(t *testing.T) {
	if v := debianVersion("1.2.3-rc.1"); v != "1.2.3~rc.1-1" {
		t.Error(v)
	}
	tool(t, "dpkg", "dpkg")
	command(t, ".", "dpkg", "--compare-versions", debianVersion("1.2.3-rc.1"), "lt", debianVersion("1.2.3"))
}
