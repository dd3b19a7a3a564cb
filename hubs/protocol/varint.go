package protocol

// maxLengthPrefix is the longest length prefix of a binary message, in bytes.
const maxLengthPrefix = 5

// readLength reads the length prefix of a binary message: least significant
// seven bits first, the top bit says that another byte follows (HubProtocol.md,
// "MessagePack (MsgPack) encoding"). n is 0 while the prefix is incomplete.
// Like ASP.NET it takes prefixes that are longer than needed, up to 5 bytes and 2^31-1.
func readLength(data []byte) (size, n int, err error) {
	var length uint64
	for i := range min(len(data), maxLengthPrefix) {
		length |= uint64(data[i]&0x7F) << (7 * i)
		if data[i]&0x80 == 0 {
			if length > 1<<31-1 {
				return 0, 0, errMessageTooBig
			}
			return int(length), i + 1, nil
		}
	}
	if len(data) >= maxLengthPrefix {
		return 0, 0, errMessageTooBig
	}
	return 0, 0, nil
}

// prefixLength puts the length prefix before the message that begins at
// dst[start] and runs to the end. The message is written first and moved: its
// length isn't known before a transcoded value is written.
func prefixLength(dst []byte, start int) []byte {
	var prefix [maxLengthPrefix]byte
	size, n := len(dst)-start, 0
	for v := uint(size); ; n++ {
		prefix[n] = byte(v & 0x7F)
		if v >>= 7; v == 0 {
			n++
			break
		}
		prefix[n] |= 0x80
	}
	return insert(dst, start, prefix[:n])
}

// insert puts b before dst[at]. b must not be part of dst.
func insert(dst []byte, at int, b []byte) []byte {
	dst = append(dst, b...)
	copy(dst[at+len(b):], dst[at:len(dst)-len(b)])
	copy(dst[at:], b)
	return dst
}
