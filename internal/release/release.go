// Package release checks the files of a release: that a file is the one that
// SHA256SUMS lists, and that SHA256SUMS is what the maintainers signed. It
// also takes the program out of an archive.
//
// It reads what it is given and nothing else: no network, and of files only the
// two programs of Install.
package release

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"aead.dev/minisign"
)

// The files of a release beside what it releases.
const (
	SumsFile      = "SHA256SUMS"
	SignatureFile = "SHA256SUMS.minisig"
	Program       = "holdfast"
)

// Why a file is not to be used.
var (
	ErrNotListed    = errors.New("the file is not in the list of checksums")
	ErrChecksum     = errors.New("the file is not the one whose checksum is in the list")
	ErrBadSums      = errors.New("the list of checksums cannot be read")
	ErrPublicKey    = errors.New("the public key cannot be read")
	ErrBadSignature = errors.New("the signature is not of this list of checksums by this key")
	ErrNoProgram    = errors.New("the archive holds no program " + Program)
	ErrTooLarge     = errors.New("the program is larger than any release of it")
)

// maxProgram bounds what an archive may unpack to: ten times today's.
const maxProgram = 512 << 20

// VerifyChecksum reads file to its end and tells whether it is the one that
// sums, in the format of sha256sum, lists under name. A list in which a name
// stands twice is refused: which line counts is a matter of taste.
func VerifyChecksum(sums []byte, name string, file io.Reader) error {
	want, err := listed(sums, name)
	if err != nil {
		return err
	}
	h := sha256.New()
	if _, err := io.Copy(h, file); err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	if subtle.ConstantTimeCompare(h.Sum(nil), want) != 1 {
		return fmt.Errorf("%s: %w", name, ErrChecksum)
	}
	return nil
}

func listed(sums []byte, name string) ([]byte, error) {
	var found []byte
	lines := bufio.NewScanner(bytes.NewReader(sums))
	for n := 1; lines.Scan(); n++ {
		line := lines.Text()
		if line == "" {
			continue
		}
		digits, rest, ok := strings.Cut(line, " ")
		sum, err := hex.DecodeString(digits)
		// A second space, or a star, which says that bytes were read.
		if !ok || err != nil || len(sum) != sha256.Size || len(rest) < 2 || rest[0] != ' ' && rest[0] != '*' {
			return nil, fmt.Errorf("%w: line %d is %.80q", ErrBadSums, n, line)
		}
		if rest[1:] != name {
			continue
		}
		if found != nil {
			return nil, fmt.Errorf("%w: line %d names %s again", ErrBadSums, n, name)
		}
		found = sum
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBadSums, err)
	}
	if found == nil {
		return nil, fmt.Errorf("%s: %w", name, ErrNotListed)
	}
	return found, nil
}

// VerifySignature tells whether sig is a signature in minisign's format of
// sums by the owner of publicKey. The key is minisign's file or its last line
// alone.
func VerifySignature(publicKey, sums, sig []byte) error {
	var key minisign.PublicKey
	if err := key.UnmarshalText(bytes.TrimSpace(publicKey)); err != nil {
		return fmt.Errorf("%w: %w", ErrPublicKey, err)
	}
	if !minisign.Verify(key, sums, sig) {
		return ErrBadSignature
	}
	return nil
}

// Extract copies the program out of a release's .tar.gz. It writes nothing but
// the program, under no name of the archive's choice.
func Extract(archive io.Reader, to io.Writer) error {
	z, err := gzip.NewReader(archive)
	if err != nil {
		return fmt.Errorf("open archive: %w", err)
	}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return ErrNoProgram
		}
		if err != nil {
			return fmt.Errorf("read archive: %w", err)
		}
		if h.Typeflag != tar.TypeReg || path.Base(h.Name) != Program {
			continue
		}
		if h.Size > maxProgram {
			return ErrTooLarge
		}
		if _, err := io.CopyN(to, r, h.Size); err != nil {
			return fmt.Errorf("unpack the program: %w", err)
		}
		return nil
	}
}
