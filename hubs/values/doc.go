// Package values turns Go values into the raw values of hub messages and back,
// in both notations.
//
// A type looks the same in both: field names, omitempty, omitzero and "-" come
// from json tags, names are matched without regard to case as ASP.NET Core does,
// and types with methods for JSON or text are asked through them. What JSON can
// only write as text, MessagePack writes as what it is: []byte as bin, time.Time
// as a timestamp extension.
//
// Decoding takes memory only for what is there: raw values were checked when
// the message was parsed, and slices grow with their elements.
package values
