package awake

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// stand is a program that stands for caffeinate: it does what its manual says
// about a command, which lives as long as its standard input.
func stand(t *testing.T, script string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "caffeinate")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

const honest = `[ "$1" = -i ] || exit 9; shift; "$@"`

func TestMain(m *testing.M) {
	if child() {
		return
	}
	goleak.VerifyTestMain(m)
}

const childVar = "AWAKE_TEST_CAFFEINATE"

// child is the test binary as a process that holds and says which child does.
func child() bool {
	name := os.Getenv(childVar)
	if name == "" {
		return false
	}
	h, err := caffeinate(context.Background(), name)
	if err != nil {
		fmt.Println(err)
		return true
	}
	fmt.Println(h.(*caffeinated).cmd.Process.Pid)
	time.Sleep(time.Minute)
	return true
}

func awaitLost(t *testing.T, h hold) {
	t.Helper()
	select {
	case <-h.Lost():
	case <-time.After(10 * time.Second):
		t.Fatal("it still holds")
	}
}

func TestCaffeinate(t *testing.T) {
	name := stand(t, honest)
	before := descriptors(t)
	h, err := caffeinate(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	select {
	case <-h.Lost():
		t.Fatal("it did not hold")
	case <-time.After(200 * time.Millisecond):
	}
	if err := h.Close(); err != nil {
		t.Error(err)
	}
	awaitLost(t, h)
	if n := descriptors(t); n != before {
		t.Errorf("%d descriptors, %d before", n, before)
	}

	if _, err := caffeinate(t.Context(), name+"-absent"); err == nil {
		t.Error("an absent program was started")
	}
	if n := descriptors(t); n != before {
		t.Errorf("%d descriptors after a start that failed, %d before", n, before)
	}
}

func TestCaffeinateIsKilled(t *testing.T) {
	h, err := caffeinate(t.Context(), stand(t, honest))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(-h.(*caffeinated).cmd.Process.Pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	awaitLost(t, h)
	if err := h.Close(); err != nil {
		t.Error(err)
	}
}

func TestCaffeinateThatDoesNotEnd(t *testing.T) {
	h, err := caffeinate(t.Context(), stand(t, "sleep 1000 & wait"))
	if err != nil {
		t.Fatal(err)
	}
	h.(*caffeinated).limit = 50 * time.Millisecond
	if err := h.Close(); err == nil {
		t.Error("its stubbornness is not told")
	}
	awaitLost(t, h)
	group := h.(*caffeinated).cmd.Process.Pid
	await(t, "the end of the whole group", func() bool { return !alive(group) })
}

// What holds the machine awake ends with the process that wanted it.
func TestCaffeinateEndsWithItsOwner(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), childVar+"="+stand(t, honest))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, readErr := bufio.NewReader(out).ReadString('\n')
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	group, err := strconv.Atoi(strings.TrimSpace(line))
	if readErr != nil || err != nil {
		t.Fatalf("the child said %q", line)
	}
	deadline := time.Now().Add(10 * time.Second)
	for alive(group) {
		if time.Now().After(deadline) {
			_ = syscall.Kill(-group, syscall.SIGKILL)
			t.Fatal("it outlives its owner")
		}
		time.Sleep(10 * time.Millisecond)
	}
}
