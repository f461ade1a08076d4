// Command release makes what a release consists of: archives for Linux and
// macOS, Debian packages, a Homebrew formula, and the list of their checksums,
// signed where a key is given. The same source, version and Go give the same
// bytes, wherever they are made.
//
// It needs Go and the modules, nothing else.
package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"aead.dev/minisign"

	"github.com/holdfast-dev/holdfast/internal/release"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1) //nolint:gocritic // nothing is left to stop
	}
}

// job is one release.
type job struct {
	root, out string // the source, and where the files go
	version   string // 1.2.3 or 1.2.3-rc.1
	base      string // where people will get the files, for the formula
	targets   []target
	time      time.Time // of every file in every archive
	key       string    // of the signature: a file; "" for none

	notices []byte
	made    []string // names in out
}

type target struct{ os, arch string }

func (t target) String() string { return t.os + "/" + t.arch }

const project = "https://github.com/holdfast-dev/holdfast"

var semver = regexp.MustCompile(`^\d+\.\d+\.\d+(-[0-9A-Za-z.]+)?$`)

func run(ctx context.Context, args []string) error {
	var j job
	flags := flag.NewFlagSet("release", flag.ContinueOnError)
	flags.StringVar(&j.root, "root", ".", "the folder of the source")
	flags.StringVar(&j.out, "out", "dist", "the folder for the files; what another release left in it is removed")
	flags.StringVar(&j.version, "version", "", "the version, such as 1.2.3")
	flags.StringVar(&j.base, "base-url", "", "where the files will be; default: the project's release of that version")
	flags.StringVar(&j.key, "key", os.Getenv("HOLDFAST_SIGNING_KEY"), "minisign's secret key, a file; its password is $HOLDFAST_SIGNING_PASSWORD")
	targets := flags.String("targets", "linux/amd64,linux/arm64,darwin/amd64,darwin/arm64", "what to build for")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if !semver.MatchString(j.version) {
		return fmt.Errorf("-version is %q; give one such as 1.2.3 or 1.2.3-rc.1", j.version)
	}
	for t := range strings.SplitSeq(*targets, ",") {
		goos, arch, ok := strings.Cut(t, "/")
		if !ok {
			return fmt.Errorf("-targets holds %q; write OS/ARCH", t)
		}
		j.targets = append(j.targets, target{goos, arch})
	}
	if j.base == "" {
		j.base = project + "/releases/download/v" + j.version
	}
	var err error
	if j.time, err = sourceTime(ctx, j.root); err != nil {
		return err
	}
	return j.run(ctx)
}

// sourceTime is SOURCE_DATE_EPOCH, or the time of the last commit.
func sourceTime(ctx context.Context, root string) (time.Time, error) {
	text := os.Getenv("SOURCE_DATE_EPOCH")
	if text == "" {
		cmd := exec.CommandContext(ctx, "git", "log", "-1", "--format=%ct")
		cmd.Dir = root
		out, err := cmd.Output()
		if err != nil {
			return time.Time{}, fmt.Errorf("ask git for the time of the last commit: %w; or set SOURCE_DATE_EPOCH", err)
		}
		text = strings.TrimSpace(string(out))
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("the time of the source is %q, not in seconds", text)
	}
	return time.Unix(n, 0).UTC(), nil
}

func (j *job) run(ctx context.Context) error {
	if err := j.clear(); err != nil {
		return err
	}
	work, err := os.MkdirTemp("", "holdfast-release")
	if err != nil {
		return fmt.Errorf("make a folder to work in: %w", err)
	}
	defer os.RemoveAll(work)
	if j.notices, err = notices(ctx, j.root, j.targets); err != nil {
		return err
	}
	docs, err := j.documents()
	if err != nil {
		return err
	}
	sums := map[target]string{}
	for _, t := range j.targets {
		program, err := j.build(ctx, t, work)
		if err != nil {
			return fmt.Errorf("build for %s: %w", t, err)
		}
		name := fmt.Sprintf("holdfast_%s_%s_%s.tar.gz", j.version, t.os, t.arch)
		data, err := j.archive(strings.TrimSuffix(name, ".tar.gz"), program, docs)
		if err != nil {
			return fmt.Errorf("pack for %s: %w", t, err)
		}
		sums[t] = fmt.Sprintf("%x", sha256.Sum256(data))
		if err := j.write(name, data); err != nil {
			return err
		}
		if t.os == "linux" {
			data, err := j.debian(t.arch, program, docs)
			if err != nil {
				return fmt.Errorf("make the Debian package for %s: %w", t, err)
			}
			if err := j.write(fmt.Sprintf("holdfast_%s_%s.deb", debianVersion(j.version), t.arch), data); err != nil {
				return err
			}
		}
	}
	formula, err := j.formula(sums)
	if err != nil {
		return err
	}
	if err := j.write("holdfast.rb", formula); err != nil {
		return err
	}
	return j.sum()
}

// clear makes the folder and removes what an earlier release left, and nothing
// that is not a release's.
func (j *job) clear() error {
	if err := os.MkdirAll(j.out, 0o755); err != nil {
		return fmt.Errorf("make the folder for the release: %w", err)
	}
	for _, pattern := range []string{"holdfast_*.tar.gz", "holdfast_*.deb", "holdfast.rb", release.SumsFile + "*"} {
		old, err := filepath.Glob(filepath.Join(j.out, pattern))
		if err != nil {
			return fmt.Errorf("list %s: %w", pattern, err)
		}
		for _, f := range old {
			if err := os.Remove(f); err != nil {
				return fmt.Errorf("remove an old file: %w", err)
			}
		}
	}
	return nil
}

func (j *job) write(name string, data []byte) error {
	if err := os.WriteFile(filepath.Join(j.out, name), data, 0o644); err != nil {
		return fmt.Errorf("write the release: %w", err)
	}
	j.made = append(j.made, name)
	fmt.Printf("%9d  %s\n", len(data), filepath.Join(j.out, name))
	return nil
}

// sum writes the list of checksums of all that was made, and signs it.
func (j *job) sum() error {
	slices.Sort(j.made)
	var sums []byte
	for _, name := range j.made {
		data, err := os.ReadFile(filepath.Join(j.out, name))
		if err != nil {
			return fmt.Errorf("read the release: %w", err)
		}
		sums = fmt.Appendf(sums, "%x  %s\n", sha256.Sum256(data), name)
	}
	if err := j.write(release.SumsFile, sums); err != nil {
		return err
	}
	if j.key == "" {
		return nil
	}
	key, err := signingKey(j.key)
	if err != nil {
		return err
	}
	comment := fmt.Sprintf("holdfast %s, %s", j.version, j.time.Format(time.DateOnly))
	// The digest is signed, as minisign does by itself.
	r := minisign.NewReader(strings.NewReader(string(sums)))
	if _, err := r.Read(make([]byte, len(sums)+1)); err != nil {
		return fmt.Errorf("digest the list: %w", err)
	}
	sig := r.SignWithComments(key, comment, "signature of "+release.SumsFile)
	pub, ok := key.Public().(minisign.PublicKey)
	if !ok {
		return errors.New("the key has no public half")
	}
	if err := release.VerifySignature([]byte(pub.String()), sums, sig); err != nil {
		return fmt.Errorf("verify what was signed just now: %w", err)
	}
	return j.write(release.SignatureFile, sig)
}

func signingKey(path string) (minisign.PrivateKey, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return minisign.PrivateKey{}, fmt.Errorf("read the signing key: %w", err)
	}
	var key minisign.PrivateKey
	if minisign.IsEncrypted(text) {
		key, err = minisign.DecryptKey(os.Getenv("HOLDFAST_SIGNING_PASSWORD"), text)
	} else {
		err = key.UnmarshalText(text)
	}
	if err != nil {
		return key, fmt.Errorf("open the signing key %s: %w; an encrypted one needs HOLDFAST_SIGNING_PASSWORD", path, err)
	}
	return key, nil
}
