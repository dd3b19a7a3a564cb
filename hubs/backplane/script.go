package backplane

import (
	_ "embed"
	"encoding/binary"
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

// acceptedBytes is how long the numbers are in an answer that says that a publish was
// accepted. It begins with a sequence, and so with a byte that no text begins with.
const acceptedBytes = 36

func parseAnswer(s string) (answer, error) {
	if s != "" && s[0] == 0 {
		return parseAccepted(s)
	}
	f := strings.Fields(s)
	switch {
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

func parseAccepted(s string) (answer, error) {
	wrong := func() (answer, error) { return answer{}, fmt.Errorf("publish script answered %q", s) }
	if len(s) <= acceptedBytes {
		return wrong()
	}
	numbers := []byte(s[:acceptedBytes])
	long := func(i int) int64 { return int64(binary.BigEndian.Uint64(numbers[i:])) }
	epoch, rest, _ := strings.Cut(s[acceptedBytes:], " ")
	a := answer{
		epoch: epoch, number: binary.BigEndian.Uint64(numbers[16:]), total: long(24), receivers: int(binary.BigEndian.Uint32(numbers[32:])),
		minute: time.UnixMilli(long(8)).UTC().Truncate(time.Minute), bytes: -1,
	}
	for more := range strings.FieldsSeq(rest) {
		if list, named := strings.CutPrefix(more, ","); named {
			if list != "" {
				a.edges = strings.Split(list, ",")
			}
			continue
		}
		var err error
		if a.bytes, err = strconv.ParseInt(more, 10, 64); err != nil {
			return wrong()
		}
	}
	if a.epoch == "" || a.number == 0 {
		return wrong()
	}
	return a, nil
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
