package obs

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestFileOnAFullDisk mounts a small disk, fills it, and makes room again.
func TestFileOnAFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=64k"); err != nil {
		t.Skipf("no file system can be mounted here: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	path := filepath.Join(dir, "holdfast.log")
	f, err := OpenFile(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 40<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	line := []byte(strings.Repeat("x", 999) + "\n")
	failed := 0
	for range 60 {
		if _, err := f.Write(line); err != nil {
			failed++
		}
	}
	if failed == 0 {
		t.Fatal("the disk did not become full")
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write([]byte("back\n")); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(text(t, path), "\n")
	if got := lines[len(lines)-2]; got != "back" {
		t.Errorf("the last line is %.40q", got)
	}
	if got := lines[len(lines)-3]; !strings.HasPrefix(got, "time=") || !strings.Contains(got, "no space left") || !strings.Contains(got, "count=") {
		t.Errorf("what was lost is not told: %.100q", got)
	}
}
