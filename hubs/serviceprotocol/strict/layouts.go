package strict

import "errors"

// lastLegacyType is the highest type that the SDK of March 2024 knows.
const lastLegacyType = 38

// lengths are the items of each message as today's SDK writes it.
var lengths = map[int]int{
	1: 7, 2: 4, 4: 6, 5: 5, 6: 4, 7: 4, 8: 4, 9: 4, 10: 4, 11: 4, 12: 4, 13: 7, 14: 4, 15: 2, 16: 4, 17: 4, 18: 5, 19: 5, 20: 6,
	21: 5, 22: 6, 23: 4, 24: 4, 25: 4, 26: 5, 27: 5, 28: 4, 29: 6, 30: 5, 31: 5, 32: 6, 33: 6, 34: 6, 35: 7, 36: 6, 37: 5, 38: 3,
	39: 5, 40: 6, 42: 4, 43: 4,
}

// layouts read the items of a message behind its type.
var layouts = map[int]func(r *reader){
	1: func(r *reader) {
		r.number("Version")
		r.number("ConnectionType")
		r.text("Target")
		r.number("MigrationLevel")
		r.extensions()
		if !r.legacy {
			r.boolean("StatefulReconnects")
		}
	},
	2: func(r *reader) { r.text("Error"); r.extensions(); r.text("ConnectionID") },
	3: func(r *reader) {
		items := r.strings(r.items - 1)
		r.set("Items", items, len(items) == 0)
	},
	4: func(r *reader) {
		r.text("ConnectionID")
		r.claims()
		r.headers()
		r.text("Query")
		r.extensions(1, 3)
	},
	5:  func(r *reader) { r.text("ConnectionID"); r.text("Error"); r.headers(); r.extensions(1) },
	6:  func(r *reader) { r.text("ConnectionID"); r.data("Payload"); r.extensions(1, 5, 6) },
	7:  func(r *reader) { r.texts("ConnectionIDs"); r.payloads(); r.extensions(1, 4) },
	8:  func(r *reader) { r.text("UserID"); r.payloads(); r.extensions(1, 4) },
	9:  func(r *reader) { r.texts("UserIDs"); r.payloads(); r.extensions(1, 4) },
	10: func(r *reader) { r.texts("Excluded"); r.payloads(); r.extensions(1, 4) },
	11: func(r *reader) { r.text("ConnectionID"); r.text("Group"); r.extensions(1) },
	12: func(r *reader) { r.text("ConnectionID"); r.text("Group"); r.extensions(1) },
	13: func(r *reader) {
		r.text("Group")
		r.texts("Excluded")
		r.payloads()
		r.extensions(1, 4)
		r.texts("ExcludedUsers")
		r.text("CallerUserID")
	},
	14: func(r *reader) { r.texts("Groups"); r.payloads(); r.extensions(1, 4) },
	15: func(r *reader) { r.text("Message") },
	16: func(r *reader) { r.text("UserID"); r.text("Group"); r.extensions(1, 2) },
	17: func(r *reader) { r.text("UserID"); r.text("Group"); r.extensions(1) },
	18: func(r *reader) { r.text("ConnectionID"); r.text("Group"); r.number("AckID"); r.extensions(1) },
	19: func(r *reader) { r.text("ConnectionID"); r.text("Group"); r.number("AckID"); r.extensions(1) },
	20: func(r *reader) {
		r.number("AckID")
		r.number("Status")
		r.text("Message")
		r.extensions()
		if !r.legacy {
			r.data("Payload")
		}
	},
	21: func(r *reader) { r.text("UserID"); r.text("Group"); r.number("AckID"); r.extensions(1) },
	22: func(r *reader) {
		r.number("Object")
		r.text("ID")
		r.number("Kind")
		r.text("Message")
		r.extensions()
	},
	23: func(r *reader) { r.text("Group"); r.number("AckID"); r.extensions(1) },
	24: func(r *reader) { r.text("ConnectionID"); r.number("AckID"); r.extensions(1) },
	25: func(r *reader) { r.text("UserID"); r.number("AckID"); r.extensions(1) },
	26: func(r *reader) { r.text("UserID"); r.text("Group"); r.number("AckID"); r.extensions(1, 2) },
	27: func(r *reader) { r.text("UserID"); r.text("Group"); r.number("AckID"); r.extensions(1) },
	28: func(r *reader) { r.text("Token"); r.text("KeyID"); r.extensions() },
	29: func(r *reader) {
		r.text("KeyID")
		r.text("AccessKey")
		r.text("ErrorType")
		r.text("ErrorMessage")
		r.extensions()
	},
	30: func(r *reader) { r.text("ConnectionID"); r.text("Reason"); r.number("AckID"); r.extensions(1) },
	31: func(r *reader) { r.text("Reason"); r.number("AckID"); r.texts("Excluded"); r.extensions(1) },
	32: func(r *reader) {
		r.text("UserID")
		r.text("Reason")
		r.number("AckID")
		r.texts("Excluded")
		r.extensions(1)
	},
	33: func(r *reader) {
		r.text("Group")
		r.text("Reason")
		r.number("AckID")
		r.texts("Excluded")
		r.extensions(1)
	},
	34: func(r *reader) { r.completion(); r.payloads(); r.extensions(1) },
	35: func(r *reader) { r.completion(); r.text("Protocol"); r.data("Payload"); r.extensions(1, 3) },
	36: func(r *reader) { r.completion(); r.text("Error"); r.extensions(1) },
	37: func(r *reader) {
		r.text("InvocationID")
		r.text("ConnectionID")
		r.text("InstanceID")
		r.extensions()
	},
	38: func(r *reader) { r.text("ConnectionID"); r.extensions() },
	39: func(r *reader) {
		r.text("ConnectionID")
		r.flow("Connection", 2)
		r.flow("Operation", 4)
		r.extensions()
	},
	40: func(r *reader) {
		r.extensions(1)
		r.text("Group")
		r.number("AckID")
		r.number("Max")
		r.text("Continuation")
	},
	42: func(r *reader) { r.text("ConnectionToken"); r.number("AckID"); r.extensions() },
	43: func(r *reader) { r.text("ConnectionID"); r.claims(); r.extensions() },
}

// completion are the items with which client results begin.
func (r *reader) completion() {
	r.text("InvocationID")
	r.text("ConnectionID")
	r.text("CallerServerID")
}

// flow is an enumeration of ConnectionFlowControl. The SDK's message refuses
// numbers that it doesn't define.
func (r *reader) flow(field string, highest int32) {
	if r.b[0] != 0xD2 {
		panic(errors.New("an enumeration of flow control is not written in four bytes"))
	}
	n := r.int32()
	if n < 1 || n > highest {
		panic(errors.New("an enumeration of flow control is out of range"))
	}
	r.set(field, int64(n), false)
}
