import { expect, it } from 'vitest';
import { TftpServer } from './tftp.js';

const content = Uint8Array.from({ length: 1200 }, (_, i) => i * 7);
const ask = (kind: number, ...words: string[]): Uint8Array => Uint8Array.of(0, kind, ...new TextEncoder().encode(`${words.join('\0')}\0`));
const acknowledge = (block: number): Uint8Array => Uint8Array.of(0, 4, block >> 8, block & 255);

function make(bytes = content) {
  let open = 0;
  const server = new TftpServer((name) => {
    if (name !== 'boot/file') return undefined;
    open++;
    return {
      sizeBytes: bytes.length,
      read: (offset, into) => {
        const part = bytes.subarray(offset, offset + into.length);
        into.set(part);
        return part.length;
      },
      close: () => void open--,
    };
  });
  return { server, open: () => open };
}

it('sends a file block by block, again what is asked for again, and is done after the block that is not full', () => {
  const { server, open } = make();
  const first = server.answer('a', ask(1, 'boot/file', 'octet'))!;
  expect([first.length, ...first.subarray(0, 5)]).toEqual([516, 0, 3, 0, 1, 0]);
  const second = server.answer('a', acknowledge(1))!;
  expect([...second.subarray(4)]).toEqual([...content.subarray(512, 1024)]);
  expect(server.answer('a', acknowledge(1))).toEqual(second);
  expect(server.answer('a', acknowledge(7))).toBeUndefined();
  expect(server.answer('a', acknowledge(2))!.length).toBe(4 + 176);
  expect([open(), server.answer('a', acknowledge(3)), open(), server.answer('a', acknowledge(3))]).toEqual([1, undefined, 0, undefined]);
});

it('ends a file of whole blocks with an empty one', () => {
  const { server, open } = make(content.subarray(0, 1024));
  server.answer('a', ask(1, 'boot/file', 'OCTET'));
  server.answer('a', acknowledge(1));
  expect([...server.answer('a', acknowledge(2))!]).toEqual([0, 3, 0, 3]);
  expect([server.answer('a', acknowledge(3)), open()]).toEqual([undefined, 0]);
});

it('takes sizes of blocks, tells that of the file, and counts past 65535', () => {
  const { server } = make(new Uint8Array(70_000 * 8));
  const options = server.answer('a', ask(1, 'boot/file', 'octet', 'blksize', '8', 'tsize', '0', 'timeout', '3'))!;
  expect(new TextDecoder().decode(options.subarray(2))).toBe('blksize\x008\0tsize\x00560000\0');
  let last: Uint8Array | undefined;
  let blocks = 0;
  for (let packet = server.answer('a', acknowledge(0)); packet; packet = server.answer('a', packet.subarray(0, 4).with(1, 4))) {
    last = packet;
    blocks++;
  }
  expect([blocks, last!.length, (last![2]! << 8) | last![3]!]).toEqual([70_001, 4, 70_001 & 0xffff]);
  expect(new TextDecoder().decode(server.answer('b', ask(1, 'boot/file', 'octet', 'blksize', '65464'))!.subarray(2))).toBe('blksize\x001468\0');
});

it('refuses what it is not for, and holds few files open', () => {
  const { server, open } = make();
  const error = (packet: Uint8Array | undefined) => packet && [packet[1], packet[3]];
  expect(error(server.answer('a', ask(1, 'none', 'octet')))).toEqual([5, 1]);
  expect(error(server.answer('a', ask(1, 'boot/file', 'netascii')))).toEqual([5, 4]);
  expect(error(server.answer('a', ask(2, 'boot/file', 'octet')))).toEqual([5, 2]);
  expect(error(server.answer('a', Uint8Array.of(0, 9, 0, 0)))).toEqual([5, 4]);
  expect(error(server.answer('a', Uint8Array.of(0, 1, 65, 66)))).toEqual([5, 4]);
  expect(server.answer('a', new Uint8Array(3))).toBeUndefined();
  for (let i = 0; i < 100; i++) server.answer(`client${i}`, ask(1, 'boot/file', 'octet'));
  expect(open()).toBe(16);
  server.answer('client99', Uint8Array.of(0, 5, 0, 0));
  expect(open()).toBe(15);
  server.close();
  expect(open()).toBe(0);
});
