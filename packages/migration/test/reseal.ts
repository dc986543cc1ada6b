import { crc32 } from '../src/checksum.js';
import { encodeValue } from '../src/value-codec.js';

const HEADER = 16;
const SECTION_HEADER = 16;

/** A section of a snapshot. */
export interface Piece {
  kind: Uint8Array;
  payload: Uint8Array;
}

/** The sections of a snapshot. */
export function split(bytes: Uint8Array): Piece[] {
  const pieces: Piece[] = [];
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  for (let at = HEADER; at < bytes.length; ) {
    const length = view.getUint32(at + 4, true);
    pieces.push({ kind: bytes.slice(at, at + 4), payload: bytes.slice(at + SECTION_HEADER, at + SECTION_HEADER + length) });
    at += SECTION_HEADER + length;
  }
  return pieces;
}

/** Damages the payloads of a snapshot, or drops, doubles and swaps sections, and then makes all checksums right again. */
export function reseal(bytes: Uint8Array, random: (limit: number) => number): Uint8Array {
  const pieces = split(bytes);
  const end = pieces.pop()!;
  const victim = random(pieces.length);
  const { payload } = pieces[victim]!;
  const what = random(8);
  if (what === 0) pieces.splice(victim, 1);
  else if (what === 1) pieces.splice(victim, 0, pieces[victim]!);
  else if (what === 2) pieces.splice(random(pieces.length), 0, ...pieces.splice(victim, 1));
  else if (what === 3) pieces[victim]!.payload = payload.slice(0, random(payload.length + 1));
  else for (let n = random(3); n >= 0; n--) payload[random(Math.min(payload.length, 64))]! ^= 1 << random(8);
  return join(bytes, pieces, end);
}

/** A snapshot with the header of another, of these sections, with right checksums. */
export function join(bytes: Uint8Array, pieces: readonly Piece[], end: Piece): Uint8Array {
  let crc = 0;
  const out: number[] = [...bytes.subarray(0, HEADER)];
  const emit = ({ kind, payload: data }: Piece): void => {
    const header = new Uint8Array(SECTION_HEADER);
    const view = new DataView(header.buffer);
    header.set(kind);
    view.setUint32(4, data.length, true);
    view.setUint32(8, crc32(data, crc32(header.subarray(0, 8))), true);
    view.setUint32(12, crc32(header.subarray(0, 12)), true);
    crc = crc32(header.subarray(8, 12), crc);
    out.push(...header, ...data);
  };
  for (const piece of pieces) emit(piece);
  emit({ kind: end.kind, payload: encodeValue({ sections: pieces.length, crc }) });
  return Uint8Array.from(out);
}
