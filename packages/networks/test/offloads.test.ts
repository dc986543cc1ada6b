import { describe, expect, it } from 'vitest';
import { finishSum, sumWords } from '../src/checksum.js';
import { FinishingNetwork, type Network, type Offload, SocketLink } from '../src/index.js';
import { createIpFrame, ETHERNET_BYTES, IP_BYTES, Protocol, pseudoHeaderSum, readIp } from '../src/packets.js';

const SOURCE = 0x0a00020f;
const TARGET = 0x0a000202;
const TCP = ETHERNET_BYTES + IP_BYTES;
const HEADER_BYTES = 32;

/** A TCP frame whose checksum is left to others, as a guest makes it. */
function segment(length: number, flags = 0x18, sequence = 0xffff_f000): Uint8Array {
  const payloadBytes = HEADER_BYTES + length;
  const frame = createIpFrame({
    from: new Uint8Array(6).fill(2),
    to: new Uint8Array(6).fill(4),
    protocol: Protocol.TCP,
    source: SOURCE,
    target: TARGET,
    payloadBytes,
  });
  const view = new DataView(frame.buffer);
  view.setUint16(TCP, 4000);
  view.setUint16(TCP + 2, 80);
  view.setUint32(TCP + 4, sequence);
  view.setUint32(TCP + 8, 77);
  view.setUint8(TCP + 12, (HEADER_BYTES / 4) << 4);
  view.setUint8(TCP + 13, flags);
  view.setUint16(TCP + 14, 500);
  view.setUint16(TCP + 16, pseudoHeaderSum(SOURCE, TARGET, Protocol.TCP, payloadBytes));
  frame.set([1, 1, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8], TCP + 20);
  for (let i = 0; i < length; i++) frame[TCP + HEADER_BYTES + i] = (i * 31) & 255;
  return frame;
}

const intact = (frame: Uint8Array): boolean => {
  const packet = readIp(frame)!;
  return finishSum(sumWords(packet.payload, 0, packet.payload.length, pseudoHeaderSum(SOURCE, TARGET, Protocol.TCP, packet.payload.length))) === 0;
};

/** Frames that come out of a network that takes finished ones only. */
function finished(frame: Uint8Array, offload: Offload): Uint8Array[] {
  const out: Uint8Array[] = [];
  const inner: Network = { offloads: false, send: (bytes) => void out.push(bytes.slice()), close: () => {} };
  new FinishingNetwork(inner).send(frame, offload);
  return out;
}

/** What a guest gets when frames come together over a socket. */
function arriving(frames: readonly Uint8Array[], guest = { checksum: true, segments: true }): { frame: Uint8Array; offload: Offload | undefined }[] {
  const got: { frame: Uint8Array; offload: Offload | undefined }[] = [];
  const link = new SocketLink();
  link.guest = guest;
  link.receiver = (frame, offload) => got.push({ frame: frame.slice(), offload });
  link.take(Uint8Array.from(frames.flatMap((frame) => [0, 0, frame.length >> 8, frame.length & 255, ...frame])));
  return got;
}

const checksum = { start: TCP, offset: 16 };

describe('frames that a guest has not finished', () => {
  it('get their checksum', () => {
    const frame = segment(1001);
    const [out] = finished(frame, { checksum });
    expect(intact(out!)).toBe(true);
    expect(out!.subarray(TCP + HEADER_BYTES)).toEqual(frame.subarray(TCP + HEADER_BYTES));
  });

  it('are cut into pieces, each of which is whole', () => {
    const frame = segment(5000, 0x99);
    const pieces = finished(frame, { checksum, segmentBytes: 1448 });
    expect(pieces.map((piece) => piece.length - TCP - HEADER_BYTES)).toEqual([1448, 1448, 1448, 656]);
    expect(pieces.every(intact)).toBe(true);
    expect(pieces.map((piece) => piece[TCP + 13])).toEqual([0x90, 0x10, 0x10, 0x19]);
    expect(pieces.map((piece) => new DataView(piece.buffer).getUint32(TCP + 4))).toEqual([0, 1448, 2896, 4344].map((n) => (0xffff_f000 + n) >>> 0));
    expect(Buffer.concat(pieces.map((piece) => piece.subarray(TCP + HEADER_BYTES)))).toEqual(Buffer.from(frame.subarray(TCP + HEADER_BYTES)));
  });

  it.each([
    ['is cut short', segment(3000).subarray(0, 900)],
    ['is no TCP', segment(3000).map((byte, i) => (i === 23 ? 17 : byte))],
    ['has a header that is longer than itself', segment(4).map((byte, i) => (i === TCP + 12 ? 0xf0 : byte))],
  ])('are dropped when a long one %s', (_, frame) => {
    expect(finished(frame, { checksum, segmentBytes: 1448 })).toEqual([]);
    expect(finished(segment(3000), { checksum, segmentBytes: 1 })).toEqual([]);
  });
});

describe('frames that arrive together', () => {
  const pieces = finished(segment(20_000, 0x18), { checksum, segmentBytes: 1448 });

  it('are one long segment for a guest that takes it', () => {
    const got = arriving(pieces);
    expect(got.map(({ offload }) => offload)).toEqual([{ checksum, segmentBytes: 1448 }]);
    expect(readIp(got[0]!.frame)?.payload.length).toBe(HEADER_BYTES + 20_000);
    expect(finished(got[0]!.frame, got[0]!.offload!).map((piece) => [...piece.subarray(TCP)])).toEqual(
      pieces.map((piece) => [...piece.subarray(TCP)]),
    );
    expect(arriving(pieces, { checksum: true, segments: false }).length).toBe(pieces.length);
  });

  it('stay as they are when they do not follow each other, are damaged, or say more', () => {
    const damaged = pieces.map((piece, i) => (i === 3 ? piece.map((byte, at) => (at === 700 ? byte ^ 1 : byte)) : piece));
    const got = arriving(damaged);
    expect(got.map(({ offload }) => offload !== undefined)).toEqual([true, false, true]);
    expect(got[1]!.frame).toEqual(damaged[3]);
    expect(arriving([pieces[0]!, pieces[2]!]).map(({ frame }) => frame)).toEqual([pieces[0], pieces[2]]);
    const [alone] = finished(segment(100, 0x11), { checksum });
    expect(arriving([pieces[0]!, alone!]).map(({ frame }) => frame)).toEqual([pieces[0], alone]);
  });

  it('go past a long segment that is full, and past what is no TCP', () => {
    const many = Array.from({ length: 3 }, (_, i) => finished(segment(43_440, 0x10, i * 43_440), { checksum, segmentBytes: 1448 })).flat();
    const got = arriving([...many, Uint8Array.of(1, 2, 3)]);
    expect(got.reduce((sum, { frame }) => sum + frame.length - TCP - HEADER_BYTES, 0)).toBe(3 * 43_440 + 3 - TCP - HEADER_BYTES);
    expect(got.length).toBe(3);
    expect(got.at(-1)!.frame).toEqual(Uint8Array.of(1, 2, 3));
  });

  it('are one acknowledgement where the last says what all of them say', () => {
    const acknowledge = (number: number, options = 0): Uint8Array => {
      const [frame] = finished(segment(0, 0x10, 500), { checksum });
      const view = new DataView(frame!.buffer);
      view.setUint32(TCP + 8, number);
      if (options) view.setUint32(TCP + 20, options);
      view.setUint16(TCP + 16, 0);
      view.setUint16(TCP + 16, finishSum(sumWords(frame!, TCP, frame!.length, pseudoHeaderSum(SOURCE, TARGET, Protocol.TCP, HEADER_BYTES))));
      return frame!;
    };
    const numbers = (frames: readonly Uint8Array[]): number[] =>
      arriving(frames).map(({ frame }) => new DataView(frame.buffer, frame.byteOffset).getUint32(TCP + 8));
    expect(numbers([0xffff_ff00, 0xffff_fff0, 0x10, 0x20].map((number) => acknowledge(number)))).toEqual([0x20]);
    expect(arriving([acknowledge(1), acknowledge(2)])[0]).toEqual({ frame: acknowledge(2), offload: undefined });
    // The same byte again asks for a repetition; older ones stay behind; selective ones say more.
    expect(numbers([1, 1, 1, 2, 1].map((number) => acknowledge(number)))).toEqual([1, 1, 2, 1]);
    expect(numbers([acknowledge(1, 0x0101050a), acknowledge(2, 0x0101050a)])).toEqual([1, 2]);
    const other = acknowledge(3);
    other[TCP + 1] = 9;
    expect(numbers([acknowledge(1), other, acknowledge(2)])).toEqual([1, 3, 2]);
    // Data stays behind the acknowledgements that it followed.
    expect(numbers([acknowledge(1), acknowledge(2), pieces[0]!, acknowledge(3)])).toEqual([2, 77, 3]);
  });
});
