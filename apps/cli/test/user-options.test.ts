import { describe, expect, it } from 'vitest';
import { runCommand } from '../src/networks/command-socket.js';
import { NetworkParts } from '../src/networks/parts.js';
import { parseNetworks } from '../src/options/all-networks.js';

const parse = (text: string) => parseNetworks(new Map([['netdev', [`user,id=n0,${text}`]]]));

describe('a user network’s options', () => {
  it('are those of QEMU', () => {
    const text = 'net=192.168.7.0/24,host=192.168.7.1,dns=192.168.7.9,dhcpstart=192.168.7.50,hostname=h,domainname=lan,restrict=on';
    expect(parse(text).networks[0]).toMatchObject({
      net: '192.168.7.0/24',
      hostAddress: '192.168.7.1',
      dnsAddress: '192.168.7.9',
      dhcpStart: '192.168.7.50',
      hostName: 'h',
      domainName: 'lan',
      restrict: true,
    });
    expect(parse('guestfwd=tcp:10.0.2.100:7-tcp:127.0.0.1:7000,guestfwd=:10.0.2.101:8-cmd:tr a-z A-Z').networks[0]).toMatchObject({
      guestForwards: [
        { address: '10.0.2.100', port: 7, to: { kind: 'tcp', address: '127.0.0.1', port: 7000 } },
        { address: '10.0.2.101', port: 8, to: { kind: 'command', command: 'tr a-z A-Z' } },
      ],
    });
  });

  it.each(['tcp:10.0.2.100:7', 'tcp:10.0.2.100:7-chardev0', 'udp:10.0.2.100:7-tcp:1.2.3.4:5', 'tcp:10.0.2.100:70000-cmd:cat'])(
    'refuse a guestfwd of %s',
    (rule) => {
      expect(() => parse(`guestfwd=${rule}`)).toThrow(/guestfwd/);
    },
  );

  it.each([
    ['host=10.0.9.9', /-netdev user,id=n0: host: '10.0.9.9' is no address in 10.0.2.0/],
    ['guestfwd=tcp:8.8.8.8:7-cmd:cat', /guestfwd 8.8.8.8:7/],
  ])('refuse addresses that are not in the network: %s', (text, message) => {
    expect(() => new NetworkParts().create(parse(text))).toThrow(message);
  });
});

describe('a command behind a connection', () => {
  const runs = (command: string) => {
    let text = '';
    const events: string[] = [];
    let over = (): void => {};
    const ended = new Promise<void>((resolve) => {
      over = resolve;
    });
    const socket = runCommand(command, {
      connected: () => events.push('connected'),
      data: (bytes) => {
        text += Buffer.from(bytes).toString();
      },
      ended: () => events.push('ended'),
      drained: () => {},
      closed: () => {
        events.push('closed');
        over();
      },
    });
    return { socket, events, ended, text: () => text };
  };

  it('gets what the guest sends, and answers', async () => {
    const { socket, events, ended, text } = runs('tr a-z A-Z');
    socket.write(Buffer.from('hello'));
    socket.end();
    await ended;
    expect([text(), events]).toEqual(['HELLO', ['connected', 'ended', 'closed']]);
  });

  it('ends with the connection', async () => {
    const { socket, events, ended } = runs('exec sleep 1000');
    socket.destroy();
    await ended;
    expect(events.at(-1)).toBe('closed');
  });
});
