package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// older is the commit whose binary plays the old version: the first whose
// agents outlived their host.
const older = "10d80d83be43fb30d1aee9f69bde608e645e7851"

// olderHost builds the host of an earlier commit.
func olderHost(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	git := func(args ...string) ([]byte, error) {
		cmd := exec.Command("git", append([]string{"-C", root, "-c", "safe.directory=*"}, args...)...)
		return cmd.CombinedOutput()
	}
	if out, err := git("cat-file", "-e", older+"^{commit}"); err != nil {
		// An archive of the sources, or a clone without its past.
		t.Skipf("SKIPPED: the earlier commit is not in this copy's history: %v %s", err, out)
	}
	archive := filepath.Join(dir, "older.tar")
	if out, err := git("archive", "-o", archive, older); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	src := filepath.Join(dir, "src")
	if err := os.Mkdir(src, 0o700); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("tar", "-xf", archive, "-C", src).CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	bin := filepath.Join(dir, "holdfast")
	build := exec.Command("go", "build", "-tags", "failpoints", "-o", bin, "./cmd/holdfast")
	build.Dir = src
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the older host: %v\n%s", err, out)
	}
	return bin
}

// TestOldKeeperNewHost: agents that an earlier version's keepers hold go on
// under this version, and this version's keepers under the earlier one, in the
// middle of an answer.
func TestOldKeeperNewHost(t *testing.T) {
	long(t)
	t.Parallel()
	old := olderHost(t)
	for name, bin := range map[string][2]string{"upgrade": {old, bins.host}, "downgrade": {bins.host, old}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, nil, "")
			w.bin = bin[0]
			w.start()
			s := w.newSession()
			f := w.follow(s.ID, "")
			text, want := stream(300, "10ms", 51)
			a := w.send(s.ID, text)
			w.until("some text", 10*time.Second, func() bool { return len(f.text(a.Run)) > 200 })
			w.kill()
			w.bin = bin[1]
			w.start()
			if reason := w.ended(s.ID, a.Run); reason != "end_turn" {
				t.Fatalf("ended by %q", reason)
			}
			if got := w.said(s.ID, a.Run); got != want {
				t.Fatalf("said\n%q, want\n%q", got, want)
			}
			w.until("the stream", 5*time.Second, func() bool { return f.text(a.Run) == want })
			f.gapless(t)
			if n := len(w.heard("session/prompt")); n != 1 {
				t.Errorf("the agent heard %d prompts", n)
			}
			// The same agent takes the next prompt, its approval and its end.
			b := w.send(s.ID, "ask Run it?\nsay done")
			p := w.pending(s.ID)
			w.must("POST", "/api/v1/approvals/"+p.ID, map[string]string{"option": p.Options[0].ID}, nil)
			if reason := w.ended(s.ID, b.Run); reason != "end_turn" {
				t.Fatalf("ended by %q", reason)
			}
			w.endAgent(s.ID)
			w.until("no process of it", 10*time.Second, func() bool { return len(w.marked()) == 0 })
			w.whole(s.ID)
		})
	}
}
