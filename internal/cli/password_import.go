package cli

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
)

type passwordImportCmd struct {
	Dir string `arg:"" optional:"" type:"path" help:"State folder of Hermes WebUI. Without it: HERMES_WEBUI_STATE_DIR, or webui in HERMES_HOME, or ~/.hermes/webui."`
}

// Help is shown after the flags.
func (passwordImportCmd) Help() string {
	return `Nobody has to know the password for that: its hash is taken over, and hashed anew when it first logs in. Nothing is written to the old folder. A password that is set in Holdfast already stays.

Examples:
  holdfast password import
  holdfast password import /srv/hermes/webui`
}

// Run takes over the old password.
func (c *passwordImportCmd) Run(ctx context.Context, a *app) (err error) {
	dir := c.Dir
	switch {
	case dir != "":
	case a.env("HERMES_WEBUI_STATE_DIR") != "":
		dir = a.env("HERMES_WEBUI_STATE_DIR")
	case a.env("HERMES_HOME") != "":
		dir = filepath.Join(a.env("HERMES_HOME"), "webui")
	default:
		dir = filepath.Join(a.UserHome, ".hermes", "webui")
	}
	hash, salts, err := oldPassword(dir)
	if err != nil {
		return err
	}
	h, err := a.connectOrOpen(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.close()) }()
	if err := h.call(ctx, http.MethodPost, "/control/password/import", map[string]any{"hash": hash, "salts": salts}, nil); err != nil {
		return err
	}
	a.notef("The password of %s logs in here too.\n", dir)
	return nil
}

// oldPassword reads the hash that Hermes WebUI keeps, and the salts that it may
// be of: the key that it has for that and, of before it had one, the key that
// signs its cookies.
func oldPassword(dir string) (hash []byte, salts [][]byte, err error) {
	file := filepath.Join(dir, "settings.json")
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, failf("there is no %s; name the state folder of Hermes WebUI: holdfast password import DIR", file)
	}
	if err != nil {
		return nil, nil, failf("read the settings of Hermes WebUI: %w", err)
	}
	var settings struct {
		Hash string `json:"password_hash"`
	}
	if err := json.Unmarshal(text, &settings); err != nil {
		return nil, nil, failf("read %s: %w", file, err)
	}
	if settings.Hash == "" {
		return nil, nil, failf("%s holds no password. One of HERMES_WEBUI_PASSWORD is set with: holdfast password set", file)
	}
	if hash, err = hex.DecodeString(settings.Hash); err != nil || len(hash) != 32 {
		return nil, nil, failf("the password in %s is hashed in a way that is not known; set one with: holdfast password set", file)
	}
	for _, name := range []string{".pbkdf2_key", ".signing_key"} {
		key, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, nil, failf("read the key of the old password: %w", err)
		}
		if len(key) >= 32 {
			salts = append(salts, key[:32])
		}
	}
	if len(salts) == 0 {
		return nil, nil, failf("%s has no .pbkdf2_key, without which the hash of the password says nothing; set one with: holdfast password set", dir)
	}
	return hash, salts, nil
}
