import { describe, expect, it } from 'vitest';
import { VirtioVsock, type VsockStream, VsockStreams } from '../../src/virtio/index.js';
import { VsockHeader as H, HOST_CID, VsockOperation as Op, VsockQueue, VsockShutdown } from '../../src/virtio/vsock/registers.js';
import { Bench, ways } from './bench.js';

const CID = 42;
const bytesOf = (words: string): Uint8Array => new TextEncoder().encode(words);
const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);

interface Packet {
  readonly operation: number;
  readonly guestPort?: number;
  readonly hostPort?: number;
  readonly flags?: number;
  readonly bytes?: Uint8Array;
  readonly buffer?: number;
  readonly forwarded?: number;
  readonly type?: number;
  readonly source?: number;
  readonly target?: number;
}

/** A packet as the guest sends it. */
function packetOf({ operation, guestPort = 1000, hostPort = 7, flags = 0, bytes = new Uint8Array(0), ...rest }: Packet): Uint8Array {
  const packet = new Uint8Array(H.BYTES + bytes.length);
  const view = new DataView(packet.buffer);
  view.setUint32(H.SOURCE_CID, rest.source ?? CID, true);
  view.setUint32(H.TARGET_CID, rest.target ?? HOST_CID, true);
  view.setUint32(H.SOURCE_PORT, guestPort, true);
  view.setUint32(H.TARGET_PORT, hostPort, true);
  view.setUint32(H.LENGTH, bytes.length, true);
  view.setUint16(H.TYPE, rest.type ?? 1, true);
  view.setUint16(H.OPERATION, operation, true);
  view.setUint32(H.FLAGS, flags, true);
  view.setUint32(H.BUFFER, rest.buffer ?? 0x1_0000, true);
  view.setUint32(H.FORWARDED, rest.forwarded ?? 0, true);
  packet.set(bytes, H.BYTES);
  return packet;
}

describe.each(ways.filter(({ transport }) => transport !== 'legacy'))('virtio-vsock over $transport, packed $packed', (way) => {
  const start = (room = 4096, buffers = 24) => {
    const host = new VsockStreams();
    const device = new VirtioVsock({ guestCid: CID, backend: host, packed: way.packed });
    const bench = new Bench(device, way);
    const driver = bench.start(3);
    const rooms = Array.from({ length: buffers }, () => driver.room(room));
    const byId = new Map(rooms.map((buffer) => [driver.queues[0]!.add([buffer]), buffer]));
    driver.kick(0);
    /** What came: operation, ports, flags and the credit, or bytes. */
    const received = () => {
      const packets = [];
      for (let used = driver.queues[0]!.poll(); used; used = driver.queues[0]!.poll()) {
        const bytes = driver.contents([byId.get(used.id)!]).subarray(0, used.written);
        const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
        packets.push({
          operation: view.getUint16(H.OPERATION, true),
          guestPort: view.getUint32(H.TARGET_PORT, true),
          hostPort: view.getUint32(H.SOURCE_PORT, true),
          flags: view.getUint32(H.FLAGS, true),
          buffer: view.getUint32(H.BUFFER, true),
          forwarded: view.getUint32(H.FORWARDED, true),
          bytes: bytes.subarray(H.BYTES),
        });
        byId.set(driver.queues[0]!.add([byId.get(used.id)!]), byId.get(used.id)!);
      }
      driver.kick(0);
      return packets;
    };
    const send = (packet: Packet): void => void driver.request(VsockQueue.TRANSMIT, [packetOf(packet)], []);
    const operations = () => received().map(({ operation }) => operation);
    return { host, device, bench, driver, send, received, operations };
  };
  /** A service that keeps what it is sent. */
  const serve = (host: VsockStreams, port = 7) => {
    const heard = { text: '', ends: 0, closes: 0, stream: undefined as VsockStream | undefined };
    host.listen(port, (stream) => {
      heard.stream = stream;
      stream.onData = (bytes) => (heard.text += text(bytes));
      stream.onEnd = () => heard.ends++;
      stream.onClose = () => heard.closes++;
    });
    return heard;
  };

  it('shows the identifier of the guest', () => {
    const { bench } = start();
    expect([bench.transport.readConfig(0, 4), bench.transport.readConfig(4, 4)]).toEqual([CID, 0]);
    expect(() => new VirtioVsock({ guestCid: 2 })).toThrow('guest-cid 2 cannot be');
  });

  it('answers a connection, passes bytes on in both directions, and ends', () => {
    const { host, send, received, operations } = start();
    const heard = serve(host);
    send({ operation: Op.REQUEST });
    const [response] = received();
    expect(response).toMatchObject({ operation: Op.RESPONSE, guestPort: 1000, hostPort: 7, buffer: 0x4_0000, forwarded: 0 });
    send({ operation: Op.RW, bytes: bytesOf('hello ') });
    send({ operation: Op.RW, bytes: bytesOf('host') });
    heard.stream!.send(bytesOf('hello guest'));
    const [answer] = received();
    expect([answer?.operation, text(answer!.bytes), answer?.forwarded, heard.text]).toEqual([Op.RW, 'hello guest', 10, 'hello host']);
    send({ operation: Op.SHUTDOWN, flags: VsockShutdown.SEND });
    expect([heard.ends, heard.closes]).toEqual([1, 0]);
    heard.stream!.send(bytesOf('last'));
    heard.stream!.finish();
    expect(received().map(({ operation, flags }) => [operation, flags])).toEqual([
      [Op.RW, 0],
      [Op.SHUTDOWN, VsockShutdown.SEND],
    ]);
    send({ operation: Op.SHUTDOWN, flags: VsockShutdown.BOTH });
    expect([operations(), heard.closes]).toEqual([[Op.RST], 1]);
    send({ operation: Op.RW, bytes: bytesOf('late') });
    expect([operations(), heard.text]).toEqual([[Op.RST], 'hello host']);
  });

  it('refuses ports that nobody answers, and what belongs to no connection; RST itself has no answer', () => {
    const { send, operations, device } = start();
    send({ operation: Op.REQUEST, hostPort: 99 });
    send({ operation: Op.RW, bytes: bytesOf('x') });
    send({ operation: Op.RST });
    send({ operation: Op.REQUEST, type: 2 });
    send({ operation: Op.REQUEST, target: 9 });
    expect(operations()).toEqual([Op.RST, Op.RST, Op.RST, Op.RST]);
    send({ operation: Op.REQUEST, source: CID + 1 });
    expect([operations(), device.violation]).toEqual([[], undefined]);
  });

  it('sends no more than the guest has room for', () => {
    const { host, send, received } = start();
    const heard = serve(host);
    send({ operation: Op.REQUEST, buffer: 10 });
    received();
    heard.stream!.send(bytesOf('0123456789abcdef'));
    expect(received().map(({ bytes }) => text(bytes))).toEqual(['0123456789']);
    send({ operation: Op.CREDIT_UPDATE, buffer: 10, forwarded: 4 });
    send({ operation: Op.CREDIT_UPDATE, buffer: 10, forwarded: 4 });
    expect(received().map(({ bytes }) => text(bytes))).toEqual(['abcd']);
    send({ operation: Op.CREDIT_UPDATE, buffer: 0, forwarded: 4 });
    expect(received()).toEqual([]);
    send({ operation: Op.CREDIT_UPDATE, buffer: 10, forwarded: 14 });
    expect(received().map(({ bytes }) => text(bytes))).toEqual(['ef']);
  });

  it('takes the bytes of a packet that brings credit, too', () => {
    const { host, send, received } = start();
    const heard = serve(host);
    send({ operation: Op.REQUEST, buffer: 2 });
    received();
    heard.stream!.send(bytesOf('abc'));
    received();
    send({ operation: Op.RW, buffer: 100, bytes: bytesOf('both ways') });
    expect([heard.text, received().map(({ bytes }) => text(bytes))]).toEqual(['both ways', ['c']]);
  });

  it('takes more than it keeps when the guest reads at once', () => {
    const { host, device, send, received } = start(0x1_0000);
    let taken = 0;
    host.connect = (_, connection) => {
      const peer = { write: () => {}, end: () => {}, close: () => {} };
      return { ...peer, write: () => (taken = connection.send(new Uint8Array(0x4_0000))) };
    };
    send({ operation: Op.REQUEST, buffer: 0x10_0000 });
    received();
    send({ operation: Op.RW, buffer: 0x10_0000, bytes: bytesOf('go') });
    expect([taken, device.violation]).toEqual([0x4_0000, undefined]);
    expect(received().reduce((sum, { bytes }) => sum + bytes.length, 0)).toBe(0x4_0000);
  });

  it('tells what it has passed on, when asked and when it is much; more than its buffer ends the connection', () => {
    const { host, device, send, received } = start();
    let consume: (bytes: number) => void = () => {};
    const closed: number[] = [];
    const peer = { write: () => {}, end: () => {}, close: () => void closed.push(1) };
    host.listen(7, undefined);
    const backend = host as { connect: unknown };
    backend.connect = (_: number, connection: { consumed: (n: number) => void }) => {
      consume = (bytes) => connection.consumed(bytes);
      return peer;
    };
    send({ operation: Op.REQUEST });
    received();
    const big = new Uint8Array(0x8000);
    for (let i = 0; i < 8; i++) send({ operation: Op.RW, bytes: big });
    send({ operation: Op.CREDIT_REQUEST });
    expect(received().map(({ operation, forwarded }) => [operation, forwarded])).toEqual([[Op.CREDIT_UPDATE, 0]]);
    consume(0x8000);
    expect(received()).toEqual([]);
    consume(0x8000);
    expect(received().map(({ operation, forwarded }) => [operation, forwarded])).toEqual([[Op.CREDIT_UPDATE, 0x1_0000]]);
    send({ operation: Op.RW, bytes: big });
    send({ operation: Op.RW, bytes: big });
    expect(closed).toEqual([]);
    send({ operation: Op.RW, bytes: Uint8Array.of(1) });
    expect([received().map(({ operation }) => operation), closed, device.violation]).toEqual([[Op.RST], [1], undefined]);
  });

  it('connects to the guest, each connection from a port of its own', () => {
    const { host, device, send, received } = start();
    const streams = [host.open(device, 5000)!, host.open(device, 5000)!];
    const requests = received();
    expect(requests.map(({ operation, guestPort }) => [operation, guestPort])).toEqual([
      [Op.REQUEST, 5000],
      [Op.REQUEST, 5000],
    ]);
    expect(requests[0]!.hostPort).not.toBe(requests[1]!.hostPort);
    const heard: string[] = [];
    streams[0]!.onData = (bytes) => heard.push(text(bytes));
    streams[1]!.onClose = () => heard.push('refused');
    streams[0]!.send(bytesOf('early'));
    expect(received()).toEqual([]);
    send({ operation: Op.RESPONSE, guestPort: 5000, hostPort: requests[0]!.hostPort });
    send({ operation: Op.RST, guestPort: 5000, hostPort: requests[1]!.hostPort });
    send({ operation: Op.RW, guestPort: 5000, hostPort: requests[0]!.hostPort, bytes: bytesOf('from the guest') });
    expect([received().map(({ bytes }) => text(bytes)), heard]).toEqual([['early'], ['refused', 'from the guest']]);
  });

  it('cuts bytes to the buffers of the guest, and goes on when there are others', () => {
    const { host, device, driver, send, received } = start(H.BYTES + 3, 2);
    const heard = serve(host);
    send({ operation: Op.REQUEST });
    received();
    heard.stream!.send(bytesOf('abcdefgh'));
    const pieces: string[] = [];
    for (let i = 0; i < 3; i++) pieces.push(...received().map(({ bytes }) => text(bytes)));
    expect(pieces).toEqual(['abc', 'def', 'gh']);
    expect(driver.queues[0]!.size).toBe(128);
    driver.queues[0]!.add([driver.room(10)]);
    driver.kick(0);
    for (let i = 0; i < 3; i++) heard.stream!.send(bytesOf('x'));
    expect(device.violation?.clause).toBe('device-request');
  });

  it.each([
    ['is shorter than a header', new Uint8Array(43)],
    ['says that it is longer', packetOf({ operation: Op.RW, bytes: new Uint8Array(4) }).subarray(0, 46)],
  ])('asks for a reset after a packet that %s', (_, packet) => {
    const { driver, device } = start();
    expect(() => driver.request(VsockQueue.TRANSMIT, [packet], [])).toThrow('has not answered');
    expect(device.violation?.clause).toBe('device-request');
  });

  it('closes everything at a reset, and tells a guest after a snapshot that its connections are gone', () => {
    const { host, bench, driver, send } = start();
    const heard = serve(host);
    send({ operation: Op.REQUEST });
    const saved = JSON.parse(JSON.stringify(bench.carrier.save())) as unknown;
    bench.carrier.load(saved);
    expect(heard.closes).toBe(1);
    const room = driver.room(4);
    driver.queues[VsockQueue.EVENT]!.add([room]);
    driver.kick(VsockQueue.EVENT);
    expect([driver.queues[VsockQueue.EVENT]!.poll()?.written, [...driver.contents([room])]]).toEqual([4, [0, 0, 0, 0]]);
    bench.transport.status = 0;
    expect(host.open(bench.device as VirtioVsock, 1)).toBeUndefined();
  });

  it('takes no more from a guest that does not read the answers', () => {
    const { device, driver, send } = start(4096, 0);
    for (let i = 0; i < 1024; i++) send({ operation: Op.RW });
    expect(() => send({ operation: Op.RW })).toThrow('has not answered');
    driver.queues[0]!.add([driver.room(64)]);
    driver.kick(0);
    expect([driver.queues[1]!.poll()?.written, device.violation]).toEqual([0, undefined]);
  });
});
