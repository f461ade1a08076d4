package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/term"
)

type linkCmd struct {
	Name string `help:"What the browser will be called in the list of logins."`
	QR   bool   `name:"qr" help:"Also draw it as a QR code for a phone's camera."`
}

// Help is shown after the flags.
func (linkCmd) Help() string {
	return `The link works once and for a few minutes. Its secret stands after the #, which a browser does not send and a preview does not use up. Only the link goes to standard output.

Examples:
  holdfast link
  holdfast link --name phone --qr`
}

// Run prints a link.
func (c *linkCmd) Run(ctx context.Context, a *app) (err error) {
	h, err := a.connectOrOpen(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.close()) }()
	var out struct {
		URL       string    `json:"url"`
		Local     string    `json:"local"`
		ExpiresAt time.Time `json:"expires_at"`
	}
	if err := h.call(ctx, http.MethodPost, "/control/link", map[string]string{"name": c.Name}, &out); err != nil {
		return err
	}
	a.printf("%s\n", out.URL)
	if c.QR {
		code, err := terminalQR(out.URL, isTerminal(a.Err))
		if err != nil {
			return failf("draw the QR code: %w", err)
		}
		a.notef("\n%s\n", code)
	}
	if out.Local != "" {
		a.notef("On this machine also: %s\n", out.Local)
	}
	a.notef("It works once, until %s.\n", out.ExpiresAt.Local().Format("15:04"))
	return nil
}

type tokenCmd struct {
	Create tokenCreateCmd `cmd:"" help:"Make a token and print it, once."`
	List   tokenListCmd   `cmd:"" help:"List the logins that there are."`
	Rename tokenRenameCmd `cmd:"" help:"Give a login another name."`
	Revoke tokenRevokeCmd `cmd:"" help:"Revoke a login, or those of all browsers."`
}

type tokenCreateCmd struct {
	Name string `required:"" help:"What it is for; shown in the list."`
}

// Help is shown after the flags.
func (tokenCreateCmd) Help() string {
	return `Only the token goes to standard output. It is stored as a hash and cannot be shown again. Whoever has it can do what you can do at a shell.

Example:
  TOKEN=$(holdfast token create --name backup)
  curl -H "Authorization: Bearer $TOKEN" http://127.0.0.1:8787/api/v1/sessions`
}

// Run prints a new token.
func (c *tokenCreateCmd) Run(ctx context.Context, a *app) (err error) {
	if strings.TrimSpace(c.Name) == "" {
		return &Error{Code: ExitUsage, Msg: "--name is empty; say what the token is for, so that you know later which one to revoke"}
	}
	h, err := a.connectOrOpen(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.close()) }()
	var out struct {
		Token string `json:"token"`
	}
	if err := h.call(ctx, http.MethodPost, "/control/token", map[string]string{"name": c.Name}, &out); err != nil {
		return err
	}
	a.printf("%s\n", out.Token)
	return nil
}

// login is one stored login.
type login struct {
	ID        string    `json:"id"`
	Kind      string    `json:"kind"`
	Name      string    `json:"name"`
	CreatedAt time.Time `json:"created_at"`
	LastUsed  time.Time `json:"last_used"`
}

type tokenListCmd struct {
	JSON bool `name:"json" help:"Print JSON."`
}

// Run lists the logins.
func (c *tokenListCmd) Run(ctx context.Context, a *app) (err error) {
	h, err := a.connectOrOpen(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.close()) }()
	var raw json.RawMessage
	if err := h.call(ctx, http.MethodGet, "/control/tokens", nil, &raw); err != nil {
		return err
	}
	if c.JSON {
		return a.printJSON(raw)
	}
	var out struct {
		Tokens []login `json:"tokens"`
	}
	if err := json.Unmarshal(raw, &out); err != nil {
		return failf("read the list of logins: %w", err)
	}
	if len(out.Tokens) == 0 {
		a.notef("There are none.\n")
		return nil
	}
	w := tabwriter.NewWriter(a.Out, 0, 4, 2, ' ', 0)
	row(w, "ID", "KIND", "NAME", "MADE", "LAST USED")
	for _, t := range out.Tokens {
		row(w, t.ID, t.Kind, t.Name, when(t.CreatedAt), when(t.LastUsed))
	}
	return w.Flush()
}

type tokenRenameCmd struct {
	ID   string `arg:"" help:"As in: holdfast token list."`
	Name string `arg:"" help:"The new name."`
}

// Run renames a login.
func (c *tokenRenameCmd) Run(ctx context.Context, a *app) (err error) {
	h, err := a.connectOrOpen(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.close()) }()
	return h.call(ctx, http.MethodPatch, "/api/v1/devices/"+url.PathEscape(c.ID), map[string]string{"name": c.Name}, nil)
}

type tokenRevokeCmd struct {
	ID       string `arg:"" optional:"" help:"As in: holdfast token list."`
	Browsers bool   `help:"Log every browser out; tokens stay."`
}

// Run revokes logins.
func (c *tokenRevokeCmd) Run(ctx context.Context, a *app) (err error) {
	if (c.ID == "") != c.Browsers {
		return &Error{Code: ExitUsage, Msg: "name one login (holdfast token revoke ID), or --browsers for those of all browsers"}
	}
	h, err := a.connectOrOpen(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.close()) }()
	if c.Browsers {
		var out struct {
			Removed int `json:"removed"`
		}
		if err := h.call(ctx, http.MethodDelete, "/api/v1/devices", nil, &out); err != nil {
			return err
		}
		a.notef("Logged out: %d.\n", out.Removed)
		return nil
	}
	if err := h.call(ctx, http.MethodDelete, "/control/tokens/"+url.PathEscape(c.ID), nil, nil); err != nil {
		return err
	}
	a.notef("Revoked.\n")
	return nil
}

type passwordCmd struct {
	Set    passwordSetCmd    `cmd:"" help:"Set the password; asks for it, or reads it from standard input."`
	Import passwordImportCmd `cmd:"" help:"Take over the password of Hermes WebUI."`
	Remove passwordRemoveCmd `cmd:"" help:"Remove the password."`
}

type passwordSetCmd struct{}

// Help is shown after the flags.
func (passwordSetCmd) Help() string {
	return `Examples:
  holdfast password set
  pass show holdfast | holdfast password set`
}

// Run sets the password.
func (c *passwordSetCmd) Run(ctx context.Context, a *app) error {
	password, err := a.readPassword()
	if err != nil {
		return err
	}
	if password == "" {
		return failf("the password is empty; to remove it: holdfast password remove")
	}
	return a.setPassword(ctx, password, "The password is set.")
}

type passwordRemoveCmd struct{}

// Run removes the password.
func (c *passwordRemoveCmd) Run(ctx context.Context, a *app) error {
	return a.setPassword(ctx, "", "There is no password any more.")
}

func (a *app) setPassword(ctx context.Context, password, done string) (err error) {
	h, err := a.connectOrOpen(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.close()) }()
	if err := h.call(ctx, http.MethodPost, "/control/password", map[string]string{"password": password}, nil); err != nil {
		return err
	}
	a.notef("%s\n", done)
	return nil
}

// readPassword asks twice at a terminal, without echo; from anything else it
// takes the first line.
func (a *app) readPassword() (string, error) {
	in, ok := a.In.(*os.File)
	if !ok || !term.IsTerminal(int(in.Fd())) {
		line, err := bufio.NewReader(a.In).ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return "", failf("read the password: %w", err)
		}
		return strings.TrimRight(line, "\r\n"), nil
	}
	ask := func(prompt string) (string, error) {
		a.notef("%s", prompt)
		text, err := term.ReadPassword(int(in.Fd()))
		a.notef("\n")
		if err != nil {
			return "", failf("read the password: %w", err)
		}
		return string(text), nil
	}
	first, err := ask("New password: ")
	if err != nil {
		return "", err
	}
	second, err := ask("Once more: ")
	if err != nil {
		return "", err
	}
	if first != second {
		return "", failf("the two differ; nothing was changed")
	}
	return first, nil
}
