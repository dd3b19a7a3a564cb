package testenv_test

import (
	"io"
	"testing"

	"github.com/signalbox/signalbox/internal/testenv"
)

func TestLog_drops_what_comes_when_the_test_has_ended(t *testing.T) {
	t.Parallel()
	var log io.Writer
	t.Run("ends", func(t *testing.T) {
		log = testenv.Log(t)
		if _, err := io.WriteString(log, "in time\n"); err != nil {
			t.Error(err)
		}
	})
	if _, err := io.WriteString(log, "too late\n"); err != nil {
		t.Error(err)
	}
}
