package hubs_test

import (
	"testing"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/backplanetest"
)

func TestMemoryBackplane(t *testing.T) {
	t.Parallel()
	backplanetest.Run(t, func(_ *testing.T, n int) []hubs.Backplane {
		b := hubs.NewMemoryBackplane()
		all := make([]hubs.Backplane, n)
		for i := range all {
			all[i] = b
		}
		return all
	})
}
