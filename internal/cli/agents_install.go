package cli

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/holdfast-dev/holdfast/internal/agent"
	"github.com/holdfast-dev/holdfast/internal/config"
	"github.com/holdfast-dev/holdfast/internal/proc"
)

// offerAgents looks for agents and, where there is none, shows how each is
// installed and offers to do it. A failure to install is told and is no reason
// not to start. An error means that a person wants no more.
func (c *upCmd) offerAgents(ctx context.Context, a *app, cfg *config.Config) error {
	asks := a.interactive() && isTerminal(a.In)
	if c.SkipAgentInstall || !asks && !c.Yes {
		return nil
	}
	have, err := a.agents(ctx, cfg)
	if err != nil || len(have) > 0 || ctx.Err() != nil {
		return errors.Join(err, ctx.Err())
	}
	ways := agent.Ways()
	a.printf("No agent was found on this machine. The page's tour works without one. How each is installed:\n\n")
	w := tabwriter.NewWriter(a.Out, 0, 4, 2, ' ', 0)
	var offered []agent.Way
	for _, way := range ways {
		number := ""
		if way.Command != "" {
			offered = append(offered, way)
			number = strconv.Itoa(len(offered))
		}
		fmt.Fprintf(w, "  %s\t%s\t%s\n", number, way.Name, cmp.Or(way.Command, way.Page))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	a.printf("\n")
	way := offered[0]
	if !c.Yes {
		var ok bool
		if way, ok, err = a.choose(ctx, offered); err != nil || !ok {
			return err
		}
	}
	return a.install(ctx, cfg, way)
}

// agents lists the names of those that are there, the tour aside.
func (a *app) agents(ctx context.Context, cfg *config.Config) (names []string, err error) {
	wait := a.progress("Looking for agents")
	defer wait.stop()
	cat := agent.New(agent.Options{Configured: cfg.Agents, Home: a.UserHome, Env: a.Env})
	defer func() { err = errors.Join(err, cat.Close()) }()
	for _, f := range cat.List(ctx) {
		if f.Ready {
			names = append(names, f.Name)
		}
	}
	return names, nil
}

// choose asks for one of the ways, and for a yes to what it runs.
func (a *app) choose(ctx context.Context, ways []agent.Way) (agent.Way, bool, error) {
	in := bufio.NewReader(a.In)
	for {
		text, err := a.ask(ctx, in, "Install one now? Its number, or Enter for none: ")
		if err != nil || text == "" || strings.EqualFold(text, "n") || strings.EqualFold(text, "no") {
			return agent.Way{}, false, err
		}
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > len(ways) {
			a.printf("Type a number from 1 to %d, or only Enter.\n", len(ways))
			continue
		}
		way := ways[n-1]
		a.printf("\nThis runs, as you:\n\n  %s\n\nMore about it: %s\n", way.Command, way.Page)
		text, err = a.ask(ctx, in, "Run it? Type yes: ")
		if err != nil || !slices.Contains([]string{"yes", "y"}, strings.ToLower(text)) {
			return agent.Way{}, false, err
		}
		return way, true, nil
	}
}

// ask reads one line; at the end of the input it is "". A read of a terminal
// cannot be broken off: after ctx its goroutine ends with the process.
func (a *app) ask(ctx context.Context, in *bufio.Reader, question string) (string, error) {
	a.printf("%s", question)
	line := make(chan string, 1)
	go func() {
		text, _ := in.ReadString('\n')
		line <- strings.TrimSpace(text)
	}()
	select {
	case text := <-line:
		return text, nil
	case <-ctx.Done():
		a.printf("\n")
		return "", failf("nothing was started")
	}
}

// install runs the command, whose output a person sees, and tells how it went.
func (a *app) install(ctx context.Context, cfg *config.Config, way agent.Way) error {
	if tool, from := lacking(way.Command); tool != "" {
		a.notef("%s cannot be installed: its command needs %s, which is not here. %s\n", way.Name, tool, from)
		return nil
	}
	a.printf("Installing %s; Ctrl-C breaks it off.\n\n", way.Name)
	err := a.shell(ctx, way.Command)
	a.printf("\n")
	if ctx.Err() != nil {
		return failf("the installation of %s was broken off, and nothing was started. Start without it: holdfast up --skip-agent-install", way.Name)
	}
	if err != nil {
		a.notef("%s was not installed: %v. The host starts without it; what to do is in the output above, or at %s\n", way.Name, err, way.Page)
		return nil
	}
	names, err := a.agents(ctx, cfg)
	switch {
	case err != nil:
		return err
	case slices.Contains(names, way.Name):
		a.printf("%s is installed.\n", way.Name)
	default:
		a.notef("The installation of %s ended well, and it is not found yet. `holdfast agents` tells what is missing.\n", way.Name)
	}
	return nil
}

// lacking names the program that a command of the catalogue begins with and
// this machine has not, and what to do about it.
func lacking(command string) (tool, remedy string) {
	if runtime.GOOS == "windows" {
		return "a POSIX shell", "Install it by hand."
	}
	name, _, _ := strings.Cut(command, " ")
	if _, err := exec.LookPath(name); err == nil {
		return "", ""
	}
	if name == "npm" {
		return name, "Install Node.js first: https://nodejs.org"
	}
	return name, "Install " + name + " first."
}

// shell runs a line in a shell, in this terminal. When ctx ends, all that it
// started is asked to end.
func (a *app) shell(ctx context.Context, line string) error {
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", line)
	cmd.Env, cmd.Dir = a.Env, a.UserHome
	cmd.Stdout, cmd.Stderr = a.Out, a.Err
	if f, ok := a.In.(*os.File); ok && isTerminal(f) {
		cmd.Stdin = f // an installer may ask
	}
	cmd.Cancel = func() error {
		tree, err := proc.Tree(cmd.Process.Pid)
		for _, p := range tree {
			_ = proc.Signal(p.ID, syscall.SIGTERM)
		}
		return errors.Join(err, cmd.Process.Signal(syscall.SIGTERM))
	}
	cmd.WaitDelay = 5 * time.Second
	return cmd.Run()
}
