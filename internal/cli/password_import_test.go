package cli

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestPasswordImport(t *testing.T) {
	hash := strings.Repeat("ab", 32)
	first, second := strings.Repeat("1", 32), strings.Repeat("2", 32)
	for name, c := range map[string]struct {
		files map[string]string
		code  int
		salts []string
		said  string
	}{
		"with its key":        {map[string]string{"settings.json": `{"theme":"dark","password_hash":"` + hash + `"}`, ".pbkdf2_key": first + "more"}, 0, []string{first}, "logs in here too"},
		"with the older, too": {map[string]string{"settings.json": `{"password_hash":"` + hash + `"}`, ".pbkdf2_key": first, ".signing_key": second}, 0, []string{first, second}, "logs in here too"},
		"without a password":  {map[string]string{"settings.json": `{"password_hash":null}`, ".pbkdf2_key": first}, 1, nil, "password set"},
		"without a key":       {map[string]string{"settings.json": `{"password_hash":"` + hash + `"}`}, 1, nil, ".pbkdf2_key"},
		"of another kind":     {map[string]string{"settings.json": `{"password_hash":"$2b$12$x"}`, ".pbkdf2_key": first}, 1, nil, "not known"},
		"that is broken":      {map[string]string{"settings.json": `{`}, 1, nil, "settings.json"},
		"of nobody":           {nil, 1, nil, "there is no"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for file, text := range c.files {
				if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			var got struct {
				Hash  []byte
				Salts [][]byte
			}
			mux := http.NewServeMux()
			mux.HandleFunc("POST /control/password/import", func(w http.ResponseWriter, r *http.Request) {
				if err := json.NewDecoder(r.Body).Decode(&got); err != nil {
					t.Error(err)
				}
				w.WriteHeader(http.StatusNoContent)
			})
			b := newBench(t)
			b.listen(mux)
			code, _, said := b.run("password", "import", dir)
			if code != c.code || !strings.Contains(said, c.said) {
				t.Errorf("%d %q", code, said)
			}
			if len(got.Salts) != len(c.salts) || c.code == 0 && len(got.Hash) != 32 {
				t.Fatalf("sent: %+v", got)
			}
			for i, salt := range c.salts {
				if string(got.Salts[i]) != salt {
					t.Errorf("salt %d: %q", i, got.Salts[i])
				}
			}
		})
	}
}
