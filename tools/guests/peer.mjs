/** Another guest on the network of one that moves: it gets a stream of numbers over TCP, and pings, all the while. */
import { spawn } from 'node:child_process';
import { createServer } from 'node:net';
import { check, debian, Guest, LOAD_DRIVERS } from './player.mjs';

const PROMPT = 'nestvm# ';

/** A port that nobody has at this moment. */
export const freePort = () =>
  new Promise((done) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => done(port));
    });
  });

const card = (port, mac) => [
  '-netdev',
  `websocket,id=n0,url=ws://127.0.0.1:${port}/`,
  '-device',
  `virtio-net-pci,netdev=n0,mac=52:54:00:12:35:${mac}`,
];
const goOnline = (guest, address) => guest.shell(`${LOAD_DRIVERS}; ip link set eth0 up; ip addr add ${address}/24 dev eth0`);

/** A hub (`nestvm relay`) with a guest on it that listens. */
export class Peer {
  /** @param {string} name @param {string} folder */
  static async start(name, folder) {
    const port = await freePort();
    const relay = spawn(process.execPath, [Guest.program, 'relay', '-listen', `127.0.0.1:${port}`, '-netdev', 'none'], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    await new Promise((done, fail) => {
      let said = '';
      for (const stream of [relay.stdout, relay.stderr])
        stream.on('data', (data) => {
          said += data;
          if (/listen|ws:/.test(said)) done(undefined);
        });
      relay.on('close', (status) => fail(new Error(`nestvm relay ended with ${status}: ${said}`)));
    });
    const guest = new Guest(`${name}-peer`, folder, debian('virtio.cpio', '', '-m', '160M', ...card(port, '02')));
    return new Peer(relay, guest, port);
  }

  constructor(relay, guest, port) {
    this.relay = relay;
    this.guest = guest;
    this.options = card(port, '01');
  }

  /** From now on `guest` sends numbers, and is pinged. */
  async listenTo(guest) {
    await this.guest.waitFor(PROMPT);
    await goOnline(this.guest, '10.9.0.2');
    await goOnline(guest, '10.9.0.1');
    await this.guest.shell('nc -l -p 5000 >/tmp/numbers & true');
    await guest.shell('(i=0; while [ ! -e /tmp/enough ]; do echo $i; i=$((i+1)); sleep 0.1; done) | nc 10.9.0.2 5000 & true');
    await this.guest.shell('until [ -s /tmp/numbers ]; do sleep 0.2; done; ping -i 0.2 10.9.0.1 >/tmp/pings & true');
  }

  /** Ends both, and looks whether all numbers have come; resolves to a line about it. */
  async finish(guest) {
    await guest.shell('touch /tmp/enough; sleep 1');
    const said = await this.guest.shell(
      'kill -INT $(pidof ping); sleep 2; wc -l </tmp/numbers; seq 0 $(($(wc -l </tmp/numbers)-1)) | cmp - /tmp/numbers && echo numbers-whole; tail -3 /tmp/pings; grep -c DUP /tmp/pings',
    );
    check(said.includes('numbers-whole'), `numbers over TCP are missing or twice: ${said}`);
    const [, sent, got] = /(\d+) packets transmitted, (\d+) packets received/.exec(said) ?? [];
    check(Number(got) > 0 && Number(got) >= Number(sent) * 0.7, `pings: ${said}`);
    return `${/\n(\d+)\nnumbers-whole/.exec(said)?.[1]} numbers over TCP without a gap; ${got} of ${sent} pings answered`;
  }

  async kill() {
    this.relay.kill('SIGKILL');
    await this.guest.kill();
  }
}
