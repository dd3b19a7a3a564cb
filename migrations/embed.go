// Package migrations has the database's schema as forward-only SQL files. What
// was released is never edited: a change is a new file, first one that old
// code can live with, later one that removes what no code needs any more.
package migrations

import "embed"

// Files are the migrations, applied in the order of their names.
//
//go:embed *.sql
var Files embed.FS
