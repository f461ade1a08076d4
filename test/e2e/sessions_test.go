package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

type hits struct {
	Hits []struct {
		Session, Item, Kind string
		Snippet             []struct {
			Text  string
			Match bool
		}
	}
	Behind int64
}

func (w *world) search(q string) hits {
	w.t.Helper()
	var h hits
	w.must("GET", "/api/v1/search?q="+q, nil, &h)
	return h
}

// TestTrashAndSearch: a session that is deleted in a run is gone from everywhere
// at once and through a kill, and comes back with all that was said.
func TestTrashAndSearch(t *testing.T) {
	w := newWorld(t, nil, "")
	w.start()
	s := w.newSession()
	first := w.send(s.ID, "say A hummingbird sings")
	w.ended(s.ID, first.Run)
	w.until("what was said is found", 20*time.Second, func() bool { return len(w.search("hummingbird").Hits) == 3 }) // message, answer, title
	// Each condition is the host's.
	w.must("POST", "/api/v1/sessions/bulk", map[string]any{"ids": []string{s.ID}, "action": "tag", "tag": "birds"}, nil)
	for query, want := range map[string]int{
		"&kind=title": 1, "&kind=said": 2, "&kind=run": 0, "&kind=user,title": 2, "&tag=birds": 3, "&tag=fish": 0,
		"&agent=script": 3, "&agent=tour": 0, "&archived=true": 0, "&archived=false": 3, "&project=none": 0,
	} {
		if n := len(w.search("hummingbird" + query).Hits); n != want {
			t.Errorf("%s: %d hits, want %d", query, n, want)
		}
	}
	w.send(s.ID, "say one\nsleep 20s")
	queued := w.send(s.ID, "say never")
	w.must("DELETE", "/api/v1/sessions/"+s.ID, nil, nil)
	w.kill()
	w.start()
	if n := len(w.search("hummingbird").Hits); n != 0 {
		t.Errorf("%d hits in the trash", n)
	}
	w.refused(404, "not_found", "POST", "/api/v1/sessions/"+s.ID+"/messages", map[string]any{"client_id": "t", "text": "say x"})
	var list struct{ Sessions []sessionRow }
	w.must("GET", "/api/v1/sessions", nil, &list)
	if len(list.Sessions) != 0 {
		t.Errorf("listed: %+v", list.Sessions)
	}
	w.must("GET", "/api/v1/sessions?deleted=true", nil, &list)
	if len(list.Sessions) != 1 {
		t.Fatalf("in the trash: %+v", list.Sessions)
	}
	w.must("POST", "/api/v1/sessions/"+s.ID+"/restore", nil, nil)
	if n := len(w.search("hummingbird").Hits); n != 3 {
		t.Errorf("%d hits after it is back, want 3", n)
	}
	if got := w.said(s.ID, first.Run); got != "A hummingbird sings" {
		t.Errorf("it said %q", got)
	}
	if reason := w.ended(s.ID, queued.Run); reason != "cancelled" {
		t.Errorf("what waited ended by %q", reason)
	}
	again := w.send(s.ID, "say back")
	w.ended(s.ID, again.Run)
	w.until("what was said after is found", 20*time.Second, func() bool { return len(w.search("back").Hits) == 2 })
	w.whole(s.ID)
	w.must("DELETE", "/api/v1/sessions/"+s.ID+"?forever=true", nil, nil)
	w.refused(404, "not_found", "POST", "/api/v1/sessions/"+s.ID+"/restore", nil)
	w.cli("verify")
}

// TestQueueIsAPersons: what waits is edited, ordered and removed, through a
// kill, and the agent gets exactly that.
func TestQueueIsAPersons(t *testing.T) {
	w := newWorld(t, nil, "")
	w.start()
	s := w.newSession()
	now := w.send(s.ID, "say now\nsleep 3s")
	a, b, c := w.send(s.ID, "say a"), w.send(s.ID, "say b"), w.send(s.ID, "say c")
	where := "/api/v1/sessions/" + s.ID + "/queue"
	w.must("PATCH", where+"/"+a.Run, map[string]any{"text": "say edited"}, nil)
	w.must("PUT", where, map[string]any{"runs": []string{c.Run, b.Run, a.Run}}, nil)
	w.refused(409, "queue_changed", "PUT", where, map[string]any{"runs": []string{c.Run, b.Run}})
	w.refused(409, "queue_changed", "PUT", where, map[string]any{"runs": []string{c.Run, b.Run, b.Run}})
	w.must("DELETE", where+"/"+b.Run, nil, nil)
	w.refused(409, "not_queued", "DELETE", where+"/"+b.Run, nil)
	w.until("the first has begun", 20*time.Second, func() bool { return w.session(s.ID).AgentState == "busy" })
	w.refused(409, "not_queued", "PATCH", where+"/"+now.Run, map[string]any{"text": "say late"})
	w.kill()
	w.start()
	var q struct{ Queue []struct{ Run, Text string } }
	w.must("GET", where, nil, &q)
	if len(q.Queue) > 0 && (len(q.Queue) != 2 || q.Queue[0].Run != c.Run || q.Queue[1].Text != "say edited") {
		t.Errorf("after the kill: %+v", q.Queue)
	}
	w.ended(s.ID, a.Run)
	var texts []string
	for _, line := range w.heard(`"session/prompt"`) {
		for _, text := range []string{"say now", "say a", "say b", "say c", "say edited"} {
			if strings.Contains(line, text) {
				texts = append(texts, text)
			}
		}
	}
	if want := []string{"say now", "say c", "say edited"}; !slices.Equal(texts, want) {
		t.Errorf("the agent got %q, want %q", texts, want)
	}
	w.whole(s.ID)
}

// TestOptionsAreKept: what a person chose reaches the agent once, is set again
// in its next life, and what it refuses is said and forgotten.
func TestOptionsAreKept(t *testing.T) {
	w := newWorld(t, agentEnv{"SCRIPT_AGENT_MODES": "1"}, "")
	w.start()
	s := w.newSession()
	w.ended(s.ID, w.send(s.ID, "say x").Run)
	where := "/api/v1/sessions/" + s.ID + "/options"
	w.refused(400, "unknown_option", "POST", where, map[string]any{"config": map[string]any{"model": "huge"}})
	w.refused(400, "unknown_option", "POST", where, map[string]any{"mode": "yolo"})
	w.must("POST", where, map[string]any{"mode": "ask", "config": map[string]any{"model": "large", "verbose": true}}, nil)
	w.must("POST", where, map[string]any{"model": "large"}, nil) // which this agent has no method for
	w.ended(s.ID, w.send(s.ID, "say y").Run)
	options := func() string {
		var detail struct{ Options json.RawMessage }
		w.must("GET", "/api/v1/sessions/"+s.ID, nil, &detail)
		return string(detail.Options)
	}
	if o := options(); !strings.Contains(o, `"currentModeId":"ask"`) || !strings.Contains(o, `"chosen":{"mode":"ask","config":{`) {
		t.Errorf("options are %s", o)
	}
	if !slices.ContainsFunc(w.items(s.ID), func(it item) bool { return it.Body.Code == "option_refused" }) {
		t.Error("nothing says that the agent refused the model")
	}
	count := func(method string) int { return len(w.heard(`"` + method + `"`)) }
	if m, c := count("session/set_mode"), count("session/set_config_option"); m != 1 || c != 2 {
		t.Errorf("%d modes and %d options were set, want 1 and 2", m, c)
	}
	w.must("POST", "/api/v1/sessions/"+s.ID+"/agent/end", nil, nil)
	w.until("the agent has ended", 20*time.Second, func() bool { return w.session(s.ID).AgentState == "ended" })
	w.must("POST", where, map[string]any{"config": map[string]any{"verbose": false}}, nil) // while none runs
	w.kill()
	w.start()
	w.ended(s.ID, w.send(s.ID, "say z").Run)
	// The next life has its defaults again: verbose is false there by itself.
	if m, c := count("session/set_mode"), count("session/set_config_option"); m != 2 || c != 3 {
		t.Errorf("%d modes and %d options were set in two lives, want 2 and 3", m, c)
	}
	w.whole(s.ID)
}

// TestChosenBeforeTheAgentRuns: what was chosen with a session is set before the
// first prompt, once, wherever the host dies in between.
func TestChosenBeforeTheAgentRuns(t *testing.T) {
	t.Parallel()
	for _, place := range []string{"", "host.push.session/new=kill", "host.pushed.session/new=kill", "host.push.option=kill", "host.pushed.option=kill@2"} {
		t.Run("killed at "+place, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, agentEnv{"SCRIPT_AGENT_MODES": "1"}, "")
			if place == "" {
				w.start()
			} else {
				w.start(place)
			}
			in := map[string]any{"agent": w.agent, "cwd": w.work, "client_id": "mine", "mode": "ask", "config": map[string]any{"model": "large", "verbose": true}}
			var s sessionRow
			w.must("POST", "/api/v1/sessions", in, &s)
			if place == "" { // before anything has been sent
				w.kill()
				w.start()
				w.must("POST", "/api/v1/sessions", in, &s)
			}
			run := w.send(s.ID, "say x").Run
			if place != "" {
				w.until("the death of the host", 20*time.Second, w.dead)
				w.start()
			}
			if reason := w.ended(s.ID, run); reason != "end_turn" {
				t.Errorf("ended by %q", reason)
			}
			w.once("session/new", "session/prompt", "session/set_mode")
			var heard []string
			for _, line := range w.heard(`"method":"session/`) {
				var m struct {
					Method string
					Params struct{ ConfigID, ModeID string }
				}
				_ = json.Unmarshal([]byte(line[strings.IndexByte(line, '{'):]), &m)
				if m.Method != "session/update" {
					heard = append(heard, m.Method+" "+m.Params.ConfigID+m.Params.ModeID)
				}
			}
			// The model first: what else there is may depend on it.
			want := []string{"session/new ", "session/set_config_option model", "session/set_mode ask", "session/set_config_option verbose", "session/prompt "}
			if !slices.Equal(heard, want) {
				t.Errorf("the agent heard %q, want %q", heard, want)
			}
			if n := slices.IndexFunc(w.items(s.ID), func(it item) bool { return it.Body.Code != "" && it.Body.Code != "host_restarted" }); n >= 0 {
				t.Errorf("there is a notice: %+v", w.items(s.ID)[n])
			}
			w.whole(s.ID)
		})
	}
}

// TestChosenThatIsNotOffered: the first message is sent all the same, and the
// session says once what was not set and what it uses. What an agent offers is
// known from its newest session.
func TestChosenThatIsNotOffered(t *testing.T) {
	t.Parallel()
	w := newWorld(t, agentEnv{"SCRIPT_AGENT_MODES": "1"}, "")
	w.start()
	offers := func() (got struct{ Modes, Models, Config, Commands json.RawMessage }) {
		w.must("GET", "/api/v1/agents/"+w.agent+"/options", nil, &got)
		return got
	}
	if o := offers(); o.Modes != nil || o.Models != nil || o.Config != nil {
		t.Errorf("an agent that never ran offers %s", o)
	}
	in := map[string]any{"agent": w.agent, "cwd": w.work, "mode": "yolo", "model": "large", "config": map[string]any{"model": "huge", "lost": true}}
	w.refused(400, "bad_request", "POST", "/api/v1/sessions", map[string]any{"agent": w.agent, "cwd": w.work, "config": map[string]any{"verbose": 1}})
	w.refused(422, "invalid_request", "POST", "/api/v1/sessions", map[string]any{"agent": w.agent, "cwd": w.work, "mode": strings.Repeat("m", 501)})
	var s sessionRow
	w.must("POST", "/api/v1/sessions", in, &s)
	if o := offers(); o.Config != nil {
		t.Errorf("an agent that never ran offers %s", o)
	}
	if reason := w.ended(s.ID, w.send(s.ID, "commands web\nsay x").Run); reason != "end_turn" {
		t.Errorf("ended by %q", reason)
	}
	w.endAgent(s.ID)
	w.ended(s.ID, w.send(s.ID, "say y").Run)
	var said []string
	for _, it := range w.items(s.ID) {
		if strings.HasPrefix(it.Body.Code, "option_") {
			said = append(said, it.Body.Code+": "+it.Body.Text)
		}
	}
	slices.Sort(said)
	want := []string{
		`option_refused: The model was not set to "Large": the agent refused. It uses "Small".`,
		`option_unavailable: The mode was not set to "yolo": the agent does not offer that. It uses "Default".`,
		`option_unavailable: The model was not set to "huge": the agent does not offer that. It uses "Small".`,
		`option_unavailable: The option "lost" was not set to "on": the agent does not offer that. It goes on as it was.`,
	}
	if !slices.Equal(said, want) {
		t.Errorf("the session says\n%s\nwant\n%s", strings.Join(said, "\n"), strings.Join(want, "\n"))
	}
	if o := offers(); !strings.Contains(string(o.Modes), `"ask"`) || !strings.Contains(string(o.Models), `"large"`) || !strings.Contains(string(o.Config), `"verbose"`) || !strings.Contains(string(o.Commands), `"web"`) {
		t.Errorf("the agent offers %s", o)
	}
	// A copy goes on with what was chosen.
	w.must("POST", "/api/v1/sessions/"+s.ID+"/options", map[string]any{"mode": "ask"}, nil)
	var fork sessionRow
	w.must("POST", "/api/v1/sessions/"+s.ID+"/fork", map[string]any{}, &fork)
	was := len(w.heard(`"session/set_mode"`))
	w.ended(fork.ID, w.send(fork.ID, "say z").Run)
	if n := len(w.heard(`"session/set_mode"`)) - was; n != 1 {
		t.Errorf("the copy set its mode %d times", n)
	}
	w.whole(s.ID)
	w.whole(fork.ID)
}

// TestRewindAndFork: a message is edited and run again, and a copy goes its own
// way; each agent is told of what is left and of nothing else. Kills in between
// lose and double nothing.
func TestRewindAndFork(t *testing.T) {
	w := newWorld(t, nil, "")
	w.start()
	s := w.newSession()
	messages := "/api/v1/sessions/" + s.ID + "/messages"
	one := w.send(s.ID, "say the first answer")
	w.ended(s.ID, one.Run)
	two := w.send(s.ID, "say the second answer")
	w.ended(s.ID, two.Run)
	busy := w.send(s.ID, "say third\nsleep 20s")
	w.until("it runs", 20*time.Second, func() bool { return w.session(s.ID).AgentState == "busy" })
	w.refused(409, "session_busy", "POST", "/api/v1/sessions/"+s.ID+"/rewind", map[string]any{"item": two.Item})
	w.must("POST", "/api/v1/sessions/"+s.ID+"/cancel", map[string]any{"run": busy.Run}, nil)
	w.ended(s.ID, busy.Run)

	var fork sessionRow
	in := map[string]any{"item": two.Item, "client_id": "fork"}
	w.must("POST", "/api/v1/sessions/"+s.ID+"/fork", in, &fork)
	var same sessionRow
	w.must("POST", "/api/v1/sessions/"+s.ID+"/fork", in, &same)
	if same.ID != fork.ID || fork.ID == s.ID {
		t.Errorf("forked to %s, then to %s", fork.ID, same.ID)
	}

	edited := map[string]any{"client_id": "edited", "text": "say the edited answer", "rewind": two.Item}
	var acc, again accepted
	w.must("POST", messages, edited, &acc)
	w.kill()
	w.start()
	w.must("POST", messages, edited, &again)
	if again.Item != acc.Item {
		t.Error("repeated after a kill it is another message")
	}
	if reason := w.ended(s.ID, acc.Run); reason != "end_turn" {
		t.Errorf("ended by %q", reason)
	}
	var texts []string
	for _, it := range w.items(s.ID) {
		if it.Kind == "user" || it.Kind == "assistant" {
			texts = append(texts, it.Body.Text)
		}
	}
	want := []string{"say the first answer", "the first answer", "say the edited answer"}
	if len(texts) != 4 || !slices.Equal(texts[:3], want) {
		t.Errorf("the transcript is %q", texts)
	}
	w.refused(404, "not_found", "POST", "/api/v1/sessions/"+s.ID+"/rewind", map[string]any{"item": two.Item})
	// What was taken back has a place in the transcript, from where its page finds it in the log.
	notices := 0
	for _, it := range w.items(s.ID) {
		if it.Kind != "notice" || it.Body.Code != "rewound" {
			continue
		}
		notices++
		var page struct {
			Events []struct {
				Kind string
				Body struct{ Item string }
			}
		}
		w.must("GET", fmt.Sprintf("/api/v1/sessions/%s/events?after=%d&limit=1", s.ID, it.Seq-2), nil, &page)
		if len(page.Events) != 1 || page.Events[0].Kind != "transcript.rewound" || page.Events[0].Body.Item != two.Item {
			t.Errorf("before the notice stands %+v", page.Events)
		}
	}
	if notices != 1 {
		t.Errorf("%d notices say that something was taken back", notices)
	}
	prompts := w.heard("say the edited answer")
	if len(prompts) != 1 || !strings.Contains(prompts[0], "the first answer") || strings.Contains(prompts[0], "second answer") {
		t.Errorf("the agent got %q", prompts)
	}

	run := w.send(fork.ID, "say go on")
	w.ended(fork.ID, run.Run)
	copied := w.items(fork.ID)
	if len(copied) < 5 {
		t.Errorf("the copy has %d items", len(copied))
	}
	for _, it := range copied {
		if it.Kind == "user" && it.Body.Item != it.ID {
			t.Errorf("the message %s calls itself %s", it.ID, it.Body.Item)
		}
	}
	prompts = w.heard("say go on")
	if len(prompts) != 1 || !strings.Contains(prompts[0], "the first answer") || !strings.Contains(prompts[0], "say the second answer") || strings.Contains(prompts[0], "edited") {
		t.Errorf("the copy's agent got %q", prompts)
	}
	w.whole(s.ID)
	w.whole(fork.ID)
}

func (w *world) upload(name string, data []byte) string {
	w.t.Helper()
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	part, err := form.CreateFormFile("file", name)
	if err != nil {
		w.t.Fatal(err)
	}
	_, _ = part.Write(data)
	_ = form.Close()
	req, err := http.NewRequest("POST", w.base+"/api/v1/attachments", &body)
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("Content-Type", form.FormDataContentType())
	req.Header.Set("Authorization", "Bearer "+w.token)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer res.Body.Close()
	var up struct{ ID string }
	if err := json.NewDecoder(res.Body).Decode(&up); err != nil || up.ID == "" {
		w.t.Fatalf("upload: %d, %v", res.StatusCode, err)
	}
	return up.ID
}

// TestAttachmentsReachTheAgent as it can take them: a picture and a text within
// the prompt, anything else as a link to a file.
func TestAttachmentsReachTheAgent(t *testing.T) {
	w := newWorld(t, nil, "")
	w.start()
	s := w.newSession()
	png := append([]byte("\x89PNG\r\n\x1a\n"), make([]byte, 100)...)
	image, text, other := w.upload("a.png", png), w.upload("notes.txt", []byte("remember the milk")), w.upload("x.bin", []byte{0, 1, 2, 3})
	messages := "/api/v1/sessions/" + s.ID + "/messages"
	w.refused(400, "attachment_not_found", "POST", messages, map[string]any{"client_id": "a0", "text": "say x", "attachments": []string{"none"}})
	var acc accepted
	in := map[string]any{"client_id": "a1", "text": "say seen", "attachments": []string{image, text, other}}
	w.must("POST", messages, in, &acc)
	var same accepted
	w.must("POST", messages, in, &same)
	if same.Item != acc.Item {
		t.Errorf("repeated it is another message")
	}
	w.refused(409, "message_conflict", "POST", messages, map[string]any{"client_id": "a1", "text": "say seen"})
	w.ended(s.ID, acc.Run)
	prompts := w.heard(`"session/prompt"`)
	if len(prompts) != 1 {
		t.Fatalf("%d prompts", len(prompts))
	}
	for _, want := range []string{`"type":"image"`, `"mimeType":"image/png"`, `"type":"resource"`, "remember the milk", `"type":"resource_link"`, "x.bin"} {
		if !strings.Contains(prompts[0], want) {
			t.Errorf("no %s in %.2000s", want, prompts[0])
		}
	}
	if data, err := os.ReadFile(filepath.Join(w.home, "attachments", other, "x.bin")); err != nil || len(data) != 4 {
		t.Errorf("what is linked: %d bytes, %v", len(data), err)
	}
	w.whole(s.ID)
}

// TestFilesOfTheFolder: found and read, and never run as the page.
func TestFilesOfTheFolder(t *testing.T) {
	w := newWorld(t, nil, "")
	w.start()
	s := w.newSession()
	for name, text := range map[string]string{"pic.png": "\x89PNG\r\n\x1a\n0000", "evil.svg": "<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>", "evil.html": "<script>1</script>"} {
		if err := os.WriteFile(filepath.Join(w.work, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var found struct{ Files []struct{ Path string } }
	w.must("GET", "/api/v1/sessions/"+s.ID+"/files?q=evl", nil, &found)
	if len(found.Files) != 2 {
		t.Errorf("found %+v", found.Files)
	}
	for name, want := range map[string]string{"pic.png": "image/png inline", "evil.svg": "application/octet-stream attachment", "evil.html": "application/octet-stream attachment"} {
		req, err := http.NewRequest("GET", w.base+"/api/v1/sessions/"+s.ID+"/files/raw?path="+name, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+w.token)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, res.Body)
		_ = res.Body.Close()
		how, _, _ := strings.Cut(res.Header.Get("Content-Disposition"), ";")
		kind, _, _ := strings.Cut(res.Header.Get("Content-Type"), ";")
		if got := fmt.Sprintf("%s %s", kind, how); got != want && !strings.HasPrefix(got, "text/plain attachment") {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
		if res.Header.Get("X-Content-Type-Options") != "nosniff" || !strings.Contains(res.Header.Get("Content-Security-Policy"), "sandbox") {
			t.Errorf("%s could run: %v", name, res.Header)
		}
	}
	w.refused(403, "folder_denied", "GET", "/api/v1/sessions/"+s.ID+"/files/raw?path=../home/config.toml", nil)
}

// TestProjects: a session belongs to the innermost project that its folder lies
// in, or to the one it names, and outlives it.
func TestProjects(t *testing.T) {
	w := newWorld(t, nil, "")
	w.start()
	sub := filepath.Join(w.work, "sub")
	if err := os.Mkdir(sub, 0o700); err != nil {
		t.Fatal(err)
	}
	type project struct {
		ID, Name string
		Version  int64
	}
	var outer, inner project
	w.must("POST", "/api/v1/projects", map[string]any{"cwd": w.work, "agent": "script"}, &outer)
	w.must("POST", "/api/v1/projects", map[string]any{"cwd": sub, "name": "Inner"}, &inner)
	w.refused(409, "project_exists", "POST", "/api/v1/projects", map[string]any{"cwd": sub})
	w.refused(400, "bad_cwd", "POST", "/api/v1/projects", map[string]any{"cwd": filepath.Join(sub, "none")})
	w.refused(428, "", "PATCH", "/api/v1/projects/"+inner.ID, map[string]any{"name": "x"})
	if outer.Name != "work" || inner.Name != "Inner" {
		t.Errorf("they are %+v and %+v", outer, inner)
	}
	for cwd, want := range map[string]string{w.work: outer.ID, sub: inner.ID, w.home: ""} {
		var s struct{ ID, Project string }
		w.must("POST", "/api/v1/sessions", map[string]any{"agent": "script", "cwd": cwd}, &s)
		if s.Project != want {
			t.Errorf("a session in %s is of the project %q, want %q", cwd, s.Project, want)
		}
	}
	var named struct{ ID, Project string }
	w.must("POST", "/api/v1/sessions", map[string]any{"agent": "script", "cwd": sub, "project": outer.ID}, &named)
	if named.Project != outer.ID {
		t.Errorf("it is of %q", named.Project)
	}
	w.must("DELETE", "/api/v1/projects/"+outer.ID, nil, nil)
	named.Project = "?"
	w.kill()
	w.start()
	var list struct {
		Sessions []struct{ ID, Project string }
	}
	w.must("GET", "/api/v1/sessions?project="+inner.ID, nil, &list)
	if len(list.Sessions) != 1 {
		t.Errorf("of the inner one are %+v", list.Sessions)
	}
	w.must("GET", "/api/v1/sessions", nil, &list)
	for _, s := range list.Sessions {
		if s.Project == outer.ID {
			t.Errorf("%s is of a project that is gone", s.ID)
		}
	}
	w.whole(named.ID)
}
