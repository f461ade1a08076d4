package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/md5" //nolint:gosec // dpkg's list of what it installed; no one's proof of anything
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"text/template"
	"time"
)

// entry is one file of an archive.
type entry struct {
	name string
	mode int64
	data []byte
}

// documents are what comes with the program: the pages a person reads, not the
// pictures.
func (j *job) documents() ([]entry, error) {
	names := []string{"README.md", "LICENSE", "CHANGELOG.md", "SECURITY.md"}
	pages, err := filepath.Glob(filepath.Join(j.root, "docs", "*.md"))
	if err != nil {
		return nil, fmt.Errorf("list the documents: %w", err)
	}
	for _, p := range pages {
		names = append(names, "docs/"+filepath.Base(p))
	}
	docs := make([]entry, 0, len(names)+1)
	for _, n := range names {
		data, err := os.ReadFile(filepath.Join(j.root, n))
		if err != nil {
			return nil, fmt.Errorf("read a document: %w", err)
		}
		docs = append(docs, entry{n, 0o644, data})
	}
	return append(docs, entry{"THIRD-PARTY", 0o644, j.notices}), nil
}

// archive is the .tar.gz of one target.
func (j *job) archive(folder string, program []byte, docs []entry) ([]byte, error) {
	entries := []entry{{folder + "/holdfast", 0o755, program}}
	for _, d := range docs {
		d.name = folder + "/" + d.name
		entries = append(entries, d)
	}
	return targz(entries, j.time, "")
}

// targz packs entries, sorted, with their folders, as root's and of one time.
func targz(entries []entry, at time.Time, prefix string) ([]byte, error) {
	folders := map[string]bool{}
	for _, e := range entries {
		for dir := path.Dir(e.name); dir != "."; dir = path.Dir(dir) {
			folders[dir] = true
		}
	}
	for dir := range folders {
		entries = append(entries, entry{name: dir + "/", mode: 0o755})
	}
	if prefix != "" {
		entries = append(entries, entry{mode: 0o755}) // "./"
	}
	slices.SortFunc(entries, func(a, b entry) int { return strings.Compare(a.name, b.name) })
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		return nil, fmt.Errorf("compress: %w", err)
	}
	w := tar.NewWriter(z)
	for _, e := range entries {
		h := &tar.Header{
			Typeflag: tar.TypeReg, Name: prefix + e.name, Mode: e.mode, Size: int64(len(e.data)), ModTime: at,
			Uname: "root", Gname: "root", Format: tar.FormatUSTAR,
		}
		if strings.HasSuffix(h.Name, "/") {
			h.Typeflag = tar.TypeDir
		}
		if err := w.WriteHeader(h); err != nil {
			return nil, fmt.Errorf("pack %s: %w", e.name, err)
		}
		if _, err := w.Write(e.data); err != nil {
			return nil, fmt.Errorf("pack %s: %w", e.name, err)
		}
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("pack: %w", err)
	}
	if err := z.Close(); err != nil {
		return nil, fmt.Errorf("compress: %w", err)
	}
	return b.Bytes(), nil
}

// debianVersion is the version in Debian's order, where a candidate comes
// before its release.
func debianVersion(version string) string { return strings.ReplaceAll(version, "-", "~") + "-1" }

const maintainer = "The Holdfast authors <holdfast-dev@users.noreply.github.com>"

// debian is a .deb: the program, its manual page and its documents. It has no
// script that runs at the installation: whether, for whom and under what the
// host runs is what `holdfast service install` asks.
func (j *job) debian(arch string, program []byte, docs []entry) ([]byte, error) {
	read := func(name string) ([]byte, error) {
		return os.ReadFile(filepath.Join(j.root, "packaging", "debian", name))
	}
	const doc = "usr/share/doc/holdfast/"
	files := []entry{{"usr/bin/holdfast", 0o755, program}}
	copyright, err := read("copyright")
	if err != nil {
		return nil, fmt.Errorf("read the copyright: %w", err)
	}
	files = append(files, entry{doc + "copyright", 0o644, copyright})
	for _, d := range docs {
		switch d.name {
		case "LICENSE": // copyright has it
			continue
		case "CHANGELOG.md":
			d.name = "changelog"
		}
		if d.data, err = gz(d.data); err != nil {
			return nil, err
		}
		files = append(files, entry{doc + strings.TrimPrefix(d.name, "docs/") + ".gz", 0o644, d.data})
	}
	changes := fmt.Sprintf("holdfast (%s) unstable; urgency=medium\n\n  * See changelog.gz for what is new in %s.\n\n -- %s  %s\n",
		debianVersion(j.version), j.version, maintainer, j.time.Format(time.RFC1123Z))
	page, err := read("holdfast.1")
	if err != nil {
		return nil, fmt.Errorf("read the manual page: %w", err)
	}
	for name, data := range map[string][]byte{doc + "changelog.Debian.gz": []byte(changes), "usr/share/man/man1/holdfast.1.gz": page} {
		packed, err := gz(data)
		if err != nil {
			return nil, err
		}
		files = append(files, entry{name, 0o644, packed})
	}
	overrides, err := read("lintian-overrides")
	if err != nil {
		return nil, fmt.Errorf("read the overrides: %w", err)
	}
	files = append(files, entry{"usr/share/lintian/overrides/holdfast", 0o644, overrides})
	slices.SortFunc(files, func(a, b entry) int { return strings.Compare(a.name, b.name) })

	var sums []byte
	size := 0
	for _, f := range files {
		sums = fmt.Appendf(sums, "%x  %s\n", md5.Sum(f.data), f.name) //nolint:gosec // as above
		size += (len(f.data) + 1023) / 1024
	}
	control, err := j.fill("packaging/debian/control.tmpl", map[string]any{
		"Version": debianVersion(j.version), "Arch": arch, "Maintainer": maintainer, "Size": size, "Project": project,
	})
	if err != nil {
		return nil, err
	}
	meta, err := targz([]entry{{"control", 0o644, control}, {"md5sums", 0o644, sums}}, j.time, "./")
	if err != nil {
		return nil, err
	}
	data, err := targz(files, j.time, "./")
	if err != nil {
		return nil, err
	}
	return ar(j.time, []entry{
		{"debian-binary", 0o100644, []byte("2.0\n")}, {"control.tar.gz", 0o100644, meta}, {"data.tar.gz", 0o100644, data},
	}), nil
}

// ar is the format that a .deb has around its parts.
func ar(at time.Time, members []entry) []byte {
	b := []byte("!<arch>\n")
	for _, m := range members {
		b = fmt.Appendf(b, "%-16s%-12d%-6d%-6d%-8o%-10d`\n", m.name, at.Unix(), 0, 0, m.mode, len(m.data))
		b = append(b, m.data...)
		if len(m.data)%2 == 1 {
			b = append(b, '\n')
		}
	}
	return b
}

func gz(data []byte) ([]byte, error) {
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		return nil, fmt.Errorf("compress: %w", err)
	}
	if _, err := z.Write(data); err != nil {
		return nil, fmt.Errorf("compress: %w", err)
	}
	if err := z.Close(); err != nil {
		return nil, fmt.Errorf("compress: %w", err)
	}
	return b.Bytes(), nil
}

// formula is Homebrew's, for the archives that were made.
func (j *job) formula(sums map[target]string) ([]byte, error) {
	data := map[string]any{"Version": j.version, "Base": j.base, "Project": project}
	for t, sum := range sums {
		data[t.os+"_"+t.arch] = sum
	}
	return j.fill("packaging/holdfast.rb.tmpl", data)
}

func (j *job) fill(name string, data map[string]any) ([]byte, error) {
	text, err := os.ReadFile(filepath.Join(j.root, name))
	if err != nil {
		return nil, fmt.Errorf("read a template: %w", err)
	}
	t, err := template.New(name).Parse(string(text))
	if err != nil {
		return nil, fmt.Errorf("parse a template: %w", err)
	}
	var b bytes.Buffer
	if err := t.Execute(&b, data); err != nil {
		return nil, fmt.Errorf("fill a template: %w", err)
	}
	return b.Bytes(), nil
}
