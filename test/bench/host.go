package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/holdfast-dev/holdfast/internal/proc"
	"github.com/holdfast-dev/holdfast/internal/store"
)

// world is one state folder with the host that serves it.
type world struct {
	b     *bench
	home  string
	work  string // the sessions' folder
	user  string // the home folder of the host's user: an empty one
	addr  string
	token string
	http  *http.Client
	host  *server
	sent  int
}

// server is a process that answers /health.
type server struct {
	cmd     *exec.Cmd
	addr    string
	began   time.Time // just before its exec
	healthy time.Duration
	out     bytes.Buffer // read only after done
	done    chan struct{}
}

// newWorld makes a state folder. The caller closes it.
func (b *bench) newWorld() (*world, error) {
	dir, err := os.MkdirTemp(b.dir, b.part)
	if err != nil {
		return nil, err
	}
	w := &world{
		b: b, home: filepath.Join(dir, "home"), work: filepath.Join(dir, "work"), user: filepath.Join(dir, "user"),
		http: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 16}},
	}
	for _, d := range []string{w.home, w.work, w.user} {
		if err := os.Mkdir(d, 0o700); err != nil {
			return nil, err
		}
	}
	config := fmt.Sprintf("log_level = \"warn\"\n\n[agents.script]\nname = \"Script\"\ncommand = [%q]\n", b.bins.agent)
	if err := os.WriteFile(filepath.Join(w.home, "config.toml"), []byte(config), 0o600); err != nil {
		return nil, err
	}
	if w.addr, err = freeAddr(); err != nil {
		return nil, err
	}
	return w, nil
}

// freeAddr returns a loopback address that nobody listens on.
func freeAddr() (string, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer ln.Close()
	return ln.Addr().String(), nil
}

func (w *world) environ() []string {
	return append(os.Environ(), "HOLDFAST_HOME="+w.home, "HOME="+w.user, "SHELL=/bin/sh")
}

// start runs the host until it is healthy.
func (w *world) start(ctx context.Context) error {
	cmd := exec.Command(w.b.bins.host, "serve", "--addr", w.addr, "--home", w.home)
	cmd.Env = w.environ()
	s, err := launch(cmd, w.addr)
	if err != nil {
		return err
	}
	w.host = s
	if err := s.awaitHealthy(ctx); err != nil {
		return err
	}
	if w.token == "" {
		out, err := w.cli(ctx, "token", "create", "--name", "bench")
		if err != nil {
			return err
		}
		w.token = strings.TrimSpace(out)
	}
	return nil
}

// startWorld makes a state folder and runs its host.
func (b *bench) startWorld(ctx context.Context) (*world, error) {
	w, err := b.newWorld()
	if err != nil {
		return nil, err
	}
	if err := w.start(ctx); err != nil {
		w.close()
		return nil, err
	}
	return w, nil
}

func launch(cmd *exec.Cmd, addr string) (*server, error) {
	s := &server{cmd: cmd, addr: addr, done: make(chan struct{}), began: time.Now()}
	cmd.Stdout, cmd.Stderr = &s.out, &s.out
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", filepath.Base(cmd.Path), err)
	}
	go func() {
		_ = cmd.Wait()
		close(s.done)
	}()
	return s, nil
}

// awaitHealthy notes when /health answered 200. It looks every 200 µs, which
// bounds how fine the figure is.
func (s *server) awaitHealthy(ctx context.Context) error {
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	for deadline := s.began.Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(200 * time.Microsecond) {
		resp, err := client.Get("http://" + s.addr + "/health")
		if err == nil {
			_, _ = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				s.healthy = time.Since(s.began)
				return nil
			}
		}
		select {
		case <-s.done:
			return fmt.Errorf("%s ended before it was healthy: %s", filepath.Base(s.cmd.Path), s.out.String())
		case <-ctx.Done():
			return ctx.Err()
		default:
		}
	}
	return errors.New("not healthy within 20 s")
}

// kill is kill -9.
func (s *server) kill() {
	_ = s.cmd.Process.Kill()
	<-s.done
}

// stop asks it to end, and kills it where it does not.
func (s *server) stop() {
	if s.cmd.Process.Signal(os.Interrupt) == nil {
		select {
		case <-s.done:
			return
		case <-time.After(10 * time.Second):
		}
	}
	s.kill()
}

func (s *server) pid() int { return s.cmd.Process.Pid }

// close ends the host, the keepers and the agents, and removes the folder.
func (w *world) close() {
	w.http.CloseIdleConnections()
	if w.host != nil {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		_, _ = w.cli(ctx, "stop", "--all")
		cancel()
		w.host.stop()
	}
	for _, k := range w.marked() { // of a host that was dead
		if p, err := os.FindProcess(k.PID); err == nil {
			_ = p.Kill()
		}
	}
	_ = os.RemoveAll(filepath.Dir(w.home))
}

// marked lists the keepers and agents of the state folder.
func (w *world) marked() []proc.Info {
	all, err := proc.All()
	if err != nil {
		return nil
	}
	var found []proc.Info
	for _, p := range all {
		env, err := proc.Environ(p.PID)
		if err != nil {
			continue
		}
		for _, kv := range env {
			if strings.HasPrefix(kv, proc.MarkVar+"="+w.home+":") {
				found = append(found, p)
				break
			}
		}
	}
	return found
}

// cli runs a command against the state folder and returns its standard output.
func (w *world) cli(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, w.b.bins.host, append(args, "--home", w.home)...)
	cmd.Env = w.environ()
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("holdfast %s: %w: %s", strings.Join(args, " "), err, stderr.String())
	}
	return string(out), nil
}

// call makes a request, reads its JSON answer into out, and returns how long
// that took up to the last byte.
func (w *world) call(ctx context.Context, method, path string, in, out any) (time.Duration, error) {
	var body []byte
	if in != nil {
		var err error
		if body, err = json.Marshal(in); err != nil {
			return 0, err
		}
	}
	took, data, err := fetch(ctx, w.http, method, "http://"+w.addr+path, w.token, body)
	if err != nil || out == nil {
		return took, err
	}
	return took, json.Unmarshal(data, out)
}

func fetch(ctx context.Context, client *http.Client, method, url, token string, body []byte) (time.Duration, []byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	start := time.Now()
	resp, err := client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	took := time.Since(start)
	if err != nil {
		return 0, nil, err
	}
	if resp.StatusCode >= 300 {
		return 0, nil, fmt.Errorf("%s %s: %s: %.300s", method, url, resp.Status, data)
	}
	return took, data, nil
}

// newSession makes a session with the scripted agent.
func (w *world) newSession(ctx context.Context) (string, error) {
	var s struct{ ID string }
	_, err := w.call(ctx, "POST", "/api/v1/sessions", map[string]any{"agent": "script", "cwd": w.work}, &s)
	return s.ID, err
}

// send sends a message and returns its run, and how long the answer took.
func (w *world) send(ctx context.Context, session, text string) (run string, took time.Duration, err error) {
	w.sent++
	var a struct{ Run string }
	took, err = w.call(ctx, "POST", "/api/v1/sessions/"+session+"/messages",
		map[string]any{"client_id": "m" + strconv.Itoa(w.sent), "text": text}, &a)
	return a.Run, took, err
}

// crowd makes n sessions and has each agent live: it has answered once.
func (w *world) crowd(ctx context.Context, n int) ([]string, error) {
	var sessions []string
	for range n {
		id, err := w.newSession(ctx)
		if err != nil {
			return nil, err
		}
		sessions = append(sessions, id)
	}
	f := w.follow(sessions...)
	defer f.close()
	if err := f.open(ctx); err != nil {
		return nil, err
	}
	for _, id := range sessions {
		run, _, err := w.send(ctx, id, "say ready")
		if err != nil {
			return nil, err
		}
		if err := f.ended(ctx, run); err != nil {
			return nil, err
		}
	}
	return sessions, nil
}

// fill opens the store of a host that does not run and calls fn.
func (w *world) fill(ctx context.Context, fn func(*store.Store) error) error {
	boot, err := proc.BootID()
	if err != nil {
		return err
	}
	st, err := store.Open(ctx, store.Options{Path: filepath.Join(w.home, "holdfast.db"), BootID: boot})
	if err != nil {
		return err
	}
	return errors.Join(fn(st), st.Close())
}
