package redisclient

import "time"

// Patient has the Batch take no round trip to hang.
func (b *Batch) Patient() { b.stuck = time.Hour }
