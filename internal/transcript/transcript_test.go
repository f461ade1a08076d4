package transcript

import (
	"archive/zip"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/net/html"

	"github.com/holdfast-dev/holdfast/internal/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func openStore(t testing.TB) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), store.Options{Path: filepath.Join(t.TempDir(), "holdfast.db"), BootID: "boot"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// fill makes a session in which text is everywhere where somebody else's words may be.
func fill(t testing.TB, s *store.Store, id, text string) store.Session {
	t.Helper()
	file, err := s.PutAttachment(t.Context(), text, "text/plain", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	picture, err := s.PutAttachment(t.Context(), "a.png", "image/png", []byte("\x89PNG"))
	if err != nil {
		t.Fatal(err)
	}
	quoted, _ := json.Marshal(text)
	raw := func(format string) json.RawMessage {
		return json.RawMessage(strings.ReplaceAll(format, "$", string(quoted)))
	}
	now := time.Now()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(s.Update(store.Durable, func(tx *store.Tx) error {
		_, err := tx.CreateSession(store.Session{ID: id, Title: text, Agent: clip(text, 100), Cwd: text, Tags: []string{"a"}})
		return err
	}))
	must(s.Update(store.Durable, func(tx *store.Tx) error {
		add := func(kind store.Kind, body any) {
			if _, err := tx.Append(id, "r-"+id, kind, body); err != nil {
				t.Fatalf("%s: %v", kind, err)
			}
		}
		item := func(n string) string { return n + "-" + id }
		add(store.MessageUser, store.MessageBody{Item: item("u"), Text: text, ClientID: "c", Attachments: []string{file, picture}, Files: []store.File{
			{ID: file, Name: text, Type: "text/plain", Size: int64(len(text))}, {ID: picture, Name: "a.png", Type: "image/png", Size: 4},
		}})
		add(store.ThoughtDelta, store.DeltaBody{Item: item("t"), Text: text})
		add(store.ItemClosed, store.ClosedBody{Item: item("t"), EndedAt: &now})
		add(store.TextDelta, store.DeltaBody{Item: item("a"), Text: text})
		add(store.ItemClosed, store.ClosedBody{Item: item("a")})
		add(store.ToolStarted, raw(`{"item":"`+item("x")+`","tool_call_id":"c1","title":$,"kind":"execute","status":"in_progress","raw_input":{"command":$}}`))
		add(store.ToolUpdated, raw(`{"item":"`+item("x")+`","set":{"content":[{"type":"content","content":{"type":"text","text":$}},{"type":"diff","path":$,"oldText":"one\n","newText":$}]}}`))
		add(store.ItemClosed, store.ClosedBody{Item: item("x"), Status: "failed", EndedAt: &now})
		add(store.PlanChanged, raw(`{"item":"`+item("p")+`","entries":[{"content":$,"status":$,"priority":"high"}]}`))
		add(store.NoticeGiven, raw(`{"item":"`+item("n")+`","level":$,"text":$}`))
		return tx.PutRun(store.Run{ID: "r-" + id, Session: id, Item: item("u"), State: store.RunStateEnded, Reason: store.Failed, Detail: text, QueuedAt: now, StartedAt: now, EndedAt: now})
	}))
	row, err := s.Session(t.Context(), id)
	must(err)
	return row
}

func export(t testing.TB, s *store.Store, row store.Session, f Format) string {
	t.Helper()
	var out bytes.Buffer
	e := Exporter{Source: s, Format: f}
	if err := e.Write(t.Context(), &out, row); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// corpus is what must stay text, wherever it stands.
var corpus = []string{
	`<script>alert(1)</script>`, `</title><script>alert(1)</script>`, `</style><script>alert(1)</script>`, `"><img src=x onerror=alert(1)>`,
	`' onmouseover='alert(1)`, `"><svg/onload=alert(1)>`, `<iframe src="javascript:alert(1)"></iframe>`, `[x](javascript:alert(1))`,
	`[x](JaVaScRiPt:alert(1))`, `[x](java&#x73;cript:alert(1))`, `[x]( javascript:alert(1))`, `<javascript:alert(1)>`, `![x](http://evil.example/x.png)`,
	`![x](data:image/svg+xml;base64,PHN2Zz4=)`, `[x](data:text/html,<script>alert(1)</script>)`, `[x](vbscript:x)`, `[x](file:///etc/passwd)`, `[x](//evil.example)`,
	"[x]: javascript:alert(1)\n\n[x]", `<a href="javascript:alert(1)">x</a>`, `<style>@import url(http://evil.example)</style>`, `<link rel=stylesheet href=http://evil.example>`,
	`<meta http-equiv=refresh content="0;url=http://evil.example">`, `<base href=http://evil.example>`, `<form action=http://evil.example><input name=a></form>`,
	`<object data=x></object><embed src=x>`, `<math><mtext></mtext><script>alert(1)</script></math>`, "```html\n</code></pre><script>alert(1)</script>\n```",
	"<!--><script>alert(1)</script>-->", `]]><script>alert(1)</script>`, "| a |\n|:-:|\n| <img src=x onerror=alert(1)> |", `http://x.example/"onmouseover="alert(1)`,
	"\x00<script>alert(1)</script>", "javascript\t:alert(1)", `<a href="http://ok.example" onclick="alert(1)" style="background:url(http://evil.example)">x</a>`,
	"a\n<div>\n\n<script src=http://evil.example/x.js></script>\n</div>", "\u202e<script>", "<details><summary></summary></details><plaintext>",
}

// TestHTMLIsSafe looks at the page as a browser does: nothing of the corpus is
// more than text, and nothing is fetched.
func TestHTMLIsSafe(t *testing.T) {
	s := openStore(t)
	for i, text := range corpus {
		page := export(t, s, fill(t, s, fmt.Sprintf("s%d", i), text), HTML)
		look(t, text, page)
		if !strings.Contains(page, "default-src 'none'") {
			t.Errorf("%q: no policy", text)
		}
	}
}

func look(t *testing.T, text, page string) {
	t.Helper()
	tags := strings.Fields("html head meta title style body header h1 h2 h3 p code main section time div details summary pre span ul ol li img a footer em strong del table thead tbody tr th td blockquote hr br input")
	attrs := map[string][]string{
		"html": {"lang"}, "meta": {"charset", "http-equiv", "content", "name"}, "a": {"href", "rel", "download"}, "img": {"alt", "src"},
		"time": {"datetime"}, "code": {"class"}, "p": {"class"}, "section": {"class"}, "h2": {"class"}, "div": {"class"}, "span": {"class"}, "ul": {"class"},
		"li": {"class"}, "td": {"align"}, "th": {"align"}, "input": {"checked", "disabled", "type"},
	}
	styles := 0
	z := html.NewTokenizer(strings.NewReader(page))
	for {
		switch z.Next() {
		case html.ErrorToken:
			if !errors.Is(z.Err(), io.EOF) {
				t.Errorf("%q: %v", text, z.Err())
			}
			if styles != 1 {
				t.Errorf("%q: %d style elements", text, styles)
			}
			return
		case html.StartTagToken, html.SelfClosingTagToken:
			tok := z.Token()
			if !slices.Contains(tags, tok.Data) {
				t.Errorf("%q became an element %s", text, tok)
			}
			if tok.Data == "style" {
				styles++
			}
			for _, a := range tok.Attr {
				if !slices.Contains(attrs[tok.Data], a.Key) {
					t.Errorf("%q became an attribute: %s", text, tok)
				}
				switch {
				case a.Key == "http-equiv" && a.Val != "Content-Security-Policy",
					a.Key == "src" && !strings.HasPrefix(a.Val, "data:image/png;base64,"),
					a.Key == "href" && !strings.HasPrefix(a.Val, "http") && !strings.HasPrefix(a.Val, "mailto:") && !strings.HasPrefix(a.Val, "data:application/octet-stream;base64,"):
					t.Errorf("%q leads somewhere: %s", text, tok)
				}
			}
		case html.CommentToken:
			t.Errorf("%q became a comment", text)
		}
	}
}

func TestHTMLShowsWhatWasSaid(t *testing.T) {
	s := openStore(t)
	page := export(t, s, fill(t, s, "s1", "A **bold** <b>word</b> & [link](https://ok.example/?a=1&b=2)\n\n- [x] done\n\n| a | b |\n|--:|---|\n| 1 | 2 |\n"), HTML)
	for _, want := range []string{
		"<strong>bold</strong> &lt;b&gt;word&lt;/b&gt; &amp; <a href=\"https://ok.example/?a=1&amp;b=2\" rel=\"noreferrer noopener\">link</a>",
		`<input checked="" disabled="" type="checkbox"`, `<td align="right">1</td>`, `<img alt="a.png" src="data:image/png;base64,iVBORw==">`,
		`<span class="del">-one</span>`, "Failed: A", "<div class=\"said\">A **bold**",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("%s is not in\n%s", want, page)
		}
	}
}

func TestMarkdown(t *testing.T) {
	s := openStore(t)
	row := fill(t, s, "s1", "hello `x` ``` </details>")
	text := export(t, s, row, Markdown)
	for _, want := range []string{
		"# hello \\`x\\` \\`\\`\\` \\</details\\>\n", "\n## You\n\nhello `x` ``` </details>\n", "<details><summary>Thought</summary>\n\nhello `x` ``` &lt;/details>\n\n</details>\n",
		"````sh\nhello `x` ``` </details>\n````", "````diff\n--- hello", "(failed)</summary>", "\n- [ ] hello", "> **Note:** hello", "\n> *Failed: hello",
		"* Attached: ````hello `x` ``` </details>```` (text/plain, 24 bytes)", "`a.png` (image/png, 4 bytes)",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
	for text, want := range map[string]string{"a\n```go\nx": "a\n```go\nx\n```", "```\nx\n```\n": "```\nx\n```\n", "~~~~\n```\n~~~": "~~~~\n```\n~~~\n~~~~"} {
		if got := closed(text); got != want {
			t.Errorf("%q closed is %q, want %q", text, got, want)
		}
	}
	long := strings.Repeat("line\n", 500) + strings.Repeat("x", 20_000)
	if got := cut(long, mdLines, mdBytes); len(got) > mdBytes+200 || !strings.Contains(got, "left out") {
		t.Errorf("%d bytes of %d", len(got), len(long))
	}
}

func TestArchiveAndNames(t *testing.T) {
	s := openStore(t)
	fill(t, s, "s1", "../../Über: <x>")
	fill(t, s, "s2", strings.Repeat("é", 200))
	e := Exporter{Source: s, Format: Lines}
	var out bytes.Buffer
	ids, err := s.SessionIDs(t.Context())
	if err != nil || !slices.Equal(ids, []string{"s1", "s2"}) {
		t.Fatal(ids, err)
	}
	if err := e.WriteAll(t.Context(), &out, append(ids, "gone")); err != nil {
		t.Fatal(err)
	}
	z, err := zip.NewReader(bytes.NewReader(out.Bytes()), int64(out.Len()))
	if err != nil || len(z.File) != 2 {
		t.Fatal(z, err)
	}
	day := time.Now().UTC().Format(time.DateOnly)
	if want := day + "-über-x-s1.jsonl"; z.File[0].Name != want || len(z.File[1].Name) > 100 {
		t.Errorf("names %q, %q; want %q", z.File[0].Name, z.File[1].Name, want)
	}
	for _, f := range z.File {
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		if err := Read(r, nil); err != nil {
			t.Errorf("%s: %v", f.Name, err)
		}
		r.Close()
	}
}

// TestGoneInTheMiddle: a session that is deleted while it is written is no file.
func TestGoneInTheMiddle(t *testing.T) {
	s := openStore(t)
	row := fill(t, s, "s1", "x")
	if err := s.Update(store.Durable, func(tx *store.Tx) error { return tx.TrashSession("s1") }); err != nil {
		t.Fatal(err)
	}
	e := Exporter{Source: s, Format: Lines}
	if err := e.Write(t.Context(), io.Discard, row); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("%v", err)
	}
}

func TestReadSaysWhereItIsWrong(t *testing.T) {
	const session = `{"session":{"holdfast":1,"id":"s","title":"t","agent":"a","cwd":"/","created_at":"2026-01-02T03:04:05Z"}}` + "\n"
	const item = `{"item":{"id":"i","kind":"notice","at":"2026-01-02T03:04:05Z","body":{}}}` + "\n"
	const message = `{"item":{"id":"u","kind":"user","at":"2026-01-02T03:04:05Z","body":{"text":"x"}}}` + "\n"
	const end = `{"end":{"items":1}}` + "\n"
	for _, tt := range []struct{ name, text, want string }{
		{"whole", session + item + end, ""},
		{"two", session + item + end + "\n" + session + item + end, ""},
		{"no last line break", session + item + strings.TrimSpace(end), ""},
		{"empty", "", "line 1: the file is empty"},
		{"blank", "\n\n", "the file is empty"},
		{"Markdown", "# Title\n", "line 1: it is not the first line of an export"},
		{"other JSON", "{}\n", "line 1: it is not the first line of an export"},
		{"newer", strings.Replace(session, `"holdfast":1`, `"holdfast":3`, 1), "line 1: it is of version 3"},
		{"of no version", strings.Replace(session, `"holdfast":1`, `"holdfast":0`, 1), "line 1: it is of version 0"},
		{"taken back", session + message + `{"rewound":{"item":"u"}}` + "\n" + end, ""},
		{"what was not said taken back", session + item + `{"rewound":{"item":"i"}}`, "line 3: what was taken back is no message"},
		{"twice taken back", session + message + `{"rewound":{"item":"u"}}` + "\n" + `{"rewound":{"item":"u"}}`, "line 4: what was taken back is no message"},
		{"project", strings.Replace(session, `"cwd"`, `"project":{"name":"p"},"cwd"`, 1), "line 1: the session's project"},
		{"origin", strings.Replace(session, `"cwd"`, `"forked_from":{},"cwd"`, 1), "line 1: the session has a beginning"},
		{"long options", strings.Replace(session, `"cwd"`, `"options":{"mode":"`+strings.Repeat("m", 500)+`","model":"`+strings.Repeat("m", 500)+`"},"cwd"`, 1) + item + end, ""},
		{"too long a mode", strings.Replace(session, `"cwd"`, `"options":{"mode":"`+strings.Repeat("m", 501)+`"},"cwd"`, 1), "the mode's id has more than 500 bytes"},
		{"option", strings.Replace(session, `"cwd"`, `"options":{"config":{"a":{}}},"cwd"`, 1), "line 1: what was chosen of the agent's options"},
		{"cut off", session + item, "line 2: the file ends here, in the middle"},
		{"cut in a line", session + item[:20], "line 2: it cannot be read"},
		{"one lost", session + end, "line 2: the session should have 1 items, and the file has 0"},
		{"after the end", session + item + end + item, "line 4: it stands after the end"},
		{"no end", session + session, "line 2: a session begins before"},
		{"kind", session + strings.Replace(item, "notice", "spell", 1), `line 2: there is no kind of item "spell"`},
		{"body", session + strings.Replace(item, "{}}}", "[]}}", 1), "line 2: the item's body is not an object"},
		{"no body", session + strings.Replace(item, `,"body":{}`, "", 1), "line 2: the item's body is not an object"},
		{"time", session + strings.Replace(item, `"at":"2026-01-02T03:04:05Z",`, "", 1), "line 2: the item has no time"},
		{"bad time", session + strings.Replace(item, "2026-01-02T", "yesterday", 1), "line 2: it cannot be read"},
		{"run", session + strings.Replace(item, `"kind"`, `"run":"r","kind"`, 1), `line 2: the item belongs to the run "r"`},
		{"file", session + `{"item":{"id":"i","kind":"user","at":"2026-01-02T03:04:05Z","body":{"text":"","files":["f"]}}}`, `the message has the file "f"`},
		{"pending", session + `{"item":{"id":"i","kind":"approval","at":"2026-01-02T03:04:05Z","body":{"state":"pending"}}}`, "was not answered"},
		{"stray output", session + item + `{"blob":{"id":"j-1","item":"j","data":""}}`, "line 3: the output does not follow"},
		{"foreign output", session + item + `{"blob":{"id":"j-1","item":"i","data":""}}`, "line 3: the output's id"},
		{"bad base64", session + item + `{"blob":{"id":"i-1","item":"i","data":"%"}}`, "line 3: it cannot be read"},
		{"two in one", session + `{"end":{"items":0},"run":{"id":"r"}}`, "line 2: it is none of"},
	} {
		err := Read(strings.NewReader(tt.text), nil)
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
}

func FuzzRead(f *testing.F) {
	s := openStore(f)
	f.Add(export(f, s, fill(f, s, "s1", "seed"), Lines))
	f.Add(`{"session":{"holdfast":1,"id":"s","agent":"a","created_at":"2026-01-02T03:04:05Z"}}`)
	f.Fuzz(func(t *testing.T, text string) {
		var l *LineError
		if err := Read(strings.NewReader(text), nil); err != nil && !errors.As(err, &l) {
			t.Errorf("%T %v", err, err)
		}
	})
}

// TestLinesHoldFilesOnce has the same attachment in two messages.
func TestLinesHoldFilesOnce(t *testing.T) {
	s := openStore(t)
	row := fill(t, s, "s1", "x")
	page, err := s.Items(t.Context(), "s1", 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	var first store.MessageBody
	if err := json.Unmarshal(page.Items[0].Body, &first); err != nil {
		t.Fatal(err)
	}
	first.Item = "u2"
	if err := s.Update(store.Durable, func(tx *store.Tx) error {
		_, err := tx.Append("s1", "", store.MessageUser, first)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	text := export(t, s, row, Lines)
	if n := strings.Count(text, base64.StdEncoding.EncodeToString([]byte("\x89PNG"))); n != 1 {
		t.Errorf("the picture is there %d times in\n%s", n, text)
	}
	if err := Read(strings.NewReader(text), nil); err != nil {
		t.Error(err)
	}
}
