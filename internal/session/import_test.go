package session

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/holdfast-dev/holdfast/internal/said"
	"github.com/holdfast-dev/holdfast/internal/store"
	"github.com/holdfast-dev/holdfast/internal/transcript"
)

// shop is a host's heart without agents.
func shop(t testing.TB) *Manager {
	t.Helper()
	home := t.TempDir()
	st, err := store.Open(t.Context(), store.Options{Path: filepath.Join(home, "holdfast.db"), BootID: "b"})
	if err != nil {
		t.Fatal(err)
	}
	m := NewManager(Options{Store: st, Home: home, Catalogue: oneAgent{}, Log: slog.New(slog.DiscardHandler), BootID: "b"})
	t.Cleanup(func() {
		if err := errors.Join(m.Close(), st.Close()); err != nil {
			t.Error(err)
		}
	})
	return m
}

// talk makes a session that has one of everything, and something unfinished.
func talk(t testing.TB, m *Manager) string {
	t.Helper()
	file, err := m.Store.PutAttachment(t.Context(), "a <b>.txt", "text/plain", []byte("a file & more"))
	if err != nil {
		t.Fatal(err)
	}
	id := newID("s")
	now := time.Now()
	long := strings.Repeat("0123456789", 40_000)
	err = m.Store.Update(store.Durable, func(tx *store.Tx) error {
		if _, err := tx.CreateSession(store.Session{ID: id, Title: "A <title>", TitleSet: true, Agent: "a", Cwd: "/somewhere", Tags: []string{"one", "two"}, Pinned: true}); err != nil {
			return err
		}
		for turn := range 3 {
			run := fmt.Sprintf("r%d", turn)
			add := func(kind store.Kind, body any) {
				if _, err := tx.Append(id, run, kind, body); err != nil {
					t.Errorf("%s: %v", kind, err)
				}
			}
			item := func(n string) string { return fmt.Sprintf("%s%d", n, turn) }
			add(store.MessageUser, store.MessageBody{
				Item: item("u"), Text: "do <it> & \u2028", ClientID: item("c"), Attachments: []string{file},
				Files: []store.File{{ID: file, Name: "a <b>.txt", Type: "text/plain", Size: 13}},
			})
			add(store.ThoughtDelta, store.DeltaBody{Item: item("t"), Text: "hm <hm>"})
			add(store.ItemClosed, store.ClosedBody{Item: item("t"), EndedAt: &now})
			add(store.ToolStarted, store.ToolBody{Item: item("x"), ToolCallID: "c1", Title: "run <x>", Kind: "execute", Status: "in_progress", RawInput: json.RawMessage(`{"command":"a < b","blob":"x-y"}`)})
			add(store.ToolUpdated, store.ToolUpdate{Item: item("x"), Append: &store.ToolAppend{Text: long}})
			add(store.MessageUser, store.MessageBody{Item: item("s"), Text: "be brief", Steer: &store.Steer{State: store.SteerRead}})
			if _, err := tx.RequestApproval(store.Approval{ID: item("ap"), Session: id, Run: run, Title: "may <I>?", Item: item("q"), Detail: json.RawMessage(`{"a":"<"}`), Options: []store.ApprovalOption{{ID: "y", Name: "Yes", Kind: "allow_once"}}}); err != nil {
				t.Error(err)
			}
			if turn < 2 {
				if _, err := tx.ResolveApproval(store.ResolvedBody{ID: item("ap"), State: store.ApprovalAnswered, Chosen: "y", By: "me"}, ""); err != nil {
					t.Error(err)
				}
				add(store.ItemClosed, store.ClosedBody{Item: item("x"), Status: "completed", EndedAt: &now})
				add(store.TextDelta, store.DeltaBody{Item: item("a"), Text: "done <it>"})
				add(store.ItemClosed, store.ClosedBody{Item: item("a")})
				add(store.PlanChanged, store.PlanBody{Item: item("p"), Entries: json.RawMessage(`[{"content":"<x>","status":"completed"}]`)})
				add(store.NoticeGiven, store.NoticeBody{Item: item("n"), Level: "info", Text: "<note>"})
			}
			r := store.Run{ID: run, Session: id, Item: item("u"), State: store.RunStateEnded, Reason: store.EndTurn, QueuedAt: now, StartedAt: now, EndedAt: now}
			switch turn {
			case 1:
				r.Reason, r.Detail = store.Interrupted, "the <host> died"
			case 2:
				r.State, r.Reason, r.EndedAt = store.RunStateCurrent, "", time.Time{}
			}
			if err := tx.PutRun(r); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func exported(t testing.TB, m *Manager, id string) string {
	t.Helper()
	row, err := m.Store.Session(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	e := transcript.Exporter{Source: m.Store, Format: transcript.Lines}
	if err := e.Write(t.Context(), &out, row); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

var idField = regexp.MustCompile(`("(?:id|item|run|blob)":"|"files":\[")([^"]+)"`)

// renamed replaces the ids by their order, which is all that an import may change.
func renamed(text string) string {
	names := map[string]string{}
	name := func(id string) string {
		if names[id] == "" {
			names[id] = fmt.Sprintf("id%d", len(names))
		}
		return names[id]
	}
	return idField.ReplaceAllStringFunc(text, func(m string) string {
		parts := idField.FindStringSubmatch(m)
		id, rest, _ := strings.Cut(parts[2], "-")
		if rest != "" {
			rest = "-" + rest
		}
		return parts[1] + name(id) + rest + `"`
	})
}

func TestExportGoesRound(t *testing.T) {
	a, b := shop(t), shop(t)
	first := exported(t, a, talk(t, a))
	list, err := b.Import(t.Context(), strings.NewReader(first), "")
	if err != nil {
		t.Fatal(err)
	}
	if len(list) != 1 || list[0].Existing || list[0].Session.Imported == nil || list[0].Session.Building {
		t.Fatalf("%+v", list)
	}
	second := exported(t, b, list[0].Session.ID)
	if diff := cmp.Diff(strings.Split(renamed(first), "\n"), strings.Split(renamed(second), "\n")); diff != "" {
		t.Errorf("not the same after the way round:\n%.4000s", diff)
	}
	for _, id := range idField.FindAllStringSubmatch(first, -1) {
		if id[2] != "x-y" && id[2] != "y" && !strings.HasPrefix(id[2], "ap") && strings.Contains(second, `"`+id[2]+`"`) && id[2] != list[0].Session.Imported.Session {
			t.Errorf("%s has kept its id", id[0])
		}
	}
	page, err := b.Store.Items(t.Context(), list[0].Session.ID, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	if len(page.Items) != 21 || len(page.Runs) != 3 {
		t.Errorf("%d items, %d runs", len(page.Items), len(page.Runs))
	}
	for _, r := range page.Runs {
		if r.Item == page.Items[16].ID {
			if r.Reason != store.Interrupted || r.EndedAt.IsZero() {
				t.Errorf("what was under way: %+v", r)
			}
			continue
		}
		if r.Item != page.Items[0].ID && r.Item != page.Items[8].ID {
			t.Errorf("run %+v answers no message", r)
		}
	}
	found, err := b.Store.Verify(t.Context(), nil)
	if err != nil || len(found) > 0 {
		t.Errorf("verify: %v %v", found, err)
	}
	left, err := filepath.Glob(filepath.Join(b.Home, "import-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left: %v %v", left, err)
	}
	if text, err := b.handoverOf(list[0].Session.ID); err != nil || !strings.Contains(text, "User: do <it>") {
		t.Errorf("the next agent is told %q, %v", text, err)
	}
}

// What was taken back, the project, what was chosen of the agent's options and
// where a copy comes from go round, too: a reader finds the same there.
func TestExportGoesRoundWithAllThatAReaderSees(t *testing.T) {
	a, b := shop(t), shop(t)
	id, folder := talk(t, a), t.TempDir()
	update := func(fn func(tx *store.Tx) error) {
		t.Helper()
		if err := a.Store.Update(store.Durable, fn); err != nil {
			t.Fatal(err)
		}
	}
	update(func(tx *store.Tx) error {
		p, err := tx.PutProject(store.Project{Name: "Their project", Cwd: folder, Agent: "a"})
		if err != nil {
			return err
		}
		return errors.Join(tx.SetTraits(id, store.Traits{Project: &p.ID}), tx.Rewind(id, "u1"), appendNotice(tx, id, "", "info", said.Rewound(), ""))
	})
	update(func(tx *store.Tx) error {
		_, err := tx.Append(id, "", store.AgentOptions, store.OptionsBody{
			Modes:  json.RawMessage(`{"availableModes":[]}`),
			Chosen: &store.Chosen{Mode: "plan", Model: "big", Config: map[string]json.RawMessage{"x": json.RawMessage("true")}},
		})
		if err == nil {
			_, err = tx.Append(id, "", store.MessageUser, store.MessageBody{Item: "u9", Text: "again"})
		}
		return err
	})
	made, _, err := a.Fork(t.Context(), id, Fork{Item: "u9"})
	if err != nil {
		t.Fatal(err)
	}
	first := exported(t, a, id) + exported(t, a, made.ID)
	if n := strings.Count(first, `"holdfast":2`); n != 1 {
		t.Errorf("%d sessions need the newer reader, want the one in which something was taken back", n)
	}
	list, err := b.Import(t.Context(), strings.NewReader(first), "")
	if err != nil {
		t.Fatal(err)
	}
	whole, copied := list[0].Session, list[1].Session
	hide := regexp.MustCompile(`"forked_from":{"session":"[^"]*"(,"item":"[^"]*")?}`)
	for was, is := range map[string]string{id: whole.ID, made.ID: copied.ID} {
		was, is = renamed(hide.ReplaceAllString(exported(t, a, was), "-")), renamed(hide.ReplaceAllString(exported(t, b, is), "-"))
		if diff := cmp.Diff(strings.Split(was, "\n"), strings.Split(is, "\n")); diff != "" {
			t.Errorf("not the same after the way round:\n%.4000s", diff)
		}
	}
	if copied.ForkedFrom == nil || copied.ForkedFrom.Session != whole.ID {
		t.Fatalf("the copy comes from %+v, not from %s", copied.ForkedFrom, whole.ID)
	}
	if it, err := b.Store.Item(t.Context(), copied.ForkedFrom.Item); err != nil || it.Session != whole.ID || !strings.Contains(string(it.Body), `"again"`) {
		t.Errorf("it was made at %+v, %v", it, err)
	}
	projects, err := b.Store.Projects(t.Context())
	if err != nil || len(projects) != 1 || projects[0].Name != "Their project" || whole.Project != projects[0].ID {
		t.Errorf("%+v, %q, %v", projects, whole.Project, err)
	}
	// What the page shows: what is left, and behind the notice's event what was taken back.
	page, err := b.Store.Items(t.Context(), whole.ID, 0, 0)
	if err != nil || len(page.Items) != 10 {
		t.Fatalf("%d items, %v", len(page.Items), err)
	}
	events, _, err := b.Store.Events(t.Context(), whole.ID, page.Items[8].Seq-2, 1)
	if err != nil || events[0].Kind != store.Rewound {
		t.Errorf("before the notice stands %+v, %v", events, err)
	}
	row, err := b.Store.Session(t.Context(), whole.ID)
	if err != nil || !strings.Contains(string(row.Options), `"mode":"plan"`) || strings.Contains(string(row.Options), "availableModes") {
		t.Errorf("options %s, %v", row.Options, err)
	}
	found, err := b.Store.Verify(t.Context(), nil)
	if err != nil || len(found) > 0 {
		t.Errorf("verify: %v %v", found, err)
	}

	// Where neither the folder nor the name is known, no project is made up.
	c := shop(t)
	if list, err = c.Import(t.Context(), strings.NewReader(strings.ReplaceAll(first, folder, "/nowhere/here")), ""); err != nil || list[0].Session.Project != "" {
		t.Errorf("%+v %v", list, err)
	}
	// By its name it is known again.
	mine, err := c.PutProject(t.Context(), "", 0, ProjectChange{Cwd: new(t.TempDir()), Name: new("their PROJECT")})
	if err != nil {
		t.Fatal(err)
	}
	if list, err = c.Import(t.Context(), strings.NewReader(first), ""); err != nil || list[0].Session.Project != mine.ID {
		t.Errorf("%+v %v", list, err)
	}
}

// Two messages that waited changed places, and were taken back one after the
// other: the first in the log first, which was read last.
func TestExportGoesRoundAfterRewindsOfAnotherOrder(t *testing.T) {
	a, b := shop(t), shop(t)
	id, now := newID("s"), time.Now()
	err := a.Store.Update(store.Durable, func(tx *store.Tx) error {
		if _, err := tx.CreateSession(store.Session{ID: id, Agent: "a", Cwd: "/somewhere"}); err != nil {
			return err
		}
		for _, step := range []struct {
			run  string
			kind store.Kind
			body any
		}{
			{"r1", store.MessageUser, store.MessageBody{Item: "u1", Text: "one"}},
			{"r2", store.MessageUser, store.MessageBody{Item: "u2", Text: "two"}},
			{"r2", store.TextDelta, store.DeltaBody{Item: "a2", Text: "to two"}},
			{"r2", store.ItemClosed, store.ClosedBody{Item: "a2"}},
			{"r1", store.TextDelta, store.DeltaBody{Item: "a1", Text: "to one"}},
			{"r1", store.ItemClosed, store.ClosedBody{Item: "a1"}},
		} {
			if _, err := tx.Append(id, step.run, step.kind, step.body); err != nil {
				return err
			}
		}
		for run, item := range map[string]string{"r1": "u1", "r2": "u2"} {
			if err := tx.PutRun(store.Run{ID: run, Session: id, Item: item, State: store.RunStateEnded, Reason: store.EndTurn, QueuedAt: now, StartedAt: now, EndedAt: now}); err != nil {
				return err
			}
		}
		return errors.Join(tx.Rewind(id, "u1"), tx.Rewind(id, "u2"))
	})
	if err != nil {
		t.Fatal(err)
	}
	first := exported(t, a, id)
	list, err := b.Import(t.Context(), strings.NewReader(first), "")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(renamed(first), renamed(exported(t, b, list[0].Session.ID))); diff != "" {
		t.Errorf("not the same after the way round:\n%s", diff)
	}

	// Written by hand: the first takes the other with it, which is said of the line.
	last := strings.LastIndex(first, `{"rewound"`)
	end := strings.LastIndex(first, `{"end"`)
	before := strings.LastIndex(first[:last], `{"rewound"`)
	other := shop(t)
	_, err = other.Import(t.Context(), strings.NewReader(first[:before]+first[last:end]+first[before:last]+first[end:]), "")
	var e *Error
	if !errors.As(err, &e) || e.Code != CodeBadImport || !strings.Contains(e.Message, "Nothing was imported") {
		t.Errorf("%v", err)
	}
	if rows, err := other.Store.Sessions(t.Context(), store.SessionsFilter{}, "", 10); err != nil || len(rows.Sessions) > 0 {
		t.Errorf("left %+v, %v", rows, err)
	}
}

// handoverOf is what a new agent would be told of a session.
func (m *Manager) handoverOf(id string) (text string, err error) {
	err = m.Store.Update(store.Relaxed, func(tx *store.Tx) error {
		if err := tx.PutEpoch(store.Epoch{Name: "e", Session: id, State: store.EpochReady}); err != nil {
			return err
		}
		if _, err := tx.PushLine(store.Line{Epoch: "e", Kind: store.LineNew}); err != nil {
			return err
		}
		s, err := tx.Session(id)
		if err != nil {
			return err
		}
		text, err = m.handover(tx, s, store.Epoch{Name: "e", Session: id})
		return err
	})
	return text, err
}

func TestImportIsAllOrNothing(t *testing.T) {
	a, b := shop(t), shop(t)
	text := exported(t, a, talk(t, a))
	lines := strings.SplitAfter(text, "\n")
	for name, file := range map[string]string{
		"cut off":        strings.Join(lines[:len(lines)-2], ""),
		"second is bad":  text + strings.Join(lines[:5], "") + "{}\n",
		"not one":        "hello",
		"broken archive": "PK\x03\x04 and no more",
	} {
		_, err := b.Import(t.Context(), strings.NewReader(file), "c")
		var refused *Error
		if !errors.As(err, &refused) || refused.Code != CodeBadImport {
			t.Errorf("%s: %v", name, err)
		}
	}
	// One that breaks after it was checked: the reader ends in its second reading.
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := b.Import(ctx, strings.NewReader(text), "c"); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	im := newImporter(ctx, b, "")
	if err := transcript.Read(strings.NewReader(text), im); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled in the middle: %v", err)
	}
	im.undo()
	ids, err := b.Store.SessionIDs(t.Context())
	if err != nil || len(ids) != 0 || b.Store.Last() != 2 {
		t.Errorf("left %v, %d events, %v", ids, b.Store.Last(), err) // of the last one, and its end
	}
	if _, err := b.Import(t.Context(), io.MultiReader(strings.NewReader(text), failing{}), "c"); err == nil || b.Store.Last() != 2 {
		t.Errorf("a file that does not come whole: %v", err)
	}
	entries, err := os.ReadDir(b.Home)
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), "import") {
			t.Errorf("left %s, %v", e.Name(), err)
		}
	}
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errors.New("the line is dead") }

func TestImportOnce(t *testing.T) {
	a, b := shop(t), shop(t)
	text := exported(t, a, talk(t, a)) + exported(t, a, mustSession(t, a))
	first, err := b.Import(t.Context(), strings.NewReader(text), "c")
	if err != nil || len(first) != 2 {
		t.Fatal(first, err)
	}
	again, err := b.Import(t.Context(), strings.NewReader(text), "c")
	if err != nil {
		t.Fatal(err)
	}
	for i := range first {
		if !again[i].Existing || again[i].Session.ID != first[i].Session.ID {
			t.Errorf("imported twice: %+v", again[i])
		}
	}
	// What was removed for good comes again, and nothing else.
	if err := b.Delete(t.Context(), first[1].Session.ID, true); err != nil {
		t.Fatal(err)
	}
	third, err := b.Import(t.Context(), strings.NewReader(text), "c")
	if err != nil || !third[0].Existing || third[1].Existing {
		t.Errorf("%+v %v", third, err)
	}
	var refused *Error
	if _, err := b.Import(t.Context(), strings.NewReader(exported(t, a, mustSession(t, a))), "c"); !errors.As(err, &refused) || refused.Code != CodeSessionConflict {
		t.Errorf("another file of the same client id: %v", err)
	}
	if _, err := b.Import(t.Context(), strings.NewReader(text), ""); err != nil {
		t.Error(err)
	}
	ids, err := b.Store.SessionIDs(t.Context())
	if err != nil || len(ids) != 4 {
		t.Errorf("%v %v", ids, err)
	}
}

func mustSession(t testing.TB, m *Manager) string {
	t.Helper()
	id := newID("s")
	err := m.Store.Update(store.Durable, func(tx *store.Tx) error {
		_, err := tx.CreateSession(store.Session{ID: id, Agent: "a", Cwd: "/"})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func TestImportArchive(t *testing.T) {
	a, b := shop(t), shop(t)
	talk(t, a)
	mustSession(t, a)
	ids, err := a.Store.SessionIDs(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	e := transcript.Exporter{Source: a.Store, Format: transcript.Lines}
	if err := e.WriteAll(t.Context(), &out, ids); err != nil {
		t.Fatal(err)
	}
	list, err := b.Import(t.Context(), &out, "")
	if err != nil || len(list) != 2 || list[0].Session.Title != "A <title>" {
		t.Errorf("%+v %v", list, err)
	}
	out.Reset()
	e.Format = transcript.Markdown
	if err := e.WriteAll(t.Context(), &out, ids); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Import(t.Context(), &out, ""); err == nil || !strings.Contains(err.Error(), ".jsonl") {
		t.Errorf("an archive of Markdown: %v", err)
	}
}

func TestFileName(t *testing.T) {
	for in, want := range map[string]string{
		"a.txt": "a.txt", "../../etc/passwd": "passwd", `C:\x\y.txt`: "y.txt", "": "file", "..": "file", "/": "file", "a\x00b": "file", strings.Repeat("x", 256): "file",
	} {
		if got := FileName(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

// TestSweepFiles: files for agents go with their attachments, what is young stays.
func TestSweepFiles(t *testing.T) {
	m := shop(t)
	id, err := m.Store.PutAttachment(t.Context(), "a.txt", "text/plain", []byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	if err := m.putFiles(t.Context(), []string{id}); err != nil {
		t.Fatal(err)
	}
	gone, young, file := filepath.Join(m.Home, "attachments", "gone"), filepath.Join(m.Home, "attachments", "young"), filepath.Join(m.Home, "import-1.tmp")
	for _, dir := range []string{gone, young} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "f"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	past := time.Now().Add(-2 * time.Hour)
	for _, path := range []string{gone, file, filepath.Join(m.Home, "attachments", id)} {
		if err := os.Chtimes(path, past, past); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.SweepFiles(t.Context()); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]bool{gone: false, young: true, file: false, filepath.Join(m.Home, "attachments", id, "a.txt"): true} {
		if _, err := os.Stat(path); (err == nil) != want {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// What may be chosen of an agent's options can be imported, and what is too long
// for a file is not chosen.
func TestWhatWasChosenFitsIntoAFile(t *testing.T) {
	a, b := shop(t), shop(t)
	id := mustSession(t, a)
	long := func(n int) Choice { return Choice{Mode: strings.Repeat("m", n), Model: strings.Repeat("é", n/2)} }
	var refused *Error
	if _, err := a.Choose(t.Context(), id, long(502)); !errors.As(err, &refused) || refused.Code != CodeBadRequest {
		t.Errorf("more than is kept: %v", err)
	}
	if _, err := a.Choose(t.Context(), id, Choice{Config: map[string]json.RawMessage{"x": json.RawMessage("null")}}); !errors.As(err, &refused) || refused.Code != CodeBadRequest {
		t.Errorf("neither text nor switch: %v", err)
	}
	if _, err := a.Choose(t.Context(), id, long(500)); err != nil {
		t.Fatal(err)
	}
	list, err := b.Import(t.Context(), strings.NewReader(exported(t, a, id)), "")
	if err != nil || !strings.Contains(string(list[0].Session.Options), strings.Repeat("m", 500)) {
		t.Errorf("%+v %v", list, err)
	}
}
