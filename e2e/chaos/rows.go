package main

// matrix is every row, in the order of its ids.
var matrix = []*row{
	edgeKilled, redisBlink, redisAway, redisEmptied, streamTrimmed, redisSlow, edgeIsolated, halfOpen, clocksApart, slowConsumers, edgeStopped,
	noisyNeighbour, atQuota, poison, coldStart, sameAddress,
}
