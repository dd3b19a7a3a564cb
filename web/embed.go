// Package web carries the built console inside the api's binary. It knows
// nothing of HTTP: the api serves the files and sets their headers.
package web

import (
	"embed"
	"fmt"
	"io/fs"
)

//go:embed all:dist all:dist-operator
var dist embed.FS

// Assets returns the console's files, rooted where index.html lies. isBuilt is
// false when the console was not built before the binary (only dist/.keep is
// there); the file system is then as good as empty.
func Assets() (assets fs.FS, isBuilt bool) {
	return built("dist")
}

// OperatorAssets is Assets for the console of operators.
func OperatorAssets() (assets fs.FS, isBuilt bool) {
	return built("dist-operator")
}

func built(folder string) (fs.FS, bool) {
	assets, err := fs.Sub(dist, folder)
	if err != nil {
		// It is a valid path, the only thing fs.Sub checks.
		panic(fmt.Errorf("open embedded console: %w", err))
	}
	_, err = fs.Stat(assets, "index.html")
	return assets, err == nil
}
