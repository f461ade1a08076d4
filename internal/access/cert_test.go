package access

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// pair writes a self-signed certificate and its key.
func pair(t *testing.T, dir string, serial int64) (cert, key string) {
	t.Helper()
	priv, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(serial), DNSNames: []string{"localhost"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &priv.PublicKey, priv)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(priv)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for path, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: keyDER}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

func TestCertificateIsReadAgain(t *testing.T) {
	dir := t.TempDir()
	cert, key := pair(t, dir, 1)
	var log bytes.Buffer
	c, err := LoadCertificate(cert, key, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	c.now = func() time.Time { return now }
	serial := func() int64 {
		got, err := c.Config().GetCertificate(nil)
		if err != nil {
			t.Fatal(err)
		}
		return got.Leaf.SerialNumber.Int64()
	}
	pair(t, dir, 2)
	if got := serial(); got != 1 {
		t.Errorf("the files were read within a minute: serial %d", got)
	}
	now = now.Add(61 * time.Second)
	if got := serial(); got != 2 {
		t.Errorf("a new certificate was not taken: serial %d", got)
	}
	if err := os.WriteFile(key, []byte("no key"), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		now = now.Add(61 * time.Second)
		if got := serial(); got != 2 {
			t.Errorf("a broken key took the certificate away: serial %d", got)
		}
	}
	if n := strings.Count(log.String(), "the old one stays"); n != 1 {
		t.Errorf("said %d times:\n%s", n, &log)
	}
	pair(t, dir, 3)
	now = now.Add(61 * time.Second)
	if got := serial(); got != 3 {
		t.Errorf("serial %d after the files were put right", got)
	}
}

func TestCertificateRefusals(t *testing.T) {
	dir := t.TempDir()
	cert, key := pair(t, dir, 1)
	other, _ := pair(t, t.TempDir(), 2)
	for _, c := range []struct{ cert, key, want string }{
		{filepath.Join(dir, "none"), key, "tls.cert"},
		{cert, filepath.Join(dir, "none"), "tls.key"},
		{key, cert, "PEM files of one pair"},
		{other, key, "PEM files of one pair"},
	} {
		if _, err := LoadCertificate(c.cert, c.key, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s, %s: %v", c.cert, c.key, err)
		}
	}
}
