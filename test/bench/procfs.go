package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// errUnsupported is what figures of a process end in where there is no /proc.
var errUnsupported = errors.New("not known on this system")

// usage is a process's memory in MB (10⁶ bytes).
type usage struct{ rss, anonymous float64 }

func memoryOf(pid int) (usage, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return usage{}, fmt.Errorf("memory: %w: %w", errUnsupported, err)
	}
	var u usage
	for line := range strings.Lines(string(data)) {
		var kib float64
		if _, err := fmt.Sscanf(line, "VmRSS: %f kB", &kib); err == nil {
			u.rss = kib * 1024 / 1e6
		}
		if _, err := fmt.Sscanf(line, "RssAnon: %f kB", &kib); err == nil {
			u.anonymous = kib * 1024 / 1e6
		}
	}
	return u, nil
}

// written is what a process has written, in bytes: pages that it made dirty on
// disks, and all that it handed to write calls.
type written struct{ disk, calls int64 }

func writtenBy(pid int) (written, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/io", pid))
	if err != nil {
		return written{}, fmt.Errorf("bytes written: %w: %w", errUnsupported, err)
	}
	var w written
	for line := range strings.Lines(string(data)) {
		_, _ = fmt.Sscanf(line, "write_bytes: %d", &w.disk)
		_, _ = fmt.Sscanf(line, "wchar: %d", &w.calls)
	}
	return w, nil
}

// cpuOf returns the time that a process's threads have run. Unlike the time on
// the wall it says little about who else was busy.
func cpuOf(pid int) (time.Duration, error) {
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	if err != nil || len(files) == 0 {
		return 0, errors.Join(fmt.Errorf("time of process: %w", errUnsupported), err)
	}
	var sum time.Duration
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			continue // the thread has ended
		}
		var ran int64
		_, _ = fmt.Sscan(string(data), &ran)
		sum += time.Duration(ran)
	}
	return sum, nil
}
