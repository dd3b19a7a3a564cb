package serviceprotocol

import "github.com/tinylib/msgp/msgp"

// GroupMember is one connection of a group, in the answer to a GroupMemberQuery.
type GroupMember struct{ ConnectionID, UserID string }

// AppendGroupMembers appends the payload of the Ack to a GroupMemberQuery:
// a page of members and, when there are more, where to go on.
func AppendGroupMembers(dst []byte, members []GroupMember, continuation string) []byte {
	c := codec{out: msgp.AppendArrayHeader(dst, 2)}
	c.out = msgp.AppendArrayHeader(c.out, uint32(len(members)))
	for i := range members {
		c.out = msgp.AppendArrayHeader(c.out, 2)
		c.text(&members[i].ConnectionID)
		c.optionalText(&members[i].UserID)
	}
	c.optionalText(&continuation)
	return c.out
}

// ParseGroupMembers reads what AppendGroupMembers wrote.
func ParseGroupMembers(payload []byte) (members []GroupMember, continuation string, err error) {
	c := codec{reading: true, in: payload, items: MaxItems}
	if c.readArray() < 2 && c.err == nil {
		return nil, "", errTooShort
	}
	n := c.readArray()
	if n > 0 {
		members = make([]GroupMember, 0, n)
	}
	for range n {
		var member GroupMember
		if items := c.readArray(); items > 0 {
			member.ConnectionID = c.readText()
			if items > 1 {
				member.UserID = c.readText()
			}
			for range items - 2 {
				if !c.in.skip() {
					c.fail(errMalformed)
				}
			}
		}
		if c.err != nil {
			return nil, "", c.err
		}
		members = append(members, member)
	}
	continuation = c.readText()
	if c.err != nil {
		return nil, "", c.err
	}
	return members, continuation, nil
}

// AppendClaims appends the payload of the Ack to a GetConnectionClaims.
func AppendClaims(dst []byte, claims []Claim) []byte {
	c := codec{out: dst}
	c.claims(&claims)
	return c.out
}

// ParseClaims reads what AppendClaims wrote.
func ParseClaims(payload []byte) ([]Claim, error) {
	c := codec{reading: true, in: payload, items: MaxItems, left: 1}
	var claims []Claim
	c.claims(&claims)
	return claims, c.err
}
