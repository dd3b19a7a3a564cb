package backplane

import (
	"fmt"

	"github.com/tinylib/msgp/msgp"

	"github.com/signalbox/signalbox/hubs"
)

// Questions are rung on the doorbell and stored nowhere. Like entries they are
// MessagePack arrays whose readers ignore elements after the ones they know.

const (
	queryElements = 6
	listElements  = 10
	partElements  = 3
	listedSize    = 3
	presentSize   = 6 // of a connection that is present
)

// encodeQuery returns the doorbell message of a query.
func encodeQuery(q hubs.Query, to address) []byte {
	b := append(make([]byte, 0, 64+len(q.Name)+len(q.User)), 'Q')
	b = msgp.AppendArrayHeader(b, queryElements)
	b = msgp.AppendUint8(b, entryVersion)
	b = msgp.AppendUint8(b, uint8(q.Kind))
	b = msgp.AppendString(b, q.Name)
	b = msgp.AppendString(b, q.User)
	b = msgp.AppendString(b, to.run)
	return msgp.AppendUint64(b, to.id)
}

func decodeQuery(payload string) (hubs.Query, address, error) {
	r, err := openQuestion(payload, queryElements)
	if err != nil {
		return hubs.Query{}, address{}, err
	}
	q := hubs.Query{Kind: hubs.QueryKind(r.uint8()), Name: r.string(), User: r.string()}
	to := address{run: r.string(), id: r.uint64()}
	if r.err != nil {
		return hubs.Query{}, address{}, fmt.Errorf("decode query: %w", r.err)
	}
	return q, to, nil
}

// encodeList returns the doorbell message of a list.
func encodeList(q hubs.ListQuery, to address) []byte {
	b := append(make([]byte, 0, 96+len(q.Group)+len(q.User)+len(q.Connection)+len(q.After)), 'L')
	b = msgp.AppendArrayHeader(b, listElements)
	b = msgp.AppendUint8(b, entryVersion)
	b = msgp.AppendUint8(b, uint8(q.Kind))
	b = msgp.AppendString(b, q.Group)
	b = msgp.AppendString(b, q.User)
	b = msgp.AppendString(b, q.Connection)
	b = msgp.AppendString(b, q.After)
	b = msgp.AppendInt64(b, int64(q.Limit))
	b = msgp.AppendBool(b, q.Hashed)
	b = msgp.AppendString(b, to.run)
	return msgp.AppendUint64(b, to.id)
}

func decodeList(payload string) (hubs.ListQuery, address, error) {
	r, err := openQuestion(payload, listElements)
	if err != nil {
		return hubs.ListQuery{}, address{}, err
	}
	q := hubs.ListQuery{
		Kind: hubs.ListKind(r.uint8()), Group: r.string(), User: r.string(), Connection: r.string(),
		After: r.string(), Limit: int(r.int64()), Hashed: r.bool(),
	}
	to := address{run: r.string(), id: r.uint64()}
	if r.err != nil {
		return hubs.ListQuery{}, address{}, fmt.Errorf("decode list: %w", r.err)
	}
	return q, to, q.Validate()
}

// openQuestion checks the head of a question.
func openQuestion(payload string, elements int) (*reader, error) {
	r := &reader{rest: []byte(payload)}
	if n := r.array(); r.err == nil && n < elements {
		return nil, fmt.Errorf("question of %d elements", n)
	}
	if v := r.uint8(); r.err == nil && v != entryVersion {
		return nil, fmt.Errorf("question of version %d", v)
	}
	return r, nil
}

// part is one process's part of a list.
type part struct {
	hubs.Page
	run string // of the process
}

func appendPart(b []byte, p part) []byte {
	b = msgp.AppendArrayHeader(b, partElements)
	b = msgp.AppendBool(b, p.More)
	b = msgp.AppendArrayHeader(b, uint32(len(p.Items)))
	for _, item := range p.Items {
		size := uint32(listedSize)
		if item.Token != "" {
			size = presentSize
		}
		b = msgp.AppendArrayHeader(b, size)
		b = msgp.AppendString(b, item.Name)
		b = msgp.AppendString(b, item.User)
		b = msgp.AppendInt(b, item.Connections)
		if size == presentSize {
			b = msgp.AppendBytes(b, item.State)
			b = msgp.AppendUint64(b, item.Number)
			b = msgp.AppendString(b, item.Token)
		}
	}
	return msgp.AppendString(b, p.run)
}

func decodePart(data []byte) (part, error) {
	r := reader{rest: data}
	if n := r.array(); r.err == nil && n < partElements {
		return part{}, fmt.Errorf("part of %d elements", n)
	}
	var p part
	p.More = r.bool()
	count := r.array()
	if count > hubs.MaxListedHashes {
		return part{}, errLength
	}
	for range count {
		n := r.array()
		if r.err == nil && n != listedSize && n != presentSize {
			return part{}, fmt.Errorf("listed of %d elements", n)
		}
		item := hubs.Listed{Name: r.string(), User: r.string(), Connections: int(r.int64())}
		if n == presentSize {
			item.State, item.Number, item.Token = r.bytes(), r.uint64(), r.string()
		}
		p.Items = append(p.Items, item)
		if r.err != nil {
			break
		}
	}
	p.run = r.string()
	if r.err != nil {
		return part{}, fmt.Errorf("decode part of a list: %w", r.err)
	}
	return p, nil
}
