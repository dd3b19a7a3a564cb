// Package filters has ready-made hub filters. Each is one concern; they are put
// together in the order in which they shall run:
//
//	hubs.Register(&chat,
//		hubs.Use(filters.Telemetry(...), filters.Audit(log), filters.RateLimit(20, 40)),
//		hubs.UseOn("DeleteRoom", filters.Require(filters.Role("admin"))))
//
// They are safe for concurrent use and may serve several hubs.
package filters
