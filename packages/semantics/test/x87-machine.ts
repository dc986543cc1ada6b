import { buildModule, type Code, defineFunction, type FunctionDefinition, type Val } from '@nestvm/emit';
import { type OpcodeRow, opcodeRows, vcpuState } from '@nestvm/isa';
import { Context } from '../src/context.js';
import type { Fields } from '../src/fields.js';
import { x87Meanings } from '../src/x87/index.js';
import { GuestHost } from './support/guest-host.js';
import { markedEngine } from './support/marked-engine.js';
import { plainFacts } from './support/plain-facts.js';

const { offset } = vcpuState;
const CPU = 0x1000;
const DATA = 0x8000;

/** The row that a vector's name means: mnemonic, and `_m32`, `_0` (ST, STi), `_i` (STi). */
function rowOf(name: string): OpcodeRow {
  const [mnemonic, form] = name.split('_') as [string, string?];
  const type =
    form === undefined
      ? ''
      : mnemonic.startsWith('FI')
        ? { m16: 'w', m32: 'd', m64: 'q' }[form]
        : { m32: 'fs', m64: 'fd', m80: mnemonic.startsWith('FB') ? 'fb' : 'ft', m224: 'fe', m864: 'fx', m16: 'w' }[form];
  const found = opcodeRows.filter(
    (r) => r.mnemonic === mnemonic && (type ? r.operands[0]?.method === 'M' && r.operands[0].type === type : r.operands[0]?.method !== 'M'),
  );
  const first = form === '0' ? 'ST' : form === 'i' && found.some((r) => r.operands[0]?.method === 'STi') ? 'STi' : found[0]?.operands[0]?.method;
  const row = found.find((r) => r.operands[0]?.method === first);
  if (!row) throw new Error(`no row for ${name}`);
  return row;
}

function handler(name: string): FunctionDefinition {
  const row = rowOf(name);
  const memory = row.operands[0]?.method === 'M';
  return defineFunction(name, { params: [], results: [] }, (code: Code) => {
    const constant = (value: number) => (): Val<32> => code.constant(32, value);
    const fields: Fields = {
      reg: constant(0),
      rm: constant(1),
      vvvv: constant(0),
      base: constant(offset.zero),
      index: constant(offset.zero),
      scale: constant(0),
      displacement: constant(DATA),
      segment: constant(3),
      immediate: () => code.constant(64, 0),
      immediate32: constant(0),
      blockOffset: constant(3),
      length: constant(2),
      targetOffset: constant(0),
    };
    x87Meanings[row.mnemonic]!(new Context(code, code.constant(32, CPU), plainFacts(row, memory), fields, markedEngine));
  });
}

/** x87 handlers over a memory with one vCPU state. Memory operands are at `data`; ST(i) operands are ST(1). */
export class X87Machine {
  readonly memory = new WebAssembly.Memory({ initial: 1, maximum: 1 });
  readonly view = new DataView(this.memory.buffer);
  readonly bytes = new Uint8Array(this.memory.buffer);
  readonly data = this.bytes.subarray(DATA, DATA + 256);
  private readonly host = new GuestHost(this.memory.buffer, CPU, Number);
  private readonly handlers: Record<string, () => void>;

  constructor(names: readonly string[]) {
    const module = buildModule({ frame: { memoryPages: 1, memoryMaximum: 1 }, functions: names.map(handler) });
    const compiled = new WebAssembly.Module(module);
    const env = { memory: this.memory, ...this.host.imports(compiled) };
    this.handlers = new WebAssembly.Instance(compiled, { env }).exports as Record<string, () => void>;
  }

  get(field: keyof typeof offset): number {
    return this.view.getUint32(CPU + offset[field], true);
  }
  set(field: keyof typeof offset, value: number): void {
    this.view.setUint32(CPU + offset[field], value, true);
  }
  /** The ten bytes of physical register n. */
  register(n: number): Uint8Array {
    const at = CPU + offset.fpr + 16 * (n & 7);
    return this.bytes.subarray(at, at + 10);
  }
  /** CF, PF and ZF at their places in RFLAGS. */
  flags(): number {
    const low = this.bytes[CPU + offset.flagResult]! ^ ((this.get('flagAux') >>> 8) & 0xff);
    let parity = 1;
    for (let b = low; b !== 0; b &= b - 1) parity ^= 1;
    return (this.get('flagAux') >>> 31) | (parity << 2) | (this.view.getBigUint64(CPU + offset.flagResult, true) === 0n ? 0x40 : 0);
  }
  /** Runs one instruction; the vector of its fault or -1. */
  run(name: string): number {
    this.host.log.length = 0;
    this.handlers[name]!();
    const fault = this.host.log.find((line) => line.startsWith('guest.fault'));
    return fault === undefined ? -1 : Number(fault.split(' ')[1]);
  }
}

const hex = (bytes: Uint8Array): string =>
  [...bytes]
    .reverse()
    .map((b) => b.toString(16).padStart(2, '0'))
    .join('');
const put = (target: Uint8Array, text: string): void => target.set((text.match(/../g) ?? []).map((b) => Number.parseInt(b, 16)).reverse());

/** Runs one line of the vector file; what came out in the file's notation, after `>`. */
export function replay(machine: X87Machine, line: string): { name: string; expected: string[]; actual: string[] } {
  const [left, right] = line.split(' > ') as [string, string];
  const [name, control, status, tags, st0, st1, memory] = left.split(' ') as [string, string, string, string, string, string, string];
  const word = Number.parseInt(status, 16);
  const top = (word >> 11) & 7;
  machine.set('fcw', Number.parseInt(control, 16));
  machine.set('fsw', word & ~0x3800);
  machine.set('ftop', top);
  machine.set('ftag', Number.parseInt(tags, 16));
  machine.view.setBigUint64(CPU + offset.flagResult, 0n, true);
  machine.set('flagAux', 0);
  for (let i = -1; i < 2; i++) put(machine.register(top + i), i < 0 ? '0'.repeat(20) : i === 0 ? st0 : st1);
  put(machine.data, memory);
  machine.run(name);
  const shown = [-1, 0, 1].map((i) => (((machine.get('ftag') >> ((top + i) & 7)) & 1) === 1 ? hex(machine.register(top + i)) : '-'));
  const two = (n: number, width: number): string => n.toString(16).padStart(width, '0');
  const actual = [
    two(machine.get('fsw') | (machine.get('ftop') << 11), 4),
    two(machine.get('ftag'), 2),
    ...shown,
    hex(machine.data.subarray(0, 10)),
    two(machine.flags(), 2),
  ];
  const expected = right.split(' ');
  // The manual clears C1, the CPU that the vectors are from leaves it.
  if (/^FU?COMIP?_/.test(name))
    for (const words of [expected, actual]) {
      const after = Number.parseInt(words[0]!, 16);
      words[0] = two(after & ~0x200, 4);
      // The manual keeps the flags when an invalid operation is unmasked, that CPU sets them.
      if ((after & ~Number.parseInt(control, 16) & 1) !== 0) words[6] = '-';
    }
  return { name, expected, actual };
}
