import { type FrameSocket, WebSocketNetwork } from '@nestvm/networks';
import { WebSocket } from 'ws';

/** `-netdev websocket`: a cable to a relay, which may come and go while the guest runs. */
export function createWebSocketCable(option: string, url: string): WebSocketNetwork {
  let said = '';
  const say = (text: string): void => {
    if (text !== said) process.stderr.write(`nestvm: ${option}: ${text}\r\n`);
    said = text;
  };
  return new WebSocketNetwork({
    connect: () => {
      const socket = new WebSocket(url, { perMessageDeflate: false, handshakeTimeout: 10_000, maxPayload: 0x2_0000 });
      socket.on('error', (error) => say(`${url}: ${error.message}; trying again until a relay answers`));
      return socket as unknown as FrameSocket;
    },
    after: (milliseconds, call) => {
      const timer = setTimeout(call, milliseconds);
      timer.unref();
      return () => clearTimeout(timer);
    },
    onState: (open) => {
      if (open) said = '';
      else say(`${url}: the relay has gone; trying again until it is back`);
    },
  });
}
