package session

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/renameio/v2/maybe"

	"github.com/holdfast-dev/holdfast/internal/acp"
	"github.com/holdfast-dev/holdfast/internal/store"
)

// filesMax bounds the attachments of one message, in bytes: as base64 they and
// the text are one line, of which a keeper takes 64 MiB.
const filesMax = 40 << 20

// identity is what a repeated message must have in common with the first.
func (msg Message) identity() string {
	if len(msg.Attachments) == 0 {
		return msg.Text
	}
	return msg.Text + "\x00" + strings.Join(msg.Attachments, "\x00")
}

func noAttachment(id string) error {
	return &Error{Code: CodeNoAttachment, Message: fmt.Sprintf("There is no attachment %q. Upload the file first.", id)}
}

// filesOf describes the attachments of a message.
func filesOf(tx *store.Tx, ids []string) ([]store.File, error) {
	var files []store.File
	size := int64(0)
	for _, id := range ids {
		f, err := tx.File(id)
		if errors.Is(err, store.ErrNotFound) {
			return nil, noAttachment(id)
		}
		if err != nil {
			return nil, err
		}
		size += f.Size
		files = append(files, f)
	}
	if size > filesMax {
		return nil, &Error{Code: CodeBadRequest, Message: fmt.Sprintf("The files of one message have at most %d MB together. Put larger ones into the session's folder and name them.", filesMax>>20)}
	}
	return files, nil
}

// putFiles writes the attachments where an agent can read them that takes
// links only. It does so before the message is stored, so that no transaction
// waits for it; what is there already is left.
func (m *Manager) putFiles(ctx context.Context, ids []string) error {
	for _, id := range ids {
		a, err := m.Store.Attachment(ctx, id)
		if errors.Is(err, store.ErrNotFound) {
			return noAttachment(id)
		}
		if err != nil {
			return err
		}
		path := m.filePath(store.File{ID: a.ID, Name: a.Name})
		if info, err := os.Stat(path); err == nil && info.Size() == int64(len(a.Data)) {
			continue
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return fmt.Errorf("write attachment: %w", err)
		}
		if err := maybe.WriteFile(path, a.Data, 0o600); err != nil {
			return fmt.Errorf("write attachment: %w", err)
		}
	}
	return nil
}

// filePath is where an attachment lies for agents. Its name was made one
// element of a path when it was taken.
func (m *Manager) filePath(f store.File) string {
	return filepath.Join(m.Home, "attachments", f.ID, f.Name)
}

// fileKept is how long a file that an agent was given may lie without its
// attachment, and what an import left: nobody is writing it any more.
const fileKept = time.Hour

// SweepFiles removes the files of attachments that the store has no more, and
// what a killed import left.
func (m *Manager) SweepFiles(ctx context.Context) error {
	if m.Held() {
		return nil // another program may have begun what this one does not know of
	}
	errs := []error{m.sweepImports()}
	root := filepath.Join(m.Home, "attachments")
	dirs, err := os.ReadDir(root)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return errors.Join(append(errs, fmt.Errorf("sweep attachments: %w", err))...)
	}
	for _, d := range dirs {
		if info, err := d.Info(); err != nil || m.Now().Sub(info.ModTime()) < fileKept {
			continue // it goes, or it may just come
		}
		has, err := m.Store.HasAttachment(ctx, d.Name())
		if err != nil {
			return errors.Join(append(errs, err)...)
		}
		if !has {
			errs = append(errs, os.RemoveAll(filepath.Join(root, d.Name())))
		}
	}
	return errors.Join(errs...)
}

func (m *Manager) sweepImports() error {
	left, err := filepath.Glob(filepath.Join(m.Home, importName))
	if err != nil {
		return err
	}
	var errs []error
	for _, path := range left {
		if info, err := os.Lstat(path); err == nil && m.Now().Sub(info.ModTime()) >= fileKept {
			errs = append(errs, os.Remove(path))
		}
	}
	return errors.Join(errs...)
}

// promptBlocks are the message as the agent can take it: pictures and texts
// within, where it says so, and everything else as a link to a file.
func (m *Manager) promptBlocks(tx *store.Tx, run store.Run, ep store.Epoch, text string) ([]acp.ContentBlock, error) {
	it, err := tx.Item(run.Item)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return nil, err
	}
	var body store.MessageBody
	if err == nil {
		if err := json.Unmarshal(it.Body, &body); err != nil {
			return nil, fmt.Errorf("read message: %w", err)
		}
	}
	var blocks []acp.ContentBlock
	if text != "" {
		blocks = append(blocks, acp.TextBlock(text))
	}
	if len(body.Files) == 0 {
		return blocks, nil
	}
	var info acp.InitializeResult
	if len(ep.Info) > 0 {
		if err := json.Unmarshal(ep.Info, &info); err != nil {
			return nil, fmt.Errorf("read what the agent can: %w", err)
		}
	}
	can := info.AgentCapabilities.PromptCapabilities
	for _, f := range body.Files {
		b, err := m.fileBlock(tx, f, can)
		if err != nil {
			return nil, err
		}
		blocks = append(blocks, b)
	}
	return blocks, nil
}

func (m *Manager) fileBlock(tx *store.Tx, f store.File, can acp.PromptCapabilities) (acp.ContentBlock, error) {
	uri := (&url.URL{Scheme: "file", Path: filepath.ToSlash(m.filePath(f))}).String()
	image := can.Image && strings.HasPrefix(f.Type, "image/")
	text := can.EmbeddedContext && strings.HasPrefix(f.Type, "text/") && f.Size <= 1<<20
	if image || text {
		data, err := tx.FileData(f.ID)
		if err != nil {
			return acp.ContentBlock{}, fmt.Errorf("read attachment %s: %w", f.ID, err)
		}
		if image {
			return acp.ContentBlock{Type: acp.BlockImage, MimeType: f.Type, Data: base64.StdEncoding.EncodeToString(data)}, nil
		}
		if utf8.Valid(data) {
			content := string(data)
			return acp.ContentBlock{Type: acp.BlockResource, Resource: &acp.Resource{URI: uri, MimeType: f.Type, Text: &content}}, nil
		}
	}
	size := f.Size
	return acp.ContentBlock{Type: acp.BlockResourceLink, URI: uri, Name: f.Name, MimeType: f.Type, Size: &size}, nil
}
