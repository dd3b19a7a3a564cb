package hubs

import (
	"context"
	"errors"
	"reflect"

	"github.com/signalbox/signalbox/hubs/protocol"
	"github.com/signalbox/signalbox/hubs/values"
)

// What may wait for a connection before a stream to it pauses: enough to fill
// writes, little enough to leave room for everything else.
const (
	streamMessages = 32
	streamBytes    = 64 << 10
)

// errCanceledByClient is the cause of a stream's cancelled context.
var errCanceledByClient = errors.New("the client cancelled the stream")

// streamError is an error that came after streaming began.
type streamError struct{ err error }

func (e *streamError) Error() string { return e.err.Error() }
func (e *streamError) Unwrap() error { return e.err }

// copyStream sends the items of the stream that the method returned.
func (k *call) copyStream() (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &streamError{k.panicked(p)}
		}
	}()
	if k.method.stream == channel {
		return k.copyChannel()
	}
	if k.method.stream == sequence {
		for v := range k.stream.Seq() {
			if err = k.sendItem(v); err != nil {
				break
			}
		}
		return err
	}
	for v, e := range k.stream.Seq2() {
		if !e.IsNil() {
			return &streamError{e.Interface().(error)}
		}
		if err = k.sendItem(v); err != nil {
			break
		}
	}
	return err
}

func (k *call) copyChannel() error {
	cases := []reflect.SelectCase{
		{Dir: reflect.SelectRecv, Chan: k.stream},
		{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(k.Done())},
	}
	for {
		i, v, ok := reflect.Select(cases)
		if i == 1 {
			return context.Cause(k)
		}
		if !ok {
			return nil
		}
		if err := k.sendItem(v); err != nil {
			return err
		}
	}
}

// sendItem sends one item when the connection has room for it.
func (k *call) sendItem(v reflect.Value) error {
	if err := k.Err(); err != nil {
		return err
	}
	c := k.conn
	if err := c.awaitRoom(k, streamMessages, streamBytes); err != nil {
		return err
	}
	buf := getBuffer(256)
	defer putBuffer(buf)
	var err error
	if *buf, err = values.Append(*buf, c.proto.Encoding(), v.Interface()); err != nil {
		return &streamError{err}
	}
	m := k.outgoing(protocol.StreamItem)
	m.Item = protocol.Raw{Encoding: c.proto.Encoding(), Bytes: *buf}
	if err := c.sendFollowing(m); err != nil {
		return &streamError{err}
	}
	return nil
}

// finish completes a stream. One that was cancelled ends without an error.
func (k *call) finish(err error) {
	m := k.outgoing(protocol.Completion)
	var failed *streamError
	if errors.As(err, &failed) && k.Err() == nil {
		k.report(failed.err)
		m.Error = withDetail("An error occurred on the server while streaming results.", failed.err, k.conn.server.options.Load().EnableDetailedErrors)
		m.HasError = true
	}
	if errors.Is(context.Cause(k), ErrMoved) {
		m.Error, m.HasError = textMoved, true
	}
	// The id may be used again once the client has the completion.
	s := k.calls
	s.mu.Lock()
	if s.streams[k.m.InvocationID] == k {
		delete(s.streams, k.m.InvocationID)
	}
	s.mu.Unlock()
	_ = k.conn.sendFollowing(m) // has nothing that can't be encoded
}
