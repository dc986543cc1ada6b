import { describe, expect, it } from 'vitest';
import { type TcpEvents, UserNetwork } from '../src/index.js';
import { createRandom, FakeHost, FakeSocket } from './fake-host.js';

const GUEST_MAC = [0x52, 0x54, 0, 0x12, 0x34, 0x56];

/** The Internet checksum, written down again, so that the network's own is checked. */
function checksum(bytes: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < bytes.length; i += 2) sum += (bytes[i]! << 8) + (bytes[i + 1] ?? 0);
  while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
  return ~sum & 0xffff;
}

const word = (value: number): number[] => [(value >>> 24) & 255, (value >>> 16) & 255, (value >>> 8) & 255, value & 255];
const half = (value: number): number[] => [(value >> 8) & 255, value & 255];

function ip(source: number[], target: number[], protocol: number, payload: number[]): Uint8Array {
  const header = [0x45, 0, ...half(20 + payload.length), 0, 0, 0x40, 0, 64, protocol, 0, 0, ...source, ...target];
  header.splice(10, 2, ...half(checksum(header)));
  return Uint8Array.from([0x52, 0x55, 10, 0, 2, 2, ...GUEST_MAC, 8, 0, ...header, ...payload]);
}

const udp = (source: number[], from: number, target: number[], to: number, data: number[]): Uint8Array =>
  ip(source, target, 17, [...half(from), ...half(to), ...half(8 + data.length), 0, 0, ...data]);

/** Throws unless all checksums of a frame are right; returns what its UDP or TCP carries. */
function verify(frame: Uint8Array): { source: number[]; target: number[]; ports: number[]; body: Uint8Array } {
  expect(checksum(frame.subarray(14, 34))).toBe(0);
  const payload = frame.subarray(34);
  const pseudo = [...frame.subarray(26, 34), 0, frame[23]!, ...half(payload.length)];
  expect(checksum([...pseudo, ...payload])).toBe(0);
  const view = new DataView(payload.buffer, payload.byteOffset);
  return {
    source: [...frame.subarray(26, 30)],
    target: [...frame.subarray(30, 34)],
    ports: [view.getUint16(0), view.getUint16(2)],
    body: payload.subarray(8),
  };
}

function create(options: Partial<ConstructorParameters<typeof UserNetwork>[0]> = {}) {
  const host = new FakeHost();
  const network = new UserNetwork({ host, ...options });
  const frames: Uint8Array[] = [];
  network.receiver = (frame) => void frames.push(frame.slice());
  return { host, network, frames };
}

function dhcp(type: number, ...options: number[]): Uint8Array {
  const message = new Uint8Array(300);
  message.set([1, 1, 6, 0, 0xde, 0xad, 0xbe, 0xef]);
  message.set(GUEST_MAC, 28);
  message.set([0x63, 0x82, 0x53, 0x63, 53, 1, type, ...options, 255], 236);
  return udp([0, 0, 0, 0], 68, [255, 255, 255, 255], 67, [...message]);
}

const ME = [10, 0, 2, 15];

describe('a user network', () => {
  it('names a file for booting, and gives it away by TFTP', () => {
    const file = { sizeBytes: 3, read: (_: number, into: Uint8Array) => (into.set([7, 8, 9]), 3), close: () => {} };
    const { host, network, frames } = create({ bootFile: 'pxelinux.0', tftp: (name) => (name === 'pxelinux.0' ? file : undefined), restrict: true });
    network.send(dhcp(1));
    const { body } = verify(frames[0]!);
    expect(new TextDecoder().decode(body.subarray(108, 119))).toBe('pxelinux.0\0');
    expect([...body.subarray(20, 24)]).toEqual([10, 0, 2, 2]);
    const request = [0, 1, ...new TextEncoder().encode('pxelinux.0\0octet\0')];
    network.send(udp(ME, 2000, [10, 0, 2, 2], 69, request));
    const answer = verify(frames[1]!);
    expect([answer.ports, [...answer.body]]).toEqual([
      [69, 2000],
      [0, 3, 0, 1, 7, 8, 9],
    ]);
    // Elsewhere it is a port as any.
    network.send(udp(ME, 2000, [9, 9, 9, 9], 69, request));
    expect([frames.length, host.nameServers.length > 0]).toEqual([2, true]);
    network.close();
  });

  it('gives addresses by DHCP', () => {
    const { network, frames } = create({ hostName: 'guest' });
    network.send(dhcp(1));
    network.send(dhcp(3, 50, 4, ...ME, 54, 4, 10, 0, 2, 2));
    network.send(dhcp(3, 50, 4, 10, 0, 2, 99));
    const answers = frames.map((frame) => verify(frame));
    expect(answers.map(({ body }) => body[242])).toEqual([2, 5, 6]);
    expect(answers[0]!.ports).toEqual([67, 68]);
    const ack = answers[1]!.body;
    expect([...ack.subarray(16, 20)]).toEqual(ME);
    expect([...ack.subarray(4, 8)]).toEqual([0xde, 0xad, 0xbe, 0xef]);
    const text = [...ack].join(' ');
    for (const option of ['1 4 255 255 255 0', '3 4 10 0 2 2', '6 4 10 0 2 3', '12 5 103 117 101 115 116']) expect(text).toContain(option);
  });

  it('has its own addresses where options say so', () => {
    const options = { net: '192.168.7.0/26', hostAddress: '192.168.7.1', dnsAddress: '192.168.7.40', dhcpStart: '192.168.7.38', domainName: 'lan' };
    const { network, frames } = create(options);
    network.send(dhcp(1));
    const [offer] = frames.map((frame) => verify(frame).body);
    expect([...offer!.subarray(16, 20)]).toEqual([192, 168, 7, 38]);
    const text = [...offer!].join(' ');
    for (const option of ['1 4 255 255 255 192', '3 4 192 168 7 1', '6 4 192 168 7 40', '15 3 108 97 110']) expect(text).toContain(option);
    // Only two addresses are free before that of the name server.
    for (let i = 1; i < 4; i++) {
      const other = dhcp(1);
      other[14 + 20 + 8 + 28 + 5] = i;
      network.send(other);
    }
    expect(frames.length).toBe(2);
  });

  it.each([
    [{ hostAddress: '10.0.3.2' }, /host: '10.0.3.2' is no address in 10.0.2.0/],
    [{ dnsAddress: '10.0.2.255' }, /dns: '10.0.2.255'/],
    [{ dhcpStart: 'x' }, /dhcpstart: 'x'/],
    [{ dnsAddress: '10.0.2.2' }, /both 10.0.2.2/],
    [{ guestForwards: [{ address: '10.9.9.9', port: 1, connect: () => new FakeSocket() }] }, /guestfwd 10.9.9.9:1/],
  ])('refuses addresses that cannot be: %j', (options, message) => {
    expect(() => create(options)).toThrow(message);
  });

  it('leads places inside of the network elsewhere, with restrict=on, too', () => {
    const sockets: FakeSocket[] = [];
    const connect = (events: TcpEvents): FakeSocket => {
      const socket = new FakeSocket();
      socket.events = events;
      sockets.push(socket);
      return socket;
    };
    const { network, host, frames } = create({ restrict: true, guestForwards: [{ address: '10.0.2.100', port: 7, connect }] });
    const syn = (target: number[], port: number): number[] => [
      ...half(4000),
      ...half(port),
      ...word(9),
      ...word(0),
      0x50,
      2,
      ...half(8000),
      0,
      0,
      0,
      0,
    ];
    network.send(ip(ME, [10, 0, 2, 100], 6, syn([10, 0, 2, 100], 7)));
    expect(sockets.length).toBe(1);
    sockets[0]!.events!.connected();
    expect(frames.at(-1)![47]).toBe(0x12);
    network.send(ip(ME, [10, 0, 2, 100], 6, syn([10, 0, 2, 100], 8)));
    expect(frames.at(-1)![47]! & 4).toBe(4);
    expect(host.connections).toEqual([]);
    const arp = Uint8Array.from([
      ...Array(6).fill(255),
      ...GUEST_MAC,
      8,
      6,
      0,
      1,
      8,
      0,
      6,
      4,
      0,
      1,
      ...GUEST_MAC,
      ...ME,
      0,
      0,
      0,
      0,
      0,
      0,
      10,
      0,
      2,
      100,
    ]);
    network.send(arp);
    expect([...frames.at(-1)!.subarray(28, 32)]).toEqual([10, 0, 2, 100]);
  });

  it('keeps forwarded ports of UDP when a guest opens as many others as it can', async () => {
    const { network, host } = create({ forwards: [{ protocol: 'udp', hostPort: 5353, guestPort: 53 }] });
    await network.open();
    const before = host.openSockets;
    for (let port = 2000; port < 5000; port++) network.send(udp(ME, port, [192, 0, 2, 1], 9, [1]));
    expect(host.openSockets).toBeLessThanOrEqual(1024);
    expect(before).toBe(1);
    network.send(udp(ME, 53, [192, 0, 2, 1], 9, [7]));
    const sockets = host.openSockets;
    network.send(udp(ME, 53, [192, 0, 2, 1], 9, [8]));
    expect(host.openSockets).toBe(sockets);
    network.close();
    expect(host.openSockets).toBe(0);
  });

  it('leaves requests for other servers alone', () => {
    const { network, frames } = create();
    network.send(dhcp(3, 54, 4, 10, 0, 2, 9));
    expect(frames).toEqual([]);
  });

  it('answers ARP for the host and the name server only', () => {
    const { network, frames } = create();
    for (const last of [2, 3, 4]) {
      network.send(
        Uint8Array.from([
          ...GUEST_MAC.map(() => 255),
          ...GUEST_MAC,
          8,
          6,
          0,
          1,
          8,
          0,
          6,
          4,
          0,
          1,
          ...GUEST_MAC,
          ...ME,
          0,
          0,
          0,
          0,
          0,
          0,
          10,
          0,
          2,
          last,
        ]),
      );
    }
    expect(frames.map((frame) => [frame[21], [...frame.subarray(28, 32)], [...frame.subarray(0, 6)]])).toEqual([
      [2, [10, 0, 2, 2], GUEST_MAC],
      [2, [10, 0, 2, 3], GUEST_MAC],
    ]);
  });

  it('answers pings to the host', () => {
    const { network, frames } = create();
    const request = [8, 0, 0, 0, 1, 2, 3, 4, 5, 6];
    request.splice(2, 2, ...half(checksum(request)));
    network.send(ip(ME, [10, 0, 2, 2], 1, request));
    network.send(ip(ME, [192, 0, 2, 1], 1, request));
    expect(frames.length).toBe(1);
    expect(checksum(frames[0]!.subarray(34))).toBe(0);
    expect([...frames[0]!.subarray(38)]).toEqual([1, 2, 3, 4, 5, 6]);
  });

  it('carries datagrams out and back: to the world, to the host, to its name server', () => {
    const { host, network, frames } = create();
    for (const [target, port] of [
      [[192, 0, 2, 7], 9],
      [[10, 0, 2, 2], 9],
      [[10, 0, 2, 3], 53],
    ] as const) {
      network.send(udp(ME, 4000, [...target], port, [1, 2, 3]));
    }
    expect(host.datagrams.map(({ address, port, bytes }) => [address, port, bytes.length])).toEqual([
      ['192.0.2.7', 9, 3],
      ['127.0.0.1', 9, 3],
      ['192.0.2.53', 53, 3],
    ]);
    for (const datagram of host.datagrams) datagram.answer(Uint8Array.of(7, 8));
    expect(frames.map((frame) => verify(frame)).map(({ source, ports, body }) => [source, ports, [...body]])).toEqual([
      [
        [192, 0, 2, 7],
        [9, 4000],
        [7, 8],
      ],
      [
        [10, 0, 2, 2],
        [9, 4000],
        [7, 8],
      ],
      [
        [10, 0, 2, 3],
        [53, 4000],
        [7, 8],
      ],
    ]);
    expect(host.openSockets).toBe(1);
    host.pass(200_000);
    expect(host.openSockets).toBe(0);
  });

  it('lets nothing out when it is restricted', () => {
    const { host, network, frames } = create({ restrict: true });
    network.send(udp(ME, 4000, [192, 0, 2, 7], 9, [1]));
    network.send(ip(ME, [192, 0, 2, 7], 6, [...half(5000), ...half(80), ...word(1), ...word(0), 0x50, 2, 255, 255, 0, 0, 0, 0]));
    expect(host.datagrams).toEqual([]);
    expect(host.connections).toEqual([]);
    // The connection is refused, not left hanging.
    expect(frames.map((frame) => frame[47])).toEqual([0x14]);
  });

  it('says of a port in use which', async () => {
    const host = new FakeHost();
    const forward = { protocol: 'tcp', hostPort: 8080, guestPort: 80 } as const;
    const network = new UserNetwork({ host, forwards: [forward, forward] });
    await expect(network.open()).rejects.toMatchObject({ code: 'EADDRINUSE', port: 8080 });
  });

  it('takes any bytes', () => {
    const { network, frames, host } = create();
    const random = createRandom(99);
    const seeds = [
      dhcp(1),
      udp(ME, 4000, [10, 0, 2, 3], 53, [1, 2]),
      ip(ME, [192, 0, 2, 7], 6, [...half(5000), ...half(80), ...word(1), ...word(0), 0x60, 2, 255, 255, 0, 0, 0, 0, 2, 4, 5, 0xb4]),
    ];
    for (let i = 0; i < 100_000; i++) {
      const frame = seeds[i % seeds.length]!.slice(0, random(8) === 0 ? random(60) : undefined);
      for (let n = random(4); n > 0 && frame.length > 0; n--) frame[random(frame.length)] = random(256);
      network.send(frame);
    }
    // Many frames are still sound enough to be followed.
    expect(frames.length + host.datagrams.length + host.connections.length).toBeGreaterThan(10_000);
  });
});
