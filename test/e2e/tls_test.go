package e2e

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// selfSigned writes a certificate for localhost and its key, and returns their
// paths and who trusts it.
func selfSigned(t *testing.T, dir string, serial int64) (cert, key string, roots *x509.CertPool) {
	t.Helper()
	priv, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(serial), DNSNames: []string{"localhost", "box.test"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), BasicConstraintsValid: true, IsCA: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &priv.PublicKey, priv)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(priv)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	for path, text := range map[string][]byte{cert: certPEM, key: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})} {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	roots = x509.NewCertPool()
	roots.AppendCertsFromPEM(certPEM)
	return cert, key, roots
}

// TestTLS: the host speaks TLS by files. Its own look at itself, the doctor and
// the commands work, a restart in place loses no request of a client that asks
// again where a connection that waited was closed, and a broken certificate
// changes nothing.
func TestTLS(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil, "[tls]\ncert = \"cert.pem\"\nkey = \"key.pem\"\n")
	_, key, roots := selfSigned(t, w.home, 1)
	w.launch("probe_ms=300")
	var st map[string]any
	w.until("the host's status", 20*time.Second, func() bool { st = w.status(); return st != nil })
	url, _ := st["url"].(string)
	if !strings.HasPrefix(url, "https://127.0.0.1:") {
		t.Fatalf("url %v", st["url"])
	}
	w.token = strings.TrimSpace(w.cli("token", "create", "--name", "test"))
	if link := w.cli("link"); !strings.HasPrefix(link, url+"/#link=") {
		t.Errorf("link %s", link)
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: true}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: 15 * time.Second}
	ask := func(method, path string, body []byte) (*http.Response, error) {
		req, err := http.NewRequest(method, url+path, bytes.NewReader(body))
		if err != nil {
			return nil, err
		}
		req.Header.Set("Authorization", "Bearer "+w.token)
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Idempotency-Key", "1") // as the page's messages have an id
		resp, err := client.Do(req)
		if err != nil {
			return nil, err
		}
		_, err = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		return resp, err
	}
	resp, err := ask("GET", "/health", nil)
	if err != nil || resp.StatusCode != http.StatusOK || resp.Proto != "HTTP/1.1" {
		t.Fatalf("health: %v %v", resp, err)
	}
	if out, err := w.command("doctor", "--home", w.home).CombinedOutput(); err != nil {
		t.Errorf("doctor: %v\n%s", err, out)
	}
	if resp, err := http.Get("http" + strings.TrimPrefix(url, "https") + "/health"); err != nil || resp.StatusCode != http.StatusBadRequest {
		t.Errorf("plain HTTP: %v %v", resp, err)
	}

	// Under restarts.
	var stop atomic.Bool
	failed := make(chan string, 4)
	for i, path := range []string{"/api/v1/sessions", "/api/v1/me", "/health"} {
		go func() {
			text := ""
			for n := 0; !stop.Load() && text == ""; n++ {
				method, body := "GET", []byte(nil)
				if i == 0 && n%2 == 1 {
					method, body = "POST", []byte(`{`) // which is refused by the host, not by the connection
				}
				resp, err := ask(method, path, body)
				switch {
				case err != nil:
					text = fmt.Sprintf("%s %s, request %d: %v", method, path, n, err)
				case method == "GET" && resp.StatusCode != http.StatusOK, method == "POST" && resp.StatusCode/100 != 4:
					text = fmt.Sprintf("%s %s, request %d: %s", method, path, n, resp.Status)
				}
				if i == 2 {
					time.Sleep(3 * time.Millisecond)
				}
			}
			failed <- text
		}()
	}
	// One that has shaken hands and says nothing must not hold a restart up.
	silent, err := tls.Dial("tcp", strings.TrimPrefix(url, "https://"), &tls.Config{RootCAs: roots})
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	// And one that waits for its next request is closed in order: whoever comes
	// back to it finds that out before he sends anything.
	waiting, err := tls.Dial("tcp", strings.TrimPrefix(url, "https://"), &tls.Config{RootCAs: roots})
	if err != nil {
		t.Fatal(err)
	}
	defer waiting.Close()
	_ = waiting.SetDeadline(time.Now().Add(40 * time.Second))
	in := bufio.NewReader(waiting)
	if _, err := io.WriteString(waiting, "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	first, err := http.ReadResponse(in, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, first.Body)
	first.Body.Close()
	began := time.Now()
	for i := range 4 {
		w.cli("restart")
		w.restarted(i + 1)
	}
	if took := time.Since(began); took > 15*time.Second {
		t.Errorf("four restarts took %s: a silent connection holds them up", took)
	}
	if _, err := in.ReadByte(); !errors.Is(err, io.EOF) {
		t.Errorf("the connection that waited was not closed in order: %v", err)
	}
	stop.Store(true)
	for range 3 {
		if text := <-failed; text != "" {
			t.Error(text)
		}
	}
	if strings.Contains(w.out.String(), "requests are cut") {
		t.Error("a restart cut requests")
	}

	// A broken key.
	good, err := os.ReadFile(key)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(key, []byte("no key"), 0o600); err != nil {
		t.Fatal(err)
	}
	_ = w.host.Process.Signal(syscall.SIGHUP)
	w.until("the reason in the log", 10*time.Second, func() bool {
		return strings.Contains(w.out.String(), "the old one stays") && strings.Contains(w.out.String(), "key.pem")
	})
	if resp, err := ask("GET", "/health", nil); err != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("after a refused certificate: %v", err)
	}
	if code := w.stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	w.launch()
	if code := w.awaitExit(); code != 78 || !strings.Contains(w.out.String(), "PEM files of one pair") {
		t.Errorf("exit code %d with a broken key", code)
	}

	// Without TLS again, then with it by a restart in place.
	config := filepath.Join(w.home, "config.toml")
	text, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	for path, text := range map[string][]byte{key: good, config: bytes.Replace(text, []byte("[tls]\ncert = \"cert.pem\"\nkey = \"key.pem\"\n"), nil, 1)} {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	w.start()
	if err := w.call("GET", "/api/v1/me", nil, nil); err != nil { // leaves a connection that waits
		t.Fatal(err)
	}
	if err := os.WriteFile(config, text, 0o600); err != nil {
		t.Fatal(err)
	}
	w.cli("restart")
	w.restarted(1)
	url = "https" + strings.TrimPrefix(w.base, "http")
	if resp, err := ask("GET", "/health", nil); err != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("with TLS after a restart: %v", err)
	}
}
