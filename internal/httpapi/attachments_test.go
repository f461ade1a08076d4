package httpapi

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"mime/multipart"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

func form(t *testing.T, field, name, content string) (body, contentType string) {
	t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	if err := w.WriteField("note", "before the file"); err != nil {
		t.Fatal(err)
	}
	if field != "" {
		part, err := w.CreateFormFile(field, name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := part.Write([]byte(content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String(), w.FormDataContentType()
}

func TestAttachments(t *testing.T) {
	h := newHost(t, func(c *Config) { c.Limits.Attachment = 1000 })
	png := "\x89PNG\r\n\x1a\n" + strings.Repeat("x", 100)
	for _, tc := range []struct {
		name, field, file, content string
		status                     int
		kind, disposition, want    string
	}{
		{"picture", "file", "a.png", png, 201, "image/png", "inline", ""},
		{"page", "file", "a.html", "<!doctype html><script>alert(1)</script>", 201, "application/octet-stream", "attachment", ""},
		{"picture that is a page", "file", "a.svg", "<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>", 201, "text/plain; charset=utf-8", "attachment", ""},
		{"text", "file", "../../etc/passwd", "hello", 201, "text/plain; charset=utf-8", "attachment", ""},
		{"empty", "file", `C:\x\empty`, "", 201, "text/plain; charset=utf-8", "attachment", ""},
		{"too large", "file", "big", strings.Repeat("x", 1001), 413, "", "", "1000 bytes"},
		{"far too large", "file", "big", strings.Repeat("x", 200_000), 413, "", "", "1000 bytes"},
		{"no file", "", "", "", 422, "", "", `field \"file\"`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			body, contentType := form(t, tc.field, tc.file, tc.content)
			res, text := h.do("POST", "/api/v1/attachments", body, "Content-Type", contentType)
			if res.StatusCode != tc.status || !strings.Contains(text, tc.want) {
				t.Fatalf("%d %s", res.StatusCode, text)
			}
			if tc.status != 201 {
				return
			}
			var up Uploaded
			if err := json.Unmarshal([]byte(text), &up); err != nil || up.Size != len(tc.content) || strings.ContainsAny(up.Name, `/\`) {
				t.Fatalf("%s: %v", text, err)
			}
			res, text = h.do("GET", "/api/v1/attachments/"+up.ID, "")
			if res.StatusCode != 200 || text != tc.content || res.Header.Get("Content-Type") != tc.kind || !strings.HasPrefix(res.Header.Get("Content-Disposition"), tc.disposition) {
				t.Errorf("%d %v %q", res.StatusCode, res.Header, text)
			}
			if !strings.Contains(res.Header.Get("Content-Security-Policy"), "sandbox") || res.Header.Get("X-Content-Type-Options") != "nosniff" {
				t.Errorf("foreign content could run: %v", res.Header)
			}
		})
	}
	body, contentType := form(t, "file", "x", "cut off")
	if res, text := h.do("POST", "/api/v1/attachments", body[:len(body)-40], "Content-Type", contentType); res.StatusCode != 422 {
		t.Errorf("cut form: %d %s", res.StatusCode, text)
	}
	if res, text := h.do("POST", "/api/v1/attachments", "{}"); res.StatusCode != 415 {
		t.Errorf("JSON: %d %s", res.StatusCode, text)
	}
	for _, path := range []string{"/api/v1/attachments/none", "/api/v1/blobs/none"} {
		if res, text := h.do("GET", path, ""); res.StatusCode != 404 || !strings.Contains(text, "not_found") {
			t.Errorf("%s: %d %s", path, res.StatusCode, text)
		}
	}
}

// A client that sends all before it reads, as a proxy does, gets the refusal of
// what is too large, and no broken connection.
func TestRefusedUploadIsAnswered(t *testing.T) {
	const limit = 16 << 20 // far more than the system's buffers hold
	h := newHost(t, func(c *Config) { c.Limits.Attachment = limit })
	body, contentType := form(t, "file", "big", strings.Repeat("x", 2*limit-1<<20))
	conn, err := net.Dial("tcp", strings.TrimPrefix(h.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprintf(conn, "POST /api/v1/attachments HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Bearer %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s",
		h.token, contentType, len(body), body); err != nil {
		t.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(res.Body); err != nil || res.StatusCode != 413 {
		t.Errorf("%d %s %v", res.StatusCode, text, err)
	}
}
