package e2e

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// The same on a real disk that is small.
func TestLedgerKeepsASmallDisk(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil, "")
	config, err := os.ReadFile(filepath.Join(w.home, "config.toml"))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", w.home, "tmpfs", 0, "size=260m,mode=0700"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("mount a small disk: %v", err)
		}
		t.Skipf("NOT TESTED: a small disk needs the right to mount: %v", err)
	}
	w.after = func() {
		if err := detach(w.home); err != nil {
			t.Error(err)
		}
	}
	if err := os.WriteFile(filepath.Join(w.home, "config.toml"), config, 0o600); err != nil {
		t.Fatal(err)
	}
	w.start(quick)
	ballast := filepath.Join(w.home, "ballast")
	w.readOnly(func() {
		if err := os.WriteFile(ballast, make([]byte, 100<<20), 0o600); err != nil {
			t.Error(err)
		}
	}, func() {
		if err := os.Remove(ballast); err != nil {
			t.Error(err)
		}
	})
}
