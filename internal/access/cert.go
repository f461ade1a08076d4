package access

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// certEvery is how often a handshake looks whether the files have changed. A
// watcher would be one more thing that can fail, and renewals come weeks apart.
const certEvery = time.Minute

// Certificate is the host's own certificate, read from two files and read
// again when they change. What cannot be read leaves the old one in place.
type Certificate struct {
	certFile, keyFile string
	log               *slog.Logger
	now               func() time.Time

	mu     sync.Mutex
	loaded *tls.Certificate
	text   []byte // of both files, as they were read last
	looked time.Time
	failed string // what was logged last, so that it is logged once
}

// LoadCertificate reads a certificate with its chain, and its key. The error
// says which file is wrong and what to do.
func LoadCertificate(certFile, keyFile string, log *slog.Logger) (*Certificate, error) {
	c := &Certificate{certFile: certFile, keyFile: keyFile, log: log, now: time.Now}
	loaded, text, err := c.read()
	if err != nil {
		return nil, err
	}
	c.loaded, c.text, c.looked = loaded, text, c.now()
	if end := loaded.Leaf.NotAfter; end.Before(c.now()) {
		log.Warn("the TLS certificate has expired; browsers will refuse it", "file", certFile, "expired", end)
	}
	return c, nil
}

func (c *Certificate) read() (*tls.Certificate, []byte, error) {
	cert, err := os.ReadFile(c.certFile)
	if err != nil {
		return nil, nil, fmt.Errorf("the TLS certificate cannot be read: %w. Correct tls.cert, or make the file readable for this user", err)
	}
	key, err := os.ReadFile(c.keyFile)
	if err != nil {
		return nil, nil, fmt.Errorf("the TLS key cannot be read: %w. Correct tls.key, or make the file readable for this user", err)
	}
	text := append(cert, key...)
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, text, fmt.Errorf("the TLS certificate %s and the key %s cannot be used: %w. Both must be PEM files of one pair, the host's own certificate first", c.certFile, c.keyFile, err)
	}
	if pair.Leaf == nil { // GODEBUG x509keypairleaf=0
		if pair.Leaf, err = x509.ParseCertificate(pair.Certificate[0]); err != nil {
			return nil, text, fmt.Errorf("the TLS certificate %s cannot be used: %w", c.certFile, err)
		}
	}
	return &pair, text, nil
}

// get is the certificate to show now.
func (c *Certificate) get() *tls.Certificate {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	if now.Sub(c.looked) < certEvery {
		return c.loaded
	}
	c.looked = now
	loaded, text, err := c.read()
	switch {
	case err != nil:
		if err.Error() != c.failed {
			c.failed = err.Error()
			c.log.Warn("the new TLS certificate was not taken, the old one stays", "err", err)
		}
	case !bytes.Equal(text, c.text):
		c.loaded, c.text, c.failed = loaded, text, ""
		c.log.Info("a new TLS certificate is in use", "file", c.certFile, "until", loaded.Leaf.NotAfter)
	default:
		c.failed = ""
	}
	return c.loaded
}

// Config is how the host speaks TLS: 1.2 or newer, and HTTP/1.1 only.
//
// HTTP/2 is left out on purpose. A connection is what the host counts, limits
// and carries, and with HTTP/1.1 it is one request: one client cannot open a
// hundred streams past the limits of each class, and what a restart has to let
// end is plain. The page needs one stream for a browser, so six connections
// are enough for it, and a proxy before the host speaks HTTP/2 to browsers
// where somebody wants it.
func (c *Certificate) Config() *tls.Config {
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		NextProtos:     []string{"http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.get(), nil },
	}
}
