package app

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast/internal/config"
	"github.com/holdfast-dev/holdfast/internal/obs"
)

// The archive holds what helps, and nothing that lets somebody in.
func TestDiagnosisHoldsNoSecrets(t *testing.T) {
	const secret = "hunter2-in-the-environment"
	home := t.TempDir()
	file := "[agents.mine]\nname = \"Mine\"\ncommand = [\"/bin/true\", \"--api-key=" + secret + "\"]\nenv = { KEY = \"" + secret + "\" }\n"
	if err := os.WriteFile(filepath.Join(home, "config.toml"), []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Load(config.Sources{Flags: config.Flags{Home: home}, Home: home})
	if err != nil {
		t.Fatal(err)
	}
	logs := obs.New(io.Discard, 100)
	logs.Info("a line to be found")
	lock, err := takeHome(cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	life := beginLife(cfg, logs.Logger, time.Now(), false)
	defer life.Close()
	c, err := open(t.Context(), cfg, slog.New(slog.DiscardHandler), "/bin/true", lock, false)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.life, c.logs = life, logs
	token, err := c.access.CreateToken(t.Context(), "a script")
	if err != nil {
		t.Fatal(err)
	}
	link, _, err := c.access.CreateLink(t.Context(), "a browser")
	if err != nil {
		t.Fatal(err)
	}
	if err := c.access.SetPassword(t.Context(), "correct horse battery staple"); err != nil {
		t.Fatal(err)
	}
	var archive bytes.Buffer
	if err := c.Diagnosis(t.Context(), &archive); err != nil {
		t.Fatal(err)
	}
	zr, err := gzip.NewReader(&archive)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for tr := tar.NewReader(zr); ; {
		head, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(tr)
		if err != nil {
			t.Fatal(err)
		}
		all[strings.TrimPrefix(head.Name, "holdfast/")] = string(data)
	}
	for name, want := range map[string]string{
		"host.json": `"live_agents"`, "config.json": "[redacted]", "log.txt": "a line to be found", "goroutines.txt": "TestDiagnosis",
		"descriptors.txt": "holdfast.db", "lives.json": "[", "agents.json": "mine", "memory.json": "HeapAlloc",
	} {
		if !strings.Contains(all[name], want) {
			t.Errorf("%s has no %q: %.300s", name, want, all[name])
		}
	}
	for name, text := range all {
		for _, s := range []string{secret, token, link, "correct horse"} {
			if strings.Contains(text, s) {
				t.Errorf("%s holds a secret: %s", name, s)
			}
		}
		if strings.Contains(text, "could not be told") {
			t.Errorf("%s: %.300s", name, text)
		}
	}
}
