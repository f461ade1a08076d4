package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// logFile is what tests read to prove which lines came, and how often.
type logFile struct {
	f *os.File
}

func openLog(path string) (*logFile, error) {
	if path == "" {
		return &logFile{}, nil
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	return &logFile{f: f}, nil
}

// line appends in one write, because several agents may share the file.
func (l *logFile) line(text string) {
	if l.f != nil {
		_, _ = l.f.WriteString(fmt.Sprintf("%d %s\n", os.Getpid(), text))
	}
}

func (l *logFile) close() {
	if l.f != nil {
		_ = l.f.Close()
	}
}

// input logs each line before the agent acts on it.
type input struct {
	r         io.Reader
	log       *logFile
	part      []byte
	ignoreEOF atomic.Bool
}

func (in *input) Read(p []byte) (int, error) {
	n, err := in.r.Read(p)
	in.part = append(in.part, p[:n]...)
	for {
		i := bytes.IndexByte(in.part, '\n')
		if i < 0 {
			break
		}
		in.log.line(string(in.part[:i]))
		in.part = in.part[i+1:]
	}
	if n == 0 && err != nil {
		in.log.line("eof")
		for in.ignoreEOF.Load() {
			time.Sleep(time.Hour)
		}
	}
	return n, err
}

// output lets a step hold back the rest of a line.
type output struct {
	mu sync.Mutex
	w  io.Writer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.w.Write(p)
}

// halves writes the first half of a line, calls between, and writes the rest;
// nothing else is written meanwhile.
func (o *output) halves(line []byte, between func()) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if _, err := o.w.Write(line[:len(line)/2]); err != nil {
		return err
	}
	between()
	_, err := o.w.Write(append(line[len(line)/2:], '\n'))
	return err
}

// spawn starts this program again as a sleeping child without our pipes, and
// returns its pid. A child in a session of its own may also be an orphan: it
// has then another parent by the time that spawn returns.
func spawn(name string, session, orphan bool, environ []string) (int, error) {
	self, err := os.Executable()
	if err != nil {
		return 0, fmt.Errorf("find own program: %w", err)
	}
	role := "sleeper"
	if orphan {
		role = "orphan"
	}
	cmd := exec.Command(self, role, name)
	cmd.Env = environ
	if orphan {
		out, err := cmd.Output()
		if err != nil {
			return 0, fmt.Errorf("start %s: %w", role, err)
		}
		return strconv.Atoi(strings.TrimSpace(string(out)))
	}
	if session {
		if cmd.SysProcAttr = ownSession(); cmd.SysProcAttr == nil {
			return 0, errors.New("start in a session of its own: not on this system")
		}
	}
	if err := cmd.Start(); err != nil {
		return 0, fmt.Errorf("start %s: %w", role, err)
	}
	go func() { _ = cmd.Wait() }() // no zombie; ends with the child or with us
	return cmd.Process.Pid, nil
}
