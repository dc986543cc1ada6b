import { describe, expect, it } from 'vitest';
import { finishSum, sumWords } from '../src/checksum.js';
import { FinishingNetwork, NetworkError, SocketLink, UserNetwork } from '../src/index.js';
import { createIpFrame, ETHERNET_BYTES, formatAddress, IP_BYTES, Protocol, pseudoHeaderSum } from '../src/packets.js';
import { createRandom, FakeHost } from './fake-host.js';

const OPERATIONS = Number(globalThis.process?.env['NESTVM_NETWORK_FUZZ'] ?? 20_000);
/** Machines that are busy with something else take a millisecond for each. */
const TIMEOUT_MS = 60_000 + 2 * OPERATIONS;

const GUEST = 0x0a00020f;
const TARGETS = [0x0a000202, 0x0a000203, 0x0a0002ff, 0x0a00020f, 0x08080808, 0xe0000001, 0xffffffff, 0x7f000001, 0];
const MACS = [new Uint8Array(6).fill(2), new Uint8Array(6).fill(255)] as const;

type Below = (limit: number) => number;

/** A frame that is right in most of what a network looks at, so that it gets far. */
function likely(below: Below): Uint8Array {
  const protocol = [Protocol.TCP, Protocol.TCP, Protocol.TCP, Protocol.UDP, Protocol.ICMP, below(256)][below(6)]!;
  const payloadBytes = below(20) === 0 ? below(1400) : [8, 20, 20, 24, 28, 40, 60, 300][below(8)]! + below(8);
  const target = TARGETS[below(TARGETS.length)]!;
  const source = below(10) === 0 ? below(2 ** 32) : GUEST;
  const frame = createIpFrame({ from: MACS[0], to: MACS[1], protocol, source, target, payloadBytes });
  const view = new DataView(frame.buffer);
  const start = ETHERNET_BYTES + IP_BYTES;
  for (let at = start; at < frame.length; at++) frame[at] = below(4) === 0 ? below(256) : 0;
  if (payloadBytes < 20) return frame;
  view.setUint16(start, 1000 + below(30));
  view.setUint16(start + 2, [80, 53, 67, 8080 + below(3)][below(4)]!);
  if (protocol === Protocol.UDP) view.setUint16(start + 4, below(4) === 0 ? below(2000) : payloadBytes);
  if (protocol === Protocol.UDP && payloadBytes > 250) frame.set([1, 1, 6, 0], start + 8);
  if (protocol !== Protocol.TCP) return frame;
  view.setUint32(start + 4, below(3) === 0 ? below(2 ** 32) : below(3000));
  view.setUint32(start + 8, below(2) * 0x10001 + below(3000));
  frame[start + 12] = below(6) === 0 ? below(256) : 0x50;
  frame[start + 13] = [2, 16, 16, 24, 17, 4, below(256)][below(7)]!;
  view.setUint16(start + 14, below(3) === 0 ? 0 : below(65_536));
  view.setUint16(start + 16, 0);
  view.setUint16(start + 16, finishSum(sumWords(frame, start, frame.length, pseudoHeaderSum(source, target, Protocol.TCP, payloadBytes))));
  return frame;
}

/** The same with bytes changed, or cut, or of nothing at all. */
function hostile(below: Below): Uint8Array {
  if (below(20) === 0) return Uint8Array.from({ length: below(100) }, () => below(256));
  const frame = likely(below);
  for (let changes = below(4) === 0 ? below(4) : 0; changes > 0; changes--) frame[below(frame.length)] = below(256);
  return below(20) === 0 ? frame.subarray(0, below(frame.length + 1)) : frame;
}

describe('a hostile guest', () => {
  it.each([
    ['with offloads', { checksum: true, segments: true }],
    ['without', { checksum: false, segments: false }],
  ])(
    `of a user network neither makes it throw nor fills its memory, ${OPERATIONS} operations %s`,
    (_, guest) => {
      const below = createRandom(77 + Number(guest.checksum));
      const host = new FakeHost();
      const network = new UserNetwork({ host });
      network.guest = guest;
      let answers = 0;
      let longest = 0;
      network.receiver = (frame) => {
        answers++;
        longest = Math.max(longest, frame.length);
      };
      for (let i = 0; i < OPERATIONS; i++) {
        network.send(hostile(below));
        const connection = host.connections[host.connections.length - 1 - below(Math.min(20, host.connections.length) || 1)];
        const act = below(40);
        if (connection && act === 0) connection.socket.events!.connected();
        else if (connection && act === 1) connection.socket.events!.data(new Uint8Array(below(20_000)));
        else if (connection && act === 2) connection.socket.events!.ended();
        else if (connection && act === 3) connection.socket.events!.closed();
        else if (connection && act === 4) connection.socket.waitingBytes = below(2) * below(2 ** 20);
        else if (connection && act === 5) connection.socket.events!.drained();
        else if (act === 6 && host.datagrams.length > 0) host.datagrams[below(host.datagrams.length)]!.answer(new Uint8Array(below(2000)));
        else if (act === 7) host.pass(below(400));
        for (const { socket } of host.connections.slice(-20)) socket.received.length = 0;
        host.datagrams.splice(0, Math.max(0, host.datagrams.length - 50));
      }
      const { openSockets } = host;
      console.log(`user network: ${OPERATIONS} frames, ${answers} answers, ${host.connections.length} connections, ${openSockets} ports of UDP`);
      expect(answers).toBeGreaterThan(OPERATIONS / 20);
      expect(longest).toBeLessThanOrEqual(guest.segments ? 65_549 : 1514);
      expect(openSockets).toBeLessThanOrEqual(1024);
      // Nothing of it reaches addresses that lead nowhere.
      for (const { address } of host.connections) expect(['0.0.0.0', '255.255.255.255', '224.0.0.1', formatAddress(GUEST)]).not.toContain(address);
      network.close();
      expect(host.openSockets).toBe(0);
    },
    TIMEOUT_MS,
  );

  it(
    `of a cable sends unfinished frames that are none, ${OPERATIONS} operations`,
    () => {
      const below = createRandom(99);
      let sent = 0;
      const network = new FinishingNetwork({ offloads: false, send: () => void sent++, close: () => {} });
      for (let i = 0; i < OPERATIONS; i++) {
        const frame = hostile(below);
        const [start, offset] = [below(60), below(20)];
        // The device has checked that the checksum lies in the frame.
        const checksum = start + offset + 2 <= frame.length ? { checksum: { start, offset } } : {};
        network.send(frame, { ...checksum, ...(below(3) === 0 ? { segmentBytes: below(2) * below(65_536) } : {}) });
      }
      console.log(`cable: ${OPERATIONS} frames, ${sent} sent`);
      expect(sent).toBeGreaterThan(OPERATIONS / 2);
    },
    TIMEOUT_MS,
  );

  it(
    `or one at the other end of a socket, ${OPERATIONS} pieces`,
    () => {
      const below = createRandom(101);
      let [frames, cuts] = [0, 0];
      const link = new SocketLink();
      link.guest = { checksum: true, segments: true };
      link.receiver = (frame) => {
        frames++;
        expect(frame.length).toBeLessThanOrEqual(65_600);
      };
      const plug = (): void => link.attach({ write: () => {}, waitingBytes: 0, close: () => {} });
      plug();
      for (let i = 0; i < OPERATIONS; i++) {
        const pieces = Array.from({ length: 1 + below(4) }, () => hostile(below)).filter(({ length }) => length > 0);
        const bytes = Uint8Array.from(pieces.flatMap((piece) => [0, 0, piece.length >> 8, piece.length & 255, ...piece]));
        if (below(200) === 0) bytes.fill(below(256), 0, 4);
        try {
          const cut = below(bytes.length + 1);
          link.take(bytes.subarray(0, cut));
          if (below(50) > 0) link.take(bytes.subarray(cut));
        } catch (error) {
          if (!(error instanceof NetworkError)) throw error;
          cuts++;
          plug();
        }
      }
      console.log(`socket: ${OPERATIONS} pieces, ${frames} frames, ${cuts} links cut`);
      expect(frames).toBeGreaterThan(OPERATIONS / 2);
      expect(cuts).toBeGreaterThan(0);
    },
    TIMEOUT_MS,
  );
});
