package backplane

import (
	_ "embed"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/signalbox/signalbox/hubs"
)

//go:embed publish.lua
var publishSource string

// publishScript appends one entry; see publish.lua for its keys and arguments.
var publishScript = redis.NewScript(publishSource)

// answer is what the publish script says.
type answer struct {
	epoch     string
	number    uint64
	duplicate bool
	receivers int
	edges     []string // in the place of receivers, without Pub/Sub
	minute    time.Time
	total     int64
	bytes     int64 // in the stream; -1 = not measured
}

// errLate is the script's refusal of a publish that a later one of the same
// publisher has overtaken: it was not and will never be accepted.
var errLate = errors.New("overtaken by a later publish")

func parseAnswer(s string) (answer, error) {
	f := strings.Fields(s)
	switch {
	case len(f) == 7 && f[0] == "ok":
		number, err1 := strconv.ParseUint(f[2], 10, 64)
		var receivers int
		var edges []string
		var err2 error
		if list, named := strings.CutPrefix(f[3], ","); !named {
			receivers, err2 = strconv.Atoi(f[3])
		} else if list != "" {
			edges = strings.Split(list, ",")
		}
		minute, err3 := strconv.ParseInt(f[4], 10, 64)
		total, err4 := strconv.ParseInt(f[5], 10, 64)
		bytes, err5 := strconv.ParseInt(f[6], 10, 64)
		if err := errors.Join(err1, err2, err3, err4, err5); err != nil {
			return answer{}, fmt.Errorf("answer of the publish script: %w", err)
		}
		return answer{epoch: f[1], number: number, receivers: receivers, edges: edges, minute: time.Unix(minute*60, 0).UTC(), total: total, bytes: bytes}, nil
	case len(f) == 3 && f[0] == "dup":
		number, err := strconv.ParseUint(f[2], 10, 64)
		if err != nil {
			return answer{}, fmt.Errorf("answer of the publish script: %w", err)
		}
		return answer{epoch: f[1], number: number, duplicate: true}, nil
	case s == "conflict":
		return answer{}, hubs.ErrIdempotencyConflict
	case len(f) == 2 && f[0] == "full":
		return answer{}, &hubs.UserGroupLimitError{Limit: userGroupBytes}
	case s == "late":
		return answer{}, fmt.Errorf("%w: %w", hubs.ErrUnavailable, errLate)
	}
	return answer{}, fmt.Errorf("publish script answered %q", s)
}

// sealed reports whether a stream is closed, see sealStream; the version before made its
// head a text.
func sealed(err error) bool {
	return errors.Is(err, errSealed) || redis.HasErrorPrefix(err, "SEALED") || redis.HasErrorPrefix(err, "WRONGTYPE")
}

// refusal reports whether Redis itself said no; otherwise the connection failed
// and nobody knows what became of the command.
func refusal(err error) bool {
	var refused redis.Error
	return errors.As(err, &refused)
}

// retryable reports whether a publish that failed with err should be sent
// again, and otherwise what to tell the publisher.
func retryable(err error) (bool, error) {
	if !refusal(err) {
		return true, nil
	}
	switch {
	case redis.HasErrorPrefix(err, "NOSCRIPT"), redis.IsLoadingError(err), redis.IsReadOnlyError(err),
		redis.IsClusterDownError(err), redis.IsTryAgainError(err), redis.IsMasterDownError(err):
		return true, nil // refused before it did anything, and likely to pass
	}
	if sealed(err) {
		return false, fmt.Errorf("%w: %w", hubs.ErrUnavailable, errSealed)
	}
	if strings.Contains(err.Error(), "NOREPLICAS") { // min-replicas-to-write: refused before it did anything
		return false, fmt.Errorf("%w: %w: %w", hubs.ErrUnavailable, hubs.ErrNotReplicated, err)
	}
	return false, fmt.Errorf("%w: %w", hubs.ErrUnavailable, err)
}
