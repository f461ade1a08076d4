package proc

import (
	"errors"
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// NoFile returns the soft and the hard limit of descriptors of a process,
// math.MaxUint64 where there is none.
func NoFile(pid int) (soft, hard uint64, err error) { return limit(pid, "Max open files") }

// NProc returns the soft and the hard limit of processes and threads of the
// process's user, math.MaxUint64 where there is none.
func NProc(pid int) (soft, hard uint64, err error) { return limit(pid, "Max processes") }

func limit(pid int, name string) (soft, hard uint64, err error) {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/limits")
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
		return 0, 0, ErrGone
	}
	if err != nil {
		return 0, 0, fmt.Errorf("read limits of process %d: %w", pid, err)
	}
	return parseLimit(string(text), name)
}

func parseLimit(text, name string) (soft, hard uint64, err error) {
	for line := range strings.Lines(text) {
		rest, ok := strings.CutPrefix(line, name)
		fields := strings.Fields(rest)
		if !ok || len(fields) < 2 {
			continue
		}
		number := func(s string) uint64 {
			if s == "unlimited" {
				return math.MaxUint64
			}
			n, err2 := strconv.ParseUint(s, 10, 64)
			err = errors.Join(err, err2)
			return n
		}
		soft, hard = number(fields[0]), number(fields[1])
		if err != nil {
			return 0, 0, fmt.Errorf("parse limits: %w", err)
		}
		return soft, hard, nil
	}
	return 0, 0, fmt.Errorf("parse limits: no line %q", name)
}

// Effort is how much a process works: what it computed, how long it waited for
// a processor, and how many of its threads wait for a disk (uninterruptibly)
// at this moment. Of a process that ends meanwhile it may be too little.
func Effort(pid int) (Work, error) {
	dir := "/proc/" + strconv.Itoa(pid) + "/task"
	tasks, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
		return Work{}, ErrGone
	}
	if err != nil {
		return Work{}, fmt.Errorf("list threads of process %d: %w", pid, err)
	}
	var w Work
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return Work{}, ErrGone
	}
	// Of the whole process, with threads that have ended.
	if f := afterName(string(stat)); len(f) > 12 {
		for _, s := range f[11:13] { // utime, stime
			n, _ := strconv.ParseInt(s, 10, 64)
			w.CPU += time.Duration(n) * (time.Second / ticksPerSecond)
		}
	}
	for _, t := range tasks {
		// Kernels may be built without it.
		if text, err := os.ReadFile(dir + "/" + t.Name() + "/schedstat"); err == nil {
			if f := strings.Fields(string(text)); len(f) >= 2 {
				n, _ := strconv.ParseInt(f[1], 10, 64)
				w.Waited += time.Duration(n)
			}
		}
		if text, err := os.ReadFile(dir + "/" + t.Name() + "/stat"); err == nil {
			if f := afterName(string(text)); len(f) > 0 && f[0] == "D" {
				w.Blocked++
			}
		}
	}
	return w, nil
}

// afterName returns the fields of a stat line that follow the name, which may
// hold spaces.
func afterName(stat string) []string {
	return strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
}
