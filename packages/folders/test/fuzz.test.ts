import { describe, expect, it } from 'vitest';
import { BytesExchange, FileServer, MemoryTree } from '../src/index.js';
import { FileClient } from '../src/testing/index.js';

const OPERATIONS = 1_000_000;
/** Fields of each type: a fid, a text, or a number of so many bytes. */
const LAYOUTS: Readonly<Record<number, string>> = {
  6: '',
  8: 'f',
  12: 'f4',
  14: 'fs444',
  16: 'fss4',
  18: 'fs4444',
  20: 'ffs',
  22: 'f',
  24: 'f8',
  26: 'f444488888',
  30: 'ffs',
  32: 'fs84',
  40: 'f84',
  50: 'f4',
  52: 'f14884s',
  54: 'f1884s',
  70: 'ffs',
  72: 'fs44',
  74: 'fsfs',
  76: 'fs4',
  102: 'fss4',
  108: '2',
  110: 'ff',
  116: 'f84',
  118: 'f84',
  120: 'f',
  122: 'f',
};
const TYPES = Object.keys(LAYOUTS).map(Number);
const NAMES = ['a', 'b', 'c', 'd', '..', '.', '', 'a/b', '../x', 'nul\0', 'x'.repeat(255), 'y'.repeat(300), 'user.a'];

function random(seed: number): (limit: number) => number {
  let state = seed;
  return (limit) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % limit;
  };
}

/** Messages of every type whose fields are likely, possible, or nonsense; some are cut, some lie about their size. */
class Hostile {
  readonly answers: Record<string, number> = {};
  private readonly message = new Uint8Array(1024);
  private readonly view = new DataView(this.message.buffer);
  private length = 0;

  constructor(
    readonly server: FileServer,
    readonly below: (limit: number) => number,
  ) {}

  step(): void {
    const { below, view } = this;
    const type = below(100) === 0 ? below(256) : TYPES[below(TYPES.length)]!;
    this.length = 7;
    this.fields(type);
    const size = below(40) === 0 ? below(2 ** 32) : this.length;
    view.setUint32(0, size, true);
    view.setUint8(4, type);
    view.setUint16(5, below(4), true);
    const shown = below(40) === 0 ? below(this.length + 1) : this.length;
    const room = below(20) === 0 ? below(64) : 4096;
    const exchange = new BytesExchange(this.message.subarray(0, shown), room);
    const written = this.server.exchange(exchange);
    if (written > room) throw new Error(`${written} bytes of answer in room for ${room}`);
    const kind = written === 0 ? 'none' : exchange.answer[4] === 7 ? 'error' : String(type);
    this.answers[kind] = (this.answers[kind] ?? 0) + 1;
  }

  private fields(type: number): void {
    const { below } = this;
    if (type === 100) this.u32(below(3) === 0 ? below(2 ** 32) : 8192);
    if (type === 100) return this.text(below(5) === 0 ? '9P2000' : '9P2000.L');
    if (type === 104) {
      for (const field of [below(8), below(3) === 0 ? 0 : 0xffffffff]) this.u32(field);
      this.text('');
      this.text(below(2) === 0 ? '' : NAMES[below(NAMES.length)]!);
      return this.u32(below(3));
    }
    for (const field of below(30) === 0 ? '4s8f1s4' : (LAYOUTS[type] ?? '448')) this.field(field);
    if (type === 110) this.names(below(20) === 0 ? below(30) : below(3));
    if (type === 118) this.length += below(40);
  }

  private names(count: number): void {
    this.view.setUint16(this.length, count, true);
    this.length += 2;
    for (let i = 0; i < count && this.length < 600; i++) this.text(this.name());
  }

  private name(): string {
    return NAMES[this.below(this.below(4) === 0 ? NAMES.length : 4)]!;
  }

  private field(kind: string): void {
    const { below, view } = this;
    const value = below(20) === 0 ? below(2 ** 32) : below(3) === 0 ? [1, 2, 0x200, 0o1000, 0o100644, 0o20644, 0x1ff, 0o202][below(8)]! : below(30);
    if (kind === 's') this.text(this.name());
    else if (kind === 'f') this.u32(below(30) === 0 ? value : below(8));
    else if (kind === '4') this.u32(value);
    else if (kind === '8') {
      this.u32(value);
      this.u32(below(20) === 0 ? value : 0);
    } else {
      const bytes = Number(kind);
      if (bytes === 1) view.setUint8(this.length, value & 0xff);
      else view.setUint16(this.length, value & 0xffff, true);
      this.length += bytes;
    }
  }

  private u32(value: number): void {
    if (this.length + 4 > this.message.length) return;
    this.view.setUint32(this.length, value, true);
    this.length += 4;
  }

  private text(text: string): void {
    if (this.length + text.length + 2 > this.message.length) return;
    this.view.setUint16(this.length, this.below(200) === 0 ? this.below(0x1_0000) : text.length, true);
    for (let i = 0; i < text.length; i++) this.message[this.length + 2 + i] = text.charCodeAt(i);
    this.length += 2 + text.length;
  }
}

describe('a hostile client', () => {
  it('gets an answer to everything, and never more than its limits', () => {
    const tree = new MemoryTree({ mostBytes: 2 ** 22, mostFiles: 500 });
    tree.writeFile('a/b/c', 'content');
    const server = new FileServer({ tree, mostFids: 6, mostOpenFiles: 3 });
    const hostile = new Hostile(server, random(7));
    const client = new FileClient(server);
    for (let i = 0; i < OPERATIONS; i++) {
      // Fids are soon gone: most of what a client without them sends is refused for that alone.
      if (i % 25 === 0) client.mount();
      if (i % 10_000 === 0) server.load(JSON.parse(JSON.stringify(server.save())));
      hostile.step();
    }
    console.log(`9p: ${OPERATIONS} messages, answers by type:`, hostile.answers);
    expect(Object.keys(hostile.answers).length).toBeGreaterThan(25);
    const { files, freeFiles, blocks, freeBlocks } = tree.statistics();
    expect(files - freeFiles).toBeLessThanOrEqual(500);
    expect(blocks - freeBlocks).toBeLessThanOrEqual(2 ** 22 / 4096);
    // It still works for a good client.
    client.mount();
    client.walk(0, 1, []);
    expect(() => client.create(1, 'e')).not.toThrow();
  }, 900_000);
});
