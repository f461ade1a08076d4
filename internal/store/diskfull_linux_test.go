package store

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestDiskFull(t *testing.T) {
	folder := t.TempDir()
	if err := syscall.Mount("tmpfs", folder, "tmpfs", 0, "size=8m"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("mount a small disk: %v", err)
		}
		t.Skipf("NOT TESTED: a full disk needs the right to mount: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(folder, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	s := openAt(t, filepath.Join(folder, "holdfast.db"))
	session := newSession(t, s)
	ballast := filepath.Join(folder, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 5<<20), 0o600); err != nil {
		t.Fatal(err)
	}

	text := strings.Repeat("x", 30<<10)
	write := func(n int) error {
		return s.Update(Durable, func(tx *Tx) error {
			_, err := tx.Append(session, "", NoticeGiven, NoticeBody{Item: session + number(n), Text: text})
			return err
		})
	}
	written := 0
	var err error
	for err == nil && written < 500 {
		if err = write(written); err == nil {
			written++
		}
	}
	if !errors.Is(err, ErrDiskFull) || !errors.Is(err, ErrCommit) {
		t.Fatalf("after %d notices: %v", written, err)
	}
	for range 3 {
		if err := write(written); !errors.Is(err, ErrDiskFull) {
			t.Fatalf("while the disk is full: %v", err)
		}
	}
	there := 0
	for _, ev := range allEvents(t, s, session) {
		if ev.Kind == NoticeGiven {
			there++
		}
	}
	if there != written {
		t.Errorf("%d notices are there, %d were acknowledged", there, written)
	}

	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	if err := write(written); err != nil {
		t.Fatalf("when there is space again: %v", err)
	}
	verified(t, s)
}
