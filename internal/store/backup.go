package store

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"filippo.io/age"
)

// A backup is one file: a gzipped tar, in which the manifest comes first and
// has the checksum of each file after it, perhaps encrypted by age.
const (
	manifestName = "manifest.json"
	configName   = "config.toml"
	dbName       = "holdfast.db"
	manifestMax  = 1 << 20
	configMax    = 16 << 20

	backupFormat = 1
)

// Manifest says what a backup holds.
type Manifest struct {
	Format    int          `json:"format"`
	CreatedAt time.Time    `json:"created_at"`
	Version   string       `json:"version"` // of the program that made it
	Copy      CopyInfo     `json:"copy"`
	Files     []BackupFile `json:"files"` // in the order in which they follow
}

// BackupFile is one file of a backup.
type BackupFile struct {
	Name   string `json:"name"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

// BackupOptions say what goes into a backup, and where it goes.
type BackupOptions struct {
	DB         string // a copy that has been checked
	Config     string // path of config.toml; it need not exist
	Copy       CopyInfo
	Version    string
	Recipients []age.Recipient // none: it is not encrypted
	To         string          // must not exist
	Now        time.Time
	Progress   func(done, total int64)
}

// WriteBackup makes a backup: under a temporary name first, read back whole and
// compared, then renamed. Where it fails or ctx ends, nothing is left.
func WriteBackup(ctx context.Context, o BackupOptions) (m Manifest, err error) {
	m = Manifest{Format: backupFormat, CreatedAt: o.Now.UTC().Truncate(time.Millisecond), Version: o.Version, Copy: o.Copy}
	paths := map[string]string{configName: o.Config, dbName: o.DB}
	var total int64
	for _, name := range []string{configName, dbName} {
		f, err := describe(ctx, name, paths[name])
		if errors.Is(err, os.ErrNotExist) && name == configName {
			continue
		}
		if err != nil {
			return m, fmt.Errorf("read %s: %w", name, err)
		}
		m.Files = append(m.Files, f)
		total += f.Size
	}
	if _, err := os.Lstat(o.To); !errors.Is(err, os.ErrNotExist) {
		return m, fmt.Errorf("%s: %w", o.To, errors.Join(ErrExists, err))
	}
	recipients, reader, err := witness(o.Recipients)
	if err != nil {
		return m, err
	}
	temp, err := os.CreateTemp(filepath.Dir(o.To), ".holdfast-backup-*.partial") // 0600
	if err != nil {
		return m, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, temp.Close(), removeAll(temp.Name()))
		}
	}()
	tell := counter(o.Progress, 2*total) // written, then read back
	if err := writeArchive(ctx, temp, m, paths, recipients, tell); err != nil {
		return m, full(fmt.Errorf("write backup: %w", err), filepath.Dir(o.To))
	}
	if err := temp.Sync(); err != nil {
		return m, full(fmt.Errorf("write backup: %w", err), filepath.Dir(o.To))
	}
	if _, err := temp.Seek(0, io.SeekStart); err != nil {
		return m, err
	}
	if _, err := readArchive(ctx, temp, reader, nil, tell); err != nil {
		return m, fmt.Errorf("what was written does not read back: %w", err)
	}
	if err := temp.Close(); err != nil {
		return m, fmt.Errorf("write backup: %w", err)
	}
	if _, err := os.Lstat(o.To); !errors.Is(err, os.ErrNotExist) {
		return m, fmt.Errorf("%s: %w", o.To, errors.Join(ErrExists, err))
	}
	if err := os.Rename(temp.Name(), o.To); err != nil {
		return m, fmt.Errorf("write backup: %w", err)
	}
	return m, syncDir(filepath.Dir(o.To))
}

// witness adds a recipient whose key nobody keeps, so that what was encrypted
// for others can be read back once. Age refuses to mix keys that withstand
// quantum computers with those that do not.
func witness(recipients []age.Recipient) ([]age.Recipient, []age.Identity, error) {
	if len(recipients) == 0 {
		return nil, nil, nil
	}
	if _, hybrid := recipients[0].(*age.HybridRecipient); hybrid {
		id, err := age.GenerateHybridIdentity()
		if err != nil {
			return nil, nil, err
		}
		return append(recipients[:len(recipients):len(recipients)], id.Recipient()), []age.Identity{id}, nil
	}
	id, err := age.GenerateX25519Identity()
	if err != nil {
		return nil, nil, err
	}
	return append(recipients[:len(recipients):len(recipients)], id.Recipient()), []age.Identity{id}, nil
}

func writeArchive(ctx context.Context, w io.Writer, m Manifest, paths map[string]string, recipients []age.Recipient, tell func(int)) error {
	var sealed io.WriteCloser
	if len(recipients) > 0 {
		var err error
		if sealed, err = age.Encrypt(w, recipients...); err != nil {
			return err
		}
		w = sealed
	}
	zip := gzip.NewWriter(w)
	out := tar.NewWriter(zip)
	head, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	put := func(name string, size int64, r io.Reader) error {
		h := &tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o600, ModTime: m.CreatedAt}
		if err := out.WriteHeader(h); err != nil {
			return err
		}
		_, err := io.Copy(out, &step{ctx, r, tell})
		return err
	}
	if err := put(manifestName, int64(len(head)), bytes.NewReader(head)); err != nil {
		return err
	}
	for _, file := range m.Files {
		f, err := os.Open(paths[file.Name])
		if err != nil {
			return err
		}
		err = put(file.Name, file.Size, io.LimitReader(f, file.Size))
		if err := errors.Join(err, f.Close()); err != nil {
			return err
		}
	}
	errs := []error{out.Close(), zip.Close()}
	if sealed != nil {
		errs = append(errs, sealed.Close())
	}
	return errors.Join(errs...)
}

// ErrEncrypted says that a backup needs an identity to be read.
var ErrEncrypted = errors.New("the backup is encrypted")

const ageMagic = "age-encryption.org/"

// ReadBackup reads a backup whole and checks it against its manifest. Its
// files go to the folder dir, which must be empty.
func ReadBackup(ctx context.Context, from string, identities []age.Identity, dir string, progress func(done, total int64)) (Manifest, error) {
	f, err := os.Open(from)
	if err != nil {
		return Manifest{}, err
	}
	defer f.Close()
	var size int64
	if info, err := f.Stat(); err == nil {
		size = info.Size()
	}
	tell := counter(progress, size)
	root, err := os.OpenRoot(dir)
	if err != nil {
		return Manifest{}, err
	}
	defer root.Close()
	m, err := readArchive(ctx, &step{ctx, f, tell}, identities, root, nil)
	return m, full(err, dir)
}

func readArchive(ctx context.Context, r io.Reader, identities []age.Identity, to *os.Root, tell func(int)) (m Manifest, err error) {
	in := bufio.NewReaderSize(r, 64<<10)
	if head, _ := in.Peek(len(ageMagic)); string(head) == ageMagic {
		if len(identities) == 0 {
			return m, ErrEncrypted
		}
		plain, err := age.Decrypt(in, identities...)
		if err != nil {
			return m, err
		}
		in = bufio.NewReaderSize(plain, 64<<10)
	}
	zip, err := gzip.NewReader(in)
	if err != nil {
		return m, fmt.Errorf("it is no backup of Holdfast, or damaged: %w", err)
	}
	zip.Multistream(false)
	files := tar.NewReader(zip)
	if m, err = readManifest(files); err != nil {
		return m, err
	}
	for _, want := range m.Files {
		h, err := files.Next()
		if err != nil {
			return m, damaged(err)
		}
		if h.Name != want.Name || h.Typeflag != tar.TypeReg || h.Size != want.Size {
			return m, fmt.Errorf("it is damaged: %q stands where %q should", h.Name, want.Name)
		}
		if err := readFile(&step{ctx, files, tell}, want, to); err != nil {
			return m, err
		}
	}
	if _, err := files.Next(); !errors.Is(err, io.EOF) {
		return m, fmt.Errorf("it is damaged: more follows than its manifest names (%w)", err)
	}
	// To the very end: the checksums of the outer layers stand there.
	//nolint:gosec // nothing of it is kept, and who wants to waste our time has our rights
	if _, err := io.Copy(io.Discard, zip); err != nil {
		return m, damaged(err)
	}
	switch n, err := io.Copy(io.Discard, in); {
	case err != nil:
		return m, damaged(err)
	case n > 0:
		return m, fmt.Errorf("it is damaged: %d bytes follow its end", n)
	}
	return m, nil
}

func damaged(err error) error {
	if errors.Is(err, context.Canceled) {
		return err
	}
	return fmt.Errorf("it is cut or damaged: %w", err)
}

func readManifest(files *tar.Reader) (m Manifest, err error) {
	h, err := files.Next()
	if err != nil {
		return m, damaged(err)
	}
	if h.Name != manifestName || h.Size > manifestMax {
		return m, errors.New("it is no backup of Holdfast: it does not begin with a manifest")
	}
	if err := json.NewDecoder(files).Decode(&m); err != nil {
		return m, damaged(err)
	}
	if m.Format > backupFormat {
		return m, fmt.Errorf("it was made by a newer Holdfast (%s, format %d; this program knows %d): install that version first", m.Version, m.Format, backupFormat)
	}
	seen := map[string]bool{}
	for _, f := range m.Files {
		if seen[f.Name] || f.Size < 0 || f.Name != dbName && (f.Name != configName || f.Size > configMax) {
			return m, fmt.Errorf("it is damaged: its manifest names %q", f.Name)
		}
		seen[f.Name] = true
	}
	if !seen[dbName] {
		return m, errors.New("it is damaged: it holds no database")
	}
	return m, nil
}

func readFile(r io.Reader, want BackupFile, to *os.Root) error {
	sum := sha256.New()
	w := io.Writer(sum)
	var out *os.File
	if to != nil {
		var err error
		if out, err = to.OpenFile(want.Name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600); err != nil {
			return err
		}
		w = io.MultiWriter(sum, out)
	}
	_, err := io.Copy(w, r)
	if err != nil {
		err = damaged(err)
	}
	if out != nil {
		err = errors.Join(err, out.Sync(), out.Close())
	}
	if err == nil && hex.EncodeToString(sum.Sum(nil)) != want.SHA256 {
		err = fmt.Errorf("it is damaged: the checksum of %s is another", want.Name)
	}
	return err
}

func describe(ctx context.Context, name, path string) (b BackupFile, err error) {
	f, err := os.Open(path)
	if err != nil {
		return b, err
	}
	defer f.Close()
	sum := sha256.New()
	n, err := io.Copy(sum, &step{ctx, f, nil})
	return BackupFile{Name: name, Size: n, SHA256: hex.EncodeToString(sum.Sum(nil))}, err
}

// step is a reader that ends with a context and counts.
type step struct {
	ctx  context.Context //nolint:containedctx // lives as long as one copy
	r    io.Reader
	tell func(int)
}

func (s *step) Read(p []byte) (int, error) {
	if err := s.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := s.r.Read(p)
	if s.tell != nil {
		s.tell(n)
	}
	return n, err
}

func counter(progress func(done, total int64), total int64) func(int) {
	var done int64
	return func(n int) {
		done += int64(n)
		if progress != nil {
			progress(min(done, total), total)
		}
	}
}

// full names the disk that had no space.
func full(err error, dir string) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("the disk of %s is full: %w", dir, errors.Join(err, ErrDiskFull))
	}
	return err
}

// Recipient reads one of age's public keys (age1…).
func Recipient(text string) (age.Recipient, error) {
	list, err := age.ParseRecipients(strings.NewReader(text))
	if err != nil {
		return nil, err
	}
	return list[0], nil
}

// Identities reads a file of age's secret keys (AGE-SECRET-KEY-…).
func Identities(path string) ([]age.Identity, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return age.ParseIdentities(f)
}

func copyFile(from, to string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Sync(), out.Close())
}
