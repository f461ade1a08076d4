// Command agent is a scripted ACP agent for tests. What it does is in the
// prompt: one step a line (see steps.go). A prompt that is no script is said
// back word by word.
//
// How it behaves as a program comes from the environment, SCRIPT_AGENT_…:
//
//	LOG=FILE      append "PID start", "PID <line>" for each line received, "PID eof"
//	STATE=DIR     keep sessions there, so that another process can load them
//	CAPS=LIST     load, resume, both with a comma, or none; default load
//	LOAD=HOW      what session/load does: replay (default), ok (no replay),
//	              empty (an empty result for whatever id), fail (-32002)
//	LOGIN=1|FILE  session/new fails with -32000; with a path, until that file
//	              exists, which authenticate creates
//	MODES=1|many  sessions have modes, models and config options; many models,
//	              and more options than a row has room for
//	STARTUP_DELAY=D  wait before reading
//	STARTUP_SAYS=TEXT  print that on stderr, and a banner on stdout, before the wait
//	STARTUP_UNTIL=FILE  wait, before reading, until that file exists
//	IGNORE_EOF=1  live on when stdin closes
//	IGNORE_TERM=1 live on at SIGTERM
//	EXPIRE=D      a permission ends by itself, as denied, and says nothing
//	HELPER=1      start a helper process in the same group
//	EARLY_UPDATE=1  send an update before the answer to session/new
//	NO_CANCEL_UNTIL_ANSWER=1  a cancelled turn waits for its open permission
//	STEER=1       it can be steered (see steer.go)
//	BAD_INIT=1    answer with protocol version 99
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/holdfast-dev/holdfast/internal/acp"
)

func main() {
	// Children are this program again, so that tests need no other.
	if len(os.Args) > 2 && os.Args[1] == "sleeper" {
		time.Sleep(15 * time.Minute)
		return
	}
	if len(os.Args) > 2 && os.Args[1] == "orphan" {
		pid, err := spawn(os.Args[2], true, false, os.Environ())
		if err != nil {
			os.Exit(1)
		}
		fmt.Println(pid)
		return
	}
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "agent:", err)
		os.Exit(1)
	}
}

func env(name string) string { return os.Getenv("SCRIPT_AGENT_" + name) }

func run() error {
	log, err := openLog(env("LOG"))
	if err != nil {
		return err
	}
	defer log.close()
	log.line("start")
	if text := env("STARTUP_SAYS"); text != "" {
		fmt.Println("scripted agent, a banner")
		fmt.Fprintln(os.Stderr, text)
	}
	if d, err := time.ParseDuration(env("STARTUP_DELAY")); err == nil {
		time.Sleep(d)
	}
	for file := env("STARTUP_UNTIL"); file != ""; time.Sleep(20 * time.Millisecond) {
		if _, err := os.Stat(file); err == nil {
			break
		}
	}
	if env("IGNORE_TERM") != "" {
		signal.Ignore(syscall.SIGTERM)
	}
	var helper int
	if env("HELPER") != "" {
		if helper, err = spawn("helper", false, false, os.Environ()); err != nil {
			return err
		}
	}
	in := &input{r: os.Stdin, log: log}
	in.ignoreEOF.Store(env("IGNORE_EOF") != "")
	out := &output{w: os.Stdout}
	a, err := newAgent(acp.NewConn(in, out), in, out, helper)
	if err != nil {
		return err
	}
	return a.conn.Serve(context.Background(), a.handle)
}

var (
	_ io.Reader = (*input)(nil)
	_ io.Writer = (*output)(nil)
)
