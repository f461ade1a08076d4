package httpapi

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"strconv"
	"strings"
	"sync"
)

// page serves the built page. It is an empty shell: the data behind it needs a
// login, the shell does not.
type page struct {
	files fs.FS
	base  string // "" or "/holdfast"

	mu    sync.Mutex
	known map[string]*asset // by name; at most the embedded files
}

type asset struct {
	kind string
	etag string
	body []byte
	gzip []byte // nil where it does not pay
}

func newPage(files fs.FS, base string) *page {
	return &page{files: files, base: base, known: map[string]*asset{}}
}

func (p *page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		newProblem(codeMethod, "the page is only read; programs use /api/v1").with("Allow", "GET, HEAD").write(w, r)
		return
	}
	name := strings.TrimPrefix(path.Clean("/"+r.URL.Path), "/")
	if isAppRoute(name) {
		name = "index.html"
	}
	a, err := p.load(name)
	if err != nil && forPerson(r) {
		if a, err := p.load("index.html"); err == nil { // it says that there is no such page, and leads back
			a.serve(w, r, http.StatusNotFound, false)
			return
		}
	}
	if err != nil {
		newProblem(codeNoRoute, fmt.Sprintf("there is no page at %.200q. The sessions are at /.", r.URL.Path)).write(w, r)
		return
	}
	a.serve(w, r, http.StatusOK, strings.HasPrefix(name, "assets/"))
}

// isAppRoute reports whether the page itself decides what a path shows.
func isAppRoute(name string) bool {
	first, _, _ := strings.Cut(name, "/")
	switch first {
	case "", "new", "s", "needs-you", "host", "settings", "search", "projects":
		return true
	default:
		return false
	}
}

// forPerson tells whether a browser asks for what it will show, and not for a
// part of that.
func forPerson(r *http.Request) bool {
	return r.Header.Get("Sec-Fetch-Mode") == "navigate" || strings.Contains(r.Header.Get("Accept"), "text/html")
}

func (a *asset) serve(w http.ResponseWriter, r *http.Request, status int, hashed bool) {
	h := w.Header()
	h.Set("Content-Type", a.kind)
	h.Set("Cache-Control", "no-cache")
	if hashed {
		h.Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	body, etag := a.body, a.etag
	if a.gzip != nil {
		h.Add("Vary", "Accept-Encoding")
		if acceptsGzip(r.Header.Get("Accept-Encoding")) {
			body, etag = a.gzip, a.etag+"-gz"
			h.Set("Content-Encoding", "gzip")
		}
	}
	etag = strconv.Quote(etag)
	h.Set("ETag", etag)
	if status == http.StatusOK && matches(r.Header.Get("If-None-Match"), etag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	if r.Method == http.MethodGet {
		w.Write(body)
	}
}

// load reads a file once and keeps it with its compressed form.
func (p *page) load(name string) (*asset, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if a := p.known[name]; a != nil {
		return a, nil
	}
	body, err := fs.ReadFile(p.files, name)
	if err != nil {
		return nil, err
	}
	if name == "index.html" {
		body = placed(body, p.base, pageVersion(body))
	}
	sum := sha256.Sum256(body)
	a := &asset{kind: contentType(name), etag: hex.EncodeToString(sum[:10]), body: body}
	if len(body) > 1024 && compresses(a.kind) {
		var b bytes.Buffer
		zw, _ := gzip.NewWriterLevel(&b, gzip.BestCompression)
		if _, err := zw.Write(body); err == nil && zw.Close() == nil && b.Len() < len(body)*9/10 {
			a.gzip = bytes.Clone(b.Bytes())
		}
	}
	p.known[name] = a
	return a, nil
}

// placed puts into the page where it lies and which one it is. The build names
// its files relative to itself (./assets/…), which holds for one depth of
// address only; the page's own script reads the rest from the meta elements.
func placed(body []byte, base, version string) []byte {
	body = bytes.ReplaceAll(body, []byte(`="./`), []byte(`="`+base+`/`))
	for name, value := range map[string]string{"holdfast-base": base, "holdfast-page": version} {
		body = bytes.Replace(body, []byte(`<meta name="`+name+`" content=""`), []byte(`<meta name="`+name+`" content="`+value+`"`), 1)
	}
	return body
}

// version names the page that this host has: whatever is built anew, the names
// of the files in index.html change with it.
func (p *page) version() string {
	body, err := fs.ReadFile(p.files, "index.html")
	if err != nil {
		return ""
	}
	return pageVersion(body)
}

func pageVersion(index []byte) string {
	sum := sha256.Sum256(index)
	return hex.EncodeToString(sum[:6])
}

// contentType does not ask the system, whose table differs from one to another.
func contentType(name string) string {
	switch path.Ext(name) {
	case ".html":
		return "text/html; charset=utf-8"
	case ".js", ".mjs":
		return "text/javascript; charset=utf-8"
	case ".css":
		return "text/css; charset=utf-8"
	case ".json", ".map":
		return "application/json"
	case ".webmanifest":
		return "application/manifest+json"
	case ".svg":
		return "image/svg+xml"
	case ".png":
		return "image/png"
	case ".ico":
		return "image/x-icon"
	case ".webp":
		return "image/webp"
	case ".woff2":
		return "font/woff2"
	case ".txt", "":
		return "text/plain; charset=utf-8"
	case ".md":
		return "text/plain; charset=utf-8"
	default:
		return "application/octet-stream"
	}
}

func compresses(kind string) bool {
	return strings.HasPrefix(kind, "text/") || strings.HasPrefix(kind, "application/json") || strings.HasPrefix(kind, "application/manifest") || kind == "image/svg+xml"
}

// acceptsGzip reports whether gzip is named without being refused.
func acceptsGzip(accept string) bool {
	for part := range strings.SplitSeq(accept, ",") {
		name, params, _ := strings.Cut(part, ";")
		if strings.EqualFold(strings.TrimSpace(name), "gzip") {
			q := strings.ReplaceAll(params, " ", "")
			return !strings.HasPrefix(q, "q=0") || strings.Trim(q[3:], ".0") != ""
		}
	}
	return false
}

func matches(ifNoneMatch, etag string) bool {
	for part := range strings.SplitSeq(ifNoneMatch, ",") {
		part = strings.TrimPrefix(strings.TrimSpace(part), "W/")
		if part == etag || part == "*" {
			return true
		}
	}
	return false
}
