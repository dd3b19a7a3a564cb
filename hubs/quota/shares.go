package quota

import "time"

const (
	// reservePart is the part of a second's worth that is kept, while a limit is
	// contested, for those who have had less than their share.
	reservePart = 4
	// keptPart is the part of a block that is leased ahead for them.
	keptPart = 4
	// contestedFor is how long shares count after the bucket was last seen low.
	contestedFor = time.Second
	// shareSlack is the part of what is there that shares are made of, so that what is kept
	// fills up again while all of them are used. The rest is for whoever comes.
	shareSlack = 0.9
	// censusLife is how long a limiter's word counts.
	censusLife = 3 * time.Second
)

// reserve is what of the bucket is kept for those below their share.
func (r Rate) reserve() int64 { return int64(min(r.depth()/2, max(1, r.PerSecond/reservePart))) }

// Share is what one of those who divide a limit has had of it while it was contested. Its
// zero value has had nothing. It belongs to one limiter and tenant.
type Share struct {
	due    int64 // when its share is all there again, Unix nanoseconds
	second int64 // of which used and hungry are
	used   int64
	hungry bool // something was refused
}

// census says who took from a contested limit in a second.
type census struct {
	sharers int64
	used    int64 // by those of whom nothing was refused
	hungry  int64 // those of whom something was
}

// shares divides a tenant's limit while it is contested, so that each of those who take
// from it gets what it asks for or as much as any other (max-min fairness): whoever has had
// less than its share may take all of the bucket, others leave the reserve in it. So the
// whole rate is always there to be used, by one alone, too, and who asks for little finds
// something. What has to be known of all is three sums: nothing is kept but in each Share.
// The bucket's mu guards it.
type shares struct {
	perSecond  float64 // a share
	divided    bool    // between more than one
	others     Share   // of all that have none of their own
	second     int64   // of now
	now, ended census
}

// contested reports whether shares count.
func (b *bucket) contested(now time.Time) bool { return now.UnixNano() < b.contestedUntil.Load() }

// learn makes shares of a rate between all that a census has.
func (b *bucket) learn(rate float64, all census, low bool, now time.Time) {
	if low {
		if !b.contested(now) {
			b.now, b.ended = census{}, census{}
			b.perSecond, b.divided = 0, false
		}
		b.contestedUntil.Store(now.Add(contestedFor).UnixNano())
	}
	if all.sharers == 0 {
		return
	}
	b.divided = all.sharers > 1
	// Those who get what they ask for leave the rest to the others.
	b.perSecond = rate / float64(all.sharers)
	if all.hungry > 0 {
		b.perSecond = max(b.perSecond, (rate-float64(all.used))/float64(all.hungry))
	}
	b.perSecond *= shareSlack
}

// census is what is known of those on this edge.
func (b *bucket) census(now time.Time) census {
	b.turn(now)
	return census{sharers: max(b.now.sharers, b.ended.sharers), used: max(0, b.ended.used), hungry: max(b.now.hungry, b.ended.hungry)}
}

// turn begins a new second when it is time.
func (b *bucket) turn(now time.Time) {
	second := now.Unix()
	if second == b.second {
		return
	}
	b.ended = b.now
	if second != b.second+1 {
		b.ended = census{}
	}
	b.now, b.second = census{}, second
}

// below reports whether s has had less than its share, of which a second's worth may be
// had at once, and counts s as one of those who take.
func (b *bucket) below(s *Share, now time.Time) bool {
	b.turn(now)
	if s.second != b.second {
		s.second, s.used, s.hungry = b.second, 0, false
		b.now.sharers++
	}
	return !b.divided || s.due-now.UnixNano() < int64(time.Second)
}

// had counts what s has got, as part of its share where it was below that.
func (b *bucket) had(s *Share, n int64, below bool, now time.Time) {
	s.used += n
	if !s.hungry {
		b.now.used += n
	}
	if below && b.divided && b.perSecond > 0 {
		s.due = max(s.due, now.UnixNano()) + int64(float64(n)/b.perSecond*float64(time.Second))
	}
}

// refused counts s as one that gets less than it asks for.
func (b *bucket) refused(s *Share) {
	if s.hungry || s.second != b.second {
		return
	}
	s.hungry = true
	b.now.hungry++
	b.now.used -= s.used
}
