// Package web holds the built page. The build (dist) is committed, so that neither a user nor `go install` needs
// Node; it must equal a fresh `npm ci && npm run build`, which CI checks. The package serves nothing itself.
package web

import (
	"embed"
	"io/fs"
)

//go:embed all:dist
var dist embed.FS

// Files returns the built page: index.html at its root, assets/ with names that carry a hash of their content (they
// may be cached for ever), and a few files with fixed names that may not.
func Files() fs.FS {
	files, err := fs.Sub(dist, "dist")
	if err != nil {
		// Sub fails for an invalid path only, and this one is constant.
		panic(err)
	}
	return files
}
