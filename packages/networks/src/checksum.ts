/** From here on a view of the bytes pays. */
const LONG_BYTES = 64;

/** Sum of 16-bit words as the Internet checksum adds them, not complemented ("RFC 1071"). */
export function sumWords(bytes: Uint8Array, start = 0, end = bytes.length, initial = 0): number {
  let at = start;
  let sum = initial;
  if (end - at >= LONG_BYTES) {
    const whole = at + ((end - at) & ~3);
    sum += sumLong(new DataView(bytes.buffer, bytes.byteOffset, bytes.length), at, whole);
    at = whole;
  }
  for (; at + 1 < end; at += 2) sum += (bytes[at]! << 8) | bytes[at + 1]!;
  if (at < end) sum += bytes[at]! << 8;
  return fold(sum);
}

/** The same over whole words of 32 bits: which half of such a word a half is, is the same to the sum. */
function sumLong(view: DataView, start: number, end: number): number {
  let [high, low] = [0, 0];
  for (let at = start; at < end; at += 4) {
    const word = view.getInt32(at);
    high += word >>> 16;
    low += word & 0xffff;
  }
  return fold(high + low);
}

function fold(sum: number): number {
  let folded = sum;
  while (folded > 0xffff) folded = (folded & 0xffff) + Math.floor(folded / 0x10000);
  return folded;
}

/** The Internet checksum of what was summed. */
export const finishSum = (sum: number): number => ~sum & 0xffff;
