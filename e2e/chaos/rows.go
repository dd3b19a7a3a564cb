package main

// matrix is every row, in the order of its ids.
var matrix = []*row{
	edgeKilled, rollingDeploy, redisBlink, redisAway, redisLong, redisFailover, redisEmptied, streamTrimmed, redisSlow, redisFull,
	postgresAway, postgresSlow, apiKilled, edgeIsolated, halfOpen, clocksApart, slowConsumers, connectStorm, appServerLost, diskFull,
	filesOut, memoryShort, edgeStopped, atQuota, noisyNeighbour, poison, coldStart, sameAddress,
}
