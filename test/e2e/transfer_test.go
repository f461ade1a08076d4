package e2e

import (
	"database/sql"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	_ "modernc.org/sqlite" // to look into the database
)

// lines is an export of a session with so many messages.
func lines(id string, messages int) string {
	var b strings.Builder
	fmt.Fprintf(&b, `{"session":{"holdfast":1,"id":%q,"title":"A big one","agent":"scripted","cwd":"/","created_at":"2026-01-02T03:04:05Z"}}`+"\n", id)
	for i := range messages {
		fmt.Fprintf(&b, `{"item":{"id":"%s-%d","kind":"user","at":"2026-01-02T03:04:05Z","body":{"text":"message number %d"}}}`+"\n", id, i, i)
	}
	fmt.Fprintf(&b, `{"end":{"items":%d}}`+"\n", messages)
	return b.String()
}

func (w *world) amount(query string) int {
	w.t.Helper()
	var list struct{ Sessions []sessionRow }
	w.must("GET", "/api/v1/sessions"+query, nil, &list)
	return len(list.Sessions)
}

func (w *world) exported(path string) string {
	w.t.Helper()
	req, err := http.NewRequest("GET", w.base+path, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+w.token)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		w.t.Fatalf("%s: %d %v %.300s", path, res.StatusCode, err, text)
	}
	return string(text)
}

// rows looks into the database beside the host, in this process.
func (w *world) rows(query string) (n int) {
	w.t.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(w.home, "holdfast.db")+"?mode=ro&_pragma=busy_timeout(5000)")
	if err != nil {
		w.t.Fatal(err)
	}
	defer db.Close()
	if err := db.QueryRow(query).Scan(&n); err != nil {
		w.t.Fatalf("%s: %v", query, err)
	}
	return n
}

// TestTransfer takes a session from one host to another with the commands, where
// its agent goes on and knows what was said.
func TestTransfer(t *testing.T) {
	a, b := newWorld(t, nil, ""), newWorld(t, nil, "")
	a.start()
	s := a.newSession()
	var acc accepted
	a.must("POST", "/api/v1/sessions/"+s.ID+"/messages", map[string]any{"client_id": "m", "text": "say a hummingbird", "attachments": []string{a.upload("notes.txt", []byte("remember the milk"))}}, &acc)
	a.ended(s.ID, acc.Run)
	dir := t.TempDir()
	file := filepath.Join(dir, "talk.jsonl")
	a.cli("export", s.ID, "--format", "jsonl", "-o", file)
	for format, want := range map[string]string{"md": "\na hummingbird\n", "html": "<p>a hummingbird</p>"} {
		if text := a.exported("/api/v1/sessions/" + s.ID + "/export?format=" + format); !strings.Contains(text, want) || !strings.Contains(text, "notes.txt") {
			t.Errorf("%s lacks what was said:\n%s", format, text)
		}
	}
	archive := strings.TrimSpace(a.cli("export", "--all", "--format", "jsonl", "-o", dir))

	b.start()
	if out := b.cli("import", file); !strings.Contains(out, "imported") {
		t.Error(out)
	}
	if out := b.cli("import", file); !strings.Contains(out, "there already") {
		t.Error(out)
	}
	if out := b.cli("import", archive); !strings.Contains(out, "imported") {
		t.Error(out)
	}
	var list struct{ Sessions []sessionRow }
	b.must("GET", "/api/v1/sessions", nil, &list)
	if len(list.Sessions) != 2 {
		t.Fatalf("sessions: %+v", list.Sessions)
	}
	id := list.Sessions[0].ID
	b.until("what was said is found", 20*time.Second, func() bool { return len(b.search("hummingbird").Hits) == 6 })
	if out := b.cli("search", "hummingbird", "--session", id); strings.Count(out, "[hummingbird]") != 3 {
		t.Errorf("search: %s", out)
	}
	run := b.send(id, "say on")
	if reason := b.ended(id, run.Run); reason != "end_turn" {
		t.Errorf("the agent there ended by %q", reason)
	}
	if prompts := b.heard("say on"); len(prompts) != 1 || !strings.Contains(prompts[0], "say a hummingbird") {
		t.Errorf("the agent there got %q", prompts)
	}
	b.whole(id)
	b.cli("verify")
}

// TestKilledInACopy kills the host in the middle of a fork and of an import: the
// copy is whole afterwards, or it is not there, and a second try makes one.
func TestKilledInACopy(t *testing.T) {
	const messages = 400
	for _, place := range []string{"fork.step=kill@1", "fork.step=kill@4", "fork.whole=kill@1", "import.step=kill@2", "import.step=kill@9", "import.whole=kill@1"} {
		t.Run(place, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, nil, "")
			file := filepath.Join(t.TempDir(), "big.jsonl")
			if err := os.WriteFile(file, []byte(lines("one", messages)+lines("two", messages/4)), 0o600); err != nil {
				t.Fatal(err)
			}
			w.start()
			fork := strings.HasPrefix(place, "fork")
			var id string
			if fork {
				w.cli("import", file)
				var list struct{ Sessions []sessionRow }
				w.must("GET", "/api/v1/sessions", nil, &list)
				id = list.Sessions[1].ID
			}
			had := w.amount("")
			w.stop()
			w.start(place)
			try := func() (sessionRow, error) {
				var made sessionRow
				if fork {
					return made, w.call("POST", "/api/v1/sessions/"+id+"/fork", map[string]any{"client_id": "copy"}, &made)
				}
				_, err := w.command("import", file, "--home", w.home).Output()
				return made, err
			}
			if _, err := try(); err == nil {
				t.Fatal("the host was not killed")
			}
			w.awaitExit()
			w.start()
			if n := w.amount(""); n != had {
				t.Errorf("%d sessions after the kill, there were %d", n, had)
			}
			if left, _ := filepath.Glob(filepath.Join(w.home, "import-*")); len(left) > 0 {
				t.Errorf("left: %v", left)
			}
			w.cli("verify")
			made, err := try()
			if err != nil {
				t.Fatal(err)
			}
			if fork {
				if n := strings.Count(w.exported("/api/v1/sessions/"+made.ID+"/export?format=jsonl"), `{"item":`); n != messages {
					t.Errorf("the copy has %d messages", n)
				}
			} else if n := w.amount(""); n != 2 {
				t.Errorf("%d sessions were imported", n)
			}
			// What the killed life left is removed to the last row.
			w.until("the half copy is gone", 20*time.Second, func() bool {
				return w.rows("SELECT count(*) FROM sessions WHERE building = 1") == 0 && w.rows("SELECT count(*) FROM deletions") == 0 &&
					w.rows("SELECT count(*) FROM items WHERE session NOT IN (SELECT id FROM sessions)") == 0
			})
			w.cli("verify")
		})
	}
}
