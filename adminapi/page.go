package adminapi

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"slices"
	"time"

	"github.com/signalbox/signalbox/internal/fault"
)

// The sizes of a page.
const (
	defaultPage = 50
	maxPage     = 200
)

// order puts the things of a list one after another, and says where one is among
// them by what doesn't change when others come and go. The last part of a place
// makes it the only one.
type order[T any] struct {
	// list names it, so that the cursor of one list is none of another.
	list string
	// place is where a thing is.
	place func(T) []string
	// down lists the last places first.
	down bool
}

// pageOf cuts a page out of a whole list, which is in no order yet: what follows
// the cursor, at most limit things, and the cursor of the page that follows. Lists
// that are cut here are bounded by limits of their own; what grows without end is
// cut by its store.
//
// A thing that was there all the time is in exactly one page of a walk, whatever
// came and went meanwhile, because a cursor names a place, not a count.
func pageOf[T any](o order[T], all []T, cursor *PageCursor, limit *PageLimit) (page []T, next *string, err error) {
	var after []string
	if value(cursor) != "" {
		if after, err = readCursor(o.list, *cursor); err != nil {
			return nil, nil, err
		}
	}
	compare := func(a, b []string) int {
		if o.down {
			return slices.Compare(b, a)
		}
		return slices.Compare(a, b)
	}
	all = slices.Clone(all)
	slices.SortFunc(all, func(a, b T) int { return compare(o.place(a), o.place(b)) })
	if after != nil {
		all = all[firstBehind(all, func(v T) bool { return compare(o.place(v), after) > 0 }):]
	}
	most := cmp.Or(value(limit), defaultPage)
	if len(all) <= most {
		return all, nil, nil
	}
	return all[:most], given(writeCursor(o.list, o.place(all[most-1]))), nil
}

// paged is pageOf for a list whose reading may have failed.
func paged[T any](failed error, o order[T], all []T, cursor *PageCursor, limit *PageLimit) ([]T, *string, error) {
	if failed != nil {
		return nil, nil, failed
	}
	return pageOf(o, all, cursor, limit)
}

// firstBehind is the index of the first for which behind holds, or the length.
func firstBehind[T any](all []T, behind func(T) bool) int {
	if i := slices.IndexFunc(all, behind); i >= 0 {
		return i
	}
	return len(all)
}

// writeCursor and readCursor give a place a form that nobody is tempted to make.
func writeCursor(list string, place []string) string {
	text, _ := json.Marshal(append([]string{list}, place...)) // strings always have a form
	return base64.RawURLEncoding.EncodeToString(text)
}

func readCursor(list, cursor string) ([]string, error) {
	text, err := base64.RawURLEncoding.DecodeString(cursor)
	var parts []string
	if err == nil {
		err = json.Unmarshal(text, &parts)
	}
	if err != nil || len(parts) < 2 || parts[0] != list {
		return nil, fault.InvalidFields(fault.Field{Name: "cursor", Message: "is none of this list", Accepted: "next_cursor of the page before"})
	}
	return parts[1:], nil
}

// moment writes a time so that texts are in the order of their times.
func moment(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000000000Z") }
