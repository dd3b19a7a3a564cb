// The framing of MessagePack messages, apart from any SignalR library.
import { decodeMulti, encode } from "@msgpack/msgpack";

/** One message as it is framed: its length in groups of 7 bits, then itself. */
export function frame(...elements) {
  const body = encode(elements);
  const length = [];
  for (let rest = body.length; ; rest >>= 7) {
    length.push((rest & 0x7f) | (rest > 0x7f ? 0x80 : 0));
    if (rest <= 0x7f) return Buffer.concat([Buffer.from(length), body]);
  }
}

/** The messages in a frame. */
export function parse(bytes) {
  const messages = [];
  for (let at = 0; at < bytes.length; ) {
    let length = 0;
    let shift = 0;
    let byte;
    do {
      byte = bytes[at++];
      length += (byte & 0x7f) * 2 ** shift;
      shift += 7;
    } while (byte & 0x80);
    const [message] = decodeMulti(bytes.subarray(at, at + length));
    messages.push(message);
    at += length;
  }
  return messages;
}
