package serviceprotocol

import "strconv"

// MaxItems bounds the lists and maps of one message: their items and entries
// together. What a message takes in memory is bounded by it and by its length.
const MaxItems = 65_536

// Error says how a peer broke the protocol. Nothing of the peer's is repeated in
// it, so it may be logged and sent.
type Error struct{ Message string }

// Error returns the message.
func (e *Error) Error() string { return e.Message }

var (
	errLength       = &Error{"the length prefix of a message is not valid"}
	errMalformed    = &Error{"a message is not valid MessagePack"}
	errTooShort     = &Error{"a message has too few items"}
	errTooManyItems = &Error{"a message has more than " + strconv.Itoa(MaxItems) + " items in its lists"}
	errInteger      = &Error{"a message has something else where an integer belongs"}
	errBoolean      = &Error{"a message has something else where a boolean belongs"}
	errText         = &Error{"a message has something else where a text belongs"}
	errBytes        = &Error{"a message has something else where bytes belong"}
	errContainer    = &Error{"a message has something else where a list or map belongs, or one that is too long"}
)

func errTooBig(limit int) *Error {
	return &Error{"a message is longer than " + strconv.Itoa(limit) + " bytes"}
}
