// Package elsewhere registers the hub of another package.
package elsewhere

import (
	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/hubgen/internal/sample"
)

// New returns the sample's hub, with fewer methods.
func New(board *sample.Board) (hubs.Dispatcher, error) {
	return hubs.Register(board, hubs.Use(), hubs.Hide("Add"), hubs.Hide("Import"))
}
