import { createSocket, type Socket as DatagramSocket } from 'node:dgram';
import { getServers } from 'node:dns';
import { connect, createServer, type Socket } from 'node:net';
import type { NetworkHost, TcpEvents, TcpSocket, UdpSocket } from '@nestvm/networks';
import { wrapStreams } from './streams.js';

/** All connections read into this, one after the other: what was read is taken before the next read. */
const READ = Buffer.allocUnsafeSlow(0x2_0000);

/** The sockets of this process, as a user network wants them. */
export function createNetworkHost(): NetworkHost {
  return {
    connectTcp(address, port, events) {
      const callback = (length: number): boolean => {
        events.data(READ.subarray(0, length));
        return true;
      };
      const socket = connect({ host: address, port, noDelay: true, onread: { buffer: READ, callback } });
      socket.on('connect', () => events.connected());
      return wrap(socket, events);
    },
    listenTcp: (address, port, accept) =>
      new Promise((resolve, reject) => {
        const server = createServer({ pauseOnConnect: true, allowHalfOpen: true, noDelay: true }, (socket) => {
          const late = createLateEvents();
          socket.on('data', (bytes: Buffer) => late.data(bytes));
          late.target = accept(wrap(socket, late));
        });
        server.once('error', reject);
        server.listen(port, address, () => resolve({ close: () => void server.close() }));
      }),
    openUdp(received) {
      const socket = createSocket('udp4');
      return wrapDatagrams(socket, received);
    },
    listenUdp: (address, port, received) =>
      new Promise((resolve, reject) => {
        const socket = createSocket('udp4');
        socket.once('error', reject);
        socket.bind(port, address, () => resolve(wrapDatagrams(socket, received)));
      }),
    nameServers: getServers().filter((server) => /^\d+\.\d+\.\d+\.\d+$/.test(server)),
    after(milliseconds, call) {
      const timer = setTimeout(call, milliseconds);
      timer.unref();
      return () => clearTimeout(timer);
    },
  };
}

/** Events whose target comes to be after the socket that tells them. */
function createLateEvents(): TcpEvents & { target?: TcpEvents } {
  const late: TcpEvents & { target?: TcpEvents } = {
    connected: () => late.target?.connected(),
    data: (bytes) => late.target?.data(bytes),
    ended: () => late.target?.ended(),
    drained: () => late.target?.drained(),
    closed: () => late.target?.closed(),
  };
  return late;
}

function wrap(socket: Socket, events: TcpEvents): TcpSocket {
  // A half that was closed stays so alone: the guest closes the other.
  socket.allowHalfOpen = true;
  socket.on('close', () => events.closed());
  return wrapStreams(socket, socket, events, () => socket.destroy());
}

function wrapDatagrams(socket: DatagramSocket, received: (bytes: Uint8Array, address: string, port: number) => void): UdpSocket {
  socket.on('message', (bytes, { address, port }) => received(bytes, address, port));
  // Unreachable ports and the like: datagrams get lost.
  socket.on('error', () => {});
  return {
    send: (bytes, address, port) => socket.send(bytes, port, address, () => {}),
    close: () => void socket.close(),
  };
}
