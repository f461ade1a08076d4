package session

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-dev/holdfast/internal/failpoint"
	"github.com/holdfast-dev/holdfast/internal/store"
	"github.com/holdfast-dev/holdfast/internal/transcript"
)

// Imported is a session that a file holds. Existing tells that it was there
// already, of an earlier try with the same client id.
type Imported struct {
	Session  store.Session
	Existing bool
}

// Import reads sessions from an export of Holdfast: lines of JSON, or a zip
// archive of such files. All of them come, or none: they are in no list before
// the last one is whole, and what a kill left is removed by the next life. They
// get ids of their own. A repeated client id brings no session twice.
//
// The file is kept on the disk while it is read: whatever its length, and however
// slowly it comes, neither memory nor anybody's place is taken for it. What is
// wrong with it is told before anything is stored.
func (m *Manager) Import(ctx context.Context, r io.Reader, clientID string) (list []Imported, err error) {
	f, size, err := m.spool(ctx, r)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.drop()) }()
	from := origins{}
	if err := readExport(ctx, f.File, size, from); err != nil {
		return nil, err
	}
	m.importing.Lock()
	defer m.importing.Unlock()
	im := newImporter(ctx, m, clientID)
	im.origins = from
	if err := readExport(ctx, f.File, size, im); err != nil {
		im.undo()
		return nil, publicError(err)
	}
	failpoint.Hit("import.whole")
	if err := im.finish(); err != nil {
		im.undo()
		return nil, err
	}
	for i := range im.list {
		if im.list[i].Session, err = m.Store.Session(ctx, im.list[i].Session.ID); err != nil {
			return nil, publicError(err)
		}
	}
	return im.list, nil
}

// importName is the name of a file that is being imported, in the state folder.
const importName = "import-*.tmp"

// spooled is a file that is gone with its last byte.
type spooled struct {
	*os.File
	gone bool // its name is
}

func (f *spooled) drop() error {
	err := f.Close()
	if !f.gone {
		err = errors.Join(err, os.Remove(f.Name()))
	}
	return err
}

// spool keeps what comes in a file without a name, where the system has such.
func (m *Manager) spool(ctx context.Context, r io.Reader) (f *spooled, size int64, err error) {
	file, err := os.CreateTemp(m.Home, importName)
	if err != nil {
		return nil, 0, fmt.Errorf("keep import: %w", err)
	}
	f = &spooled{File: file}
	f.gone = os.Remove(file.Name()) == nil
	if size, err = io.Copy(file, cancelled(ctx, r)); err != nil {
		return nil, 0, errors.Join(fmt.Errorf("keep import: %w", err), f.drop())
	}
	return f, size, nil
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// readExport reads a file, or all files of an archive. What is wrong with them is
// an Error that a person understands.
func readExport(ctx context.Context, f io.ReaderAt, size int64, v transcript.Visitor) error {
	wrong := func(name string, err error) error {
		var l *transcript.LineError
		if !errors.As(err, &l) {
			return err
		}
		if name != "" {
			name += ", "
		}
		return &Error{Code: CodeBadImport, Message: fmt.Sprintf("The file cannot be imported: %s%s. Nothing was imported.", name, strings.TrimRight(l.Error(), "."))}
	}
	magic := make([]byte, 4)
	if n, err := f.ReadAt(magic, 0); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read import: %w", err)
	} else if !bytes.Equal(magic[:n], []byte("PK\x03\x04")) {
		return wrong("", transcript.Read(cancelled(ctx, io.NewSectionReader(f, 0, size)), v))
	}
	damaged := func(err error) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return &Error{Code: CodeBadImport, Message: fmt.Sprintf("The archive is damaged: %v. Nothing was imported.", err)}
	}
	z, err := zip.NewReader(f, size)
	if err != nil {
		return damaged(err)
	}
	read := 0
	for _, entry := range z.File {
		if path.Ext(entry.Name) != "."+string(transcript.Lines) || strings.HasPrefix(path.Base(entry.Name), ".") {
			continue
		}
		read++
		in, err := entry.Open()
		if err != nil {
			return damaged(err)
		}
		err = transcript.Read(cancelled(ctx, in), v)
		_ = in.Close() // it was only read
		if errors.Is(err, zip.ErrChecksum) || errors.Is(err, zip.ErrFormat) || errors.Is(err, io.ErrUnexpectedEOF) {
			return damaged(err)
		}
		if err != nil {
			return wrong(entry.Name, err)
		}
	}
	if read == 0 {
		return &Error{Code: CodeBadImport, Message: "The archive holds no file that can be imported: their names end with .jsonl. Export with the format jsonl."}
	}
	return nil
}

// cancelled is r until ctx ends.
func cancelled(ctx context.Context, r io.Reader) io.Reader {
	return readerFunc(func(p []byte) (int, error) {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		return r.Read(p)
	})
}

// origins are the items at which sessions of a file were copied from others, as
// the file has them, with their new ids once they came.
type origins map[store.Origin]string

var _ transcript.Visitor = origins(nil)

func (o origins) Session(s transcript.Session) error {
	if s.ForkedFrom != nil && s.ForkedFrom.Item != "" {
		o[*s.ForkedFrom] = ""
	}
	return nil
}

func (origins) Run(transcript.Run) error         { return nil }
func (origins) File(transcript.File) error       { return nil }
func (origins) Item(transcript.Item) error       { return nil }
func (origins) Blob(transcript.Blob) error       { return nil }
func (origins) Rewound(transcript.Rewound) error { return nil }
func (origins) End() error                       { return nil }

// importBytes is about how much one transaction takes: others want the writer, too.
const importBytes = 1 << 20

// importer makes sessions of what a file holds.
type importer struct {
	m        *Manager
	ctx      context.Context //nolint:containedctx // of the one call that it serves
	clientID string
	list     []Imported
	origins  origins

	// Of the session under way.
	id    string            // "" where it was there already
	from  string            // its id in the file
	made  map[string]string // sessions of the file: their new ids
	said  map[string]string // messages: their new ids
	runs  map[string]string
	files map[string]store.File
	named map[string]string // items that a run names before they come: their new ids
	item  string            // the last one's new id
	was   string            // and its id in the file

	steps []func(*store.Tx) error
	size  int
}

var _ transcript.Visitor = (*importer)(nil)

func newImporter(ctx context.Context, m *Manager, clientID string) *importer {
	return &importer{m: m, ctx: ctx, clientID: clientID, made: map[string]string{}}
}

// Session begins one.
func (im *importer) Session(s transcript.Session) error {
	tags, err := tagsOf(s.Tags)
	if err != nil {
		return err
	}
	row := store.Session{
		ID: newID("s"), Title: strings.TrimSpace(strings.ToValidUTF8(s.Title, "")), TitleSet: s.TitleSet, Agent: s.Agent, Cwd: s.Cwd,
		Pinned: s.Pinned, Archived: s.Archived, Building: true,
		Imported: &store.Imported{Session: s.ID, CreatedAt: s.CreatedAt},
	}
	if len(tags) > 0 {
		row.Tags = tags
	}
	if im.clientID != "" {
		row.ClientID = fmt.Sprintf("import:%s:%d", im.clientID, len(im.list))
	}
	row.ForkedFrom = im.origin(s.ForkedFrom)
	here := s.Project != nil && isFolder(s.Project.Cwd)
	var made store.Session
	existing := false
	err = im.m.update(func(tx *store.Tx, _ *effects) error {
		var err error
		if row.Project, err = projectIn(tx, s, here); err != nil {
			return err
		}
		if made, existing, err = build(tx, row); !existing {
			if err == nil && s.Options != nil {
				_, err = tx.Append(made.ID, "", store.AgentOptions, store.OptionsBody{Chosen: s.Options})
			}
			return err
		}
		if made.Imported == nil || made.Imported.Session != s.ID {
			return &Error{Code: CodeSessionConflict, Message: "Another file was imported before with this client_id. Give this one a client_id of its own."}
		}
		return nil
	})
	if err != nil {
		return err
	}
	im.list = append(im.list, Imported{Session: made, Existing: existing})
	im.id = made.ID
	if existing {
		im.id = ""
	}
	im.from, im.made[s.ID] = s.ID, made.ID
	im.runs, im.files, im.named, im.said = map[string]string{}, map[string]store.File{}, map[string]string{}, map[string]string{}
	return nil
}

// origin is where a copied session comes from, if that is in the file, too. Else
// it is as the file has it, and may be known here.
func (im *importer) origin(was *store.Origin) *store.Origin {
	if was == nil {
		return nil
	}
	if id := im.made[was.Session]; id != "" {
		return &store.Origin{Session: id, Item: im.origins[*was]}
	}
	return was
}

// projectIn is the project of an imported session: the one that it was in, known
// by its folder or its name, or made where its folder is here; without one, that
// whose folder holds the session's.
func projectIn(tx *store.Tx, s transcript.Session, here bool) (string, error) {
	if s.Project == nil {
		return tx.ProjectOf(s.Cwd)
	}
	p, err := tx.FindProject(s.Project.Cwd, s.Project.Name)
	if errors.Is(err, store.ErrNotFound) {
		if !here {
			return tx.ProjectOf(s.Cwd)
		}
		p, err = tx.PutProject(store.Project{Name: s.Project.Name, Cwd: s.Project.Cwd, Agent: s.Project.Agent})
	}
	return p.ID, err
}

func isFolder(name string) bool {
	info, err := os.Stat(name)
	return filepath.IsAbs(name) && err == nil && info.IsDir()
}

// later does a step with others, in one transaction.
func (im *importer) later(size int, step func(*store.Tx) error) error {
	if im.id == "" {
		return nil
	}
	im.steps = append(im.steps, step)
	im.size += size
	if len(im.steps) < copyAt && im.size < importBytes {
		return nil
	}
	return im.flush()
}

func (im *importer) flush() error {
	steps := im.steps
	im.steps, im.size = nil, 0
	if len(steps) == 0 {
		return nil
	}
	if err := im.ctx.Err(); err != nil {
		return err
	}
	failpoint.Hit("import.step")
	return im.m.Store.Update(store.Relaxed, func(tx *store.Tx) error {
		for _, step := range steps {
			if err := step(tx); err != nil {
				return err
			}
		}
		return nil
	})
}

// Run keeps how a run ended.
func (im *importer) Run(r transcript.Run) error {
	run := store.Run{
		ID: newID("r"), Session: im.id, State: store.RunStateEnded, Reason: r.Reason, Detail: r.Detail, Item: newID("i"), Pos: int64(len(im.runs)) + 1,
	}
	for to, from := range map[*time.Time]*time.Time{&run.QueuedAt: r.QueuedAt, &run.StartedAt: r.StartedAt, &run.EndedAt: r.EndedAt} {
		if from != nil {
			*to = *from
		}
	}
	im.runs[r.ID] = run.ID
	im.named[r.Item] = run.Item
	return im.later(len(r.Detail), func(tx *store.Tx) error { return tx.PutRun(run) })
}

// File keeps an attachment under an id of its own.
func (im *importer) File(a transcript.File) error {
	kind, _, err := mime.ParseMediaType(a.Type)
	if err != nil || len(kind) > 100 {
		kind = "application/octet-stream"
	}
	f := store.File{ID: store.NewID(), Name: FileName(a.Name), Type: kind, Size: int64(len(a.Data))}
	im.files[a.ID] = f
	return im.later(len(a.Data), func(tx *store.Tx) error { return tx.ImportFile(f, a.Data) })
}

// FileName is what of a name may be an attachment's: it is shown, and becomes a
// file's name.
func FileName(name string) string {
	name = path.Base(strings.ReplaceAll(strings.ToValidUTF8(name, ""), `\`, "/"))
	if name == "." || name == ".." || name == "/" || len(name) > 255 || strings.ContainsRune(name, 0) {
		return "file"
	}
	return name
}

// Item appends an item.
func (im *importer) Item(it transcript.Item) error {
	id, ok := im.named[it.ID]
	if ok {
		delete(im.named, it.ID)
	} else {
		id = newID("i")
	}
	im.item, im.was = id, it.ID
	if at := (store.Origin{Session: im.from, Item: it.ID}); im.id != "" {
		if _, wanted := im.origins[at]; wanted {
			im.origins[at] = id
		}
	}
	if it.Kind == store.ItemUser {
		im.said[it.ID] = id
	}
	out := store.Item{ID: id, Kind: it.Kind, At: it.At, Run: im.runs[it.Run], Body: it.Body}
	var err error
	switch it.Kind {
	case store.ItemUser:
		out.Body, err = im.message(id, it.Body)
	case store.ItemApproval:
		out.Body, err = im.approval(out, it.Body)
	default:
		if from := `"blob":"` + it.ID + "-"; bytes.Contains(it.Body, []byte(from)) {
			out.Body = bytes.ReplaceAll(it.Body, []byte(from), []byte(`"blob":"`+id+"-"))
		}
	}
	if err != nil {
		return err
	}
	session := im.id
	return im.later(len(out.Body), func(tx *store.Tx) error { return tx.ImportItem(session, out) })
}

func (im *importer) message(id string, body json.RawMessage) (json.RawMessage, error) {
	var msg transcript.Message
	if err := json.Unmarshal(body, &msg); err != nil {
		return nil, fmt.Errorf("read message: %w", err)
	}
	b := store.MessageBody{Item: id, Text: msg.Text}
	if msg.Steer != "" {
		b.Steer = &store.Steer{State: msg.Steer}
	}
	for _, name := range msg.Files {
		f := im.files[name]
		b.Attachments = append(b.Attachments, f.ID)
		if !slices.Contains(b.Files, f) {
			b.Files = append(b.Files, f)
		}
	}
	return bare(b)
}

func (im *importer) approval(it store.Item, body json.RawMessage) (json.RawMessage, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(body, &fields); err != nil {
		return nil, fmt.Errorf("read approval: %w", err)
	}
	for name, value := range map[string]string{"item": it.ID, "session": im.id, "run": it.Run} {
		fields[name] = mustJSON(value)
	}
	return bare(fields)
}

// bare is JSON without the escapes that HTML would need: a body reads the same
// after it went through a file.
func bare(v any) (json.RawMessage, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return bytes.TrimRight(buf.Bytes(), "\n"), err
}

// Blob keeps a long output of the last item.
func (im *importer) Blob(b transcript.Blob) error {
	session, id := im.id, im.item+strings.TrimPrefix(b.ID, im.was)
	return im.later(len(b.Data), func(tx *store.Tx) error { return tx.ImportBlob(session, id, b.Data) })
}

// Rewound takes back what was taken back there.
func (im *importer) Rewound(r transcript.Rewound) error {
	session, id := im.id, im.said[r.Item]
	return im.later(0, func(tx *store.Tx) error {
		err := tx.Rewind(session, id)
		if errors.Is(err, store.ErrNotFound) {
			return &Error{Code: CodeBadImport, Message: fmt.Sprintf("The file cannot be imported: the message %.40q is taken back, which began no run or was taken back already. Nothing was imported.", r.Item)}
		}
		return err
	})
}

// End has the session whole.
func (im *importer) End() error { return im.flush() }

// finish has lists show the sessions.
func (im *importer) finish() error {
	return im.m.update(func(tx *store.Tx, _ *effects) error {
		for _, s := range im.list {
			if s.Existing {
				continue
			}
			if err := tx.FinishSession(s.Session.ID); err != nil {
				return err
			}
		}
		return nil
	})
}

// undo takes away what is not whole. Where it cannot, the next life of the host
// does.
func (im *importer) undo() {
	for _, s := range im.list {
		if !s.Existing {
			_ = im.m.update(func(tx *store.Tx, _ *effects) error { return tx.DeleteSession(s.Session.ID) })
		}
	}
}
