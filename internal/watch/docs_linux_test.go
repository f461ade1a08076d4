package watch

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast/internal/proc"
)

func document(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../docs/watch.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestRecipes: the shell and the plist of the document can be read by those
// who are to read them.
func TestRecipes(t *testing.T) {
	text := document(t)
	scripts := regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(text, -1)
	if len(scripts) < 5 {
		t.Errorf("%d scripts", len(scripts))
	}
	for _, s := range scripts {
		cmd := exec.Command("sh", "-n")
		cmd.Stdin = strings.NewReader(s[1])
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v %s\n%s", err, out, s[1])
		}
	}
	plists := regexp.MustCompile("(?s)```xml\n(.*?)```").FindAllStringSubmatch(text, -1)
	if len(plists) != 1 {
		t.Fatalf("%d plists", len(plists))
	}
	d := xml.NewDecoder(strings.NewReader(plists[0][1]))
	for {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

// TestFiveLines runs the script of the document against the server that leaks.
func TestFiveLines(t *testing.T) {
	t.Parallel()
	need(t, "lsof")
	need(t, "curl")
	m := regexp.MustCompile("(?s)<!-- tested by internal/watch -->\n```sh\n(.*?)```").FindStringSubmatch(document(t))
	if m == nil {
		t.Fatal("the document has no such script")
	}
	s := start(t, "leak")
	head := "port=8787 max=200"
	if !strings.HasPrefix(m[1], head) || strings.Count(m[1], "\n") != 5 {
		t.Fatalf("the script is another one:\n%s", m[1])
	}
	script := filepath.Join(t.TempDir(), "five.sh")
	text := strings.Replace(m[1], head, "port="+strconv.Itoa(s.port)+" max=60", 1)
	if err := os.WriteFile(script, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("sh", script).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("of a healthy one: %v %s", err, out)
	}
	for range 30 {
		s.get("/")
	}
	if out, err := exec.Command("sh", script).CombinedOutput(); err == nil || !strings.Contains(string(out), "descriptors") {
		t.Errorf("of one that leaked: %v %s", err, out)
	}
	_ = s.cmd.Wait()
	for deadline := time.Now().Add(10 * time.Second); proc.Alive(s.id); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it was not ended")
		}
	}
	if out, err := exec.Command("sh", script).CombinedOutput(); err == nil || !strings.Contains(string(out), "no answer") {
		t.Errorf("of none: %v %s", err, out)
	}
}
