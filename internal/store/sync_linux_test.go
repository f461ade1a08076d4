package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// forbidSync makes every fsync and fdatasync of this process fail from now on,
// with a filter that the kernel runs on each system call.
func forbidSync() error {
	const (
		load   = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
		equal  = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
		answer = unix.BPF_RET | unix.BPF_K
	)
	filter := []unix.SockFilter{
		{Code: load, K: 0}, // seccomp_data.nr
		{Code: equal, K: unix.SYS_FSYNC, Jt: 2},
		{Code: equal, K: unix.SYS_FDATASYNC, Jt: 1},
		{Code: answer, K: 0x7fff0000},                    // SECCOMP_RET_ALLOW
		{Code: answer, K: 0x00050000 | uint32(unix.EIO)}, // SECCOMP_RET_ERRNO
	}
	prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	// All threads: SECCOMP_FILTER_FLAG_TSYNC.
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, 1, 1, uintptr(unsafe.Pointer(&prog)))
	if errno != 0 {
		return errno
	}
	return nil
}

// withoutSync is the child of TestOnlyDurableSyncs.
func withoutSync(path string) error {
	s, err := Open(context.Background(), Options{Path: path, BootID: "boot"})
	if err != nil {
		return err
	}
	put := func(d Durability) error {
		return s.Update(d, func(tx *Tx) error { return tx.exec("INSERT OR REPLACE INTO settings VALUES ('a', 'b')") })
	}
	for i := range 50 {
		if err := put(Durability(i % 2)); err != nil {
			return err
		}
	}
	if err := forbidSync(); err != nil {
		return fmt.Errorf("install filter: %w", err)
	}
	for i := range 100 {
		if err := put(Relaxed); err != nil {
			return fmt.Errorf("relaxed update %d waits for the disk: %w", i, err)
		}
	}
	if err := put(Durable); !errors.Is(err, ErrCommit) {
		return fmt.Errorf("a durable update does not wait for the disk: %v", err)
	}
	return nil
}

func TestOnlyDurableSyncs(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), "STORE_TEST_SYNC="+filepath.Join(t.TempDir(), "holdfast.db"))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
