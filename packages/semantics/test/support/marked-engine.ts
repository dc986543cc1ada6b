import { type FunctionRef, importedFunction, type Val } from '@nestvm/emit';
import { vcpuState } from '@nestvm/isa';
import type { Context, Engine } from '../../src/context.js';

const { offset } = vcpuState;
const I = 'i32' as const;
const L = 'i64' as const;
const LOAD = { 8: 'i32.load8_u', 16: 'i32.load16_u', 32: 'i32.load', 64: 'i64.load', 128: 'v128.load' } as const;
const STORE = { 8: 'i32.store8', 16: 'i32.store16', 32: 'i32.store', 64: 'i64.store', 128: 'v128.store' } as const;

/** What an instruction asks of an engine, as calls by name: (linear address, bytes) for memory, whose data goes through the state's scratch. */
export const Guest = {
  read: importedFunction('guest.read', { params: [L, I], results: [] }),
  write: importedFunction('guest.write', { params: [L, I], results: [] }),
  modify: importedFunction('guest.modify', { params: [L, I], results: [] }),
  /** Writes back what `modify` lent. */
  commit: importedFunction('guest.commit', { params: [], results: [] }),
  probe: importedFunction('guest.probe', { params: [L, I], results: [] }),
  /** (segment, offset, bytes, access) → linear. */
  segment: importedFunction('guest.segment', { params: [I, I, I, I], results: [L] }),
  /** (vector, error code or -1). */
  fault: importedFunction('guest.fault', { params: [I, I], results: [] }),
  jump: importedFunction('flow.jump', { params: [L], results: [] }),
  fallThrough: importedFunction('flow.fallThrough', { params: [], results: [] }),
  repeat: importedFunction('flow.repeat', { params: [], results: [] }),
  system: importedFunction('flow.system', { params: [], results: [] }),
} as const satisfies Record<string, FunctionRef>;

/** Where `modify` lends memory: apart from the scratch of loads and stores, since they may come between its read and its write. */
export const LENT = offset.extension;

const leaves = (x: Context, target: FunctionRef, ...args: Val[]): void => {
  x.code.run(target, ...args);
  x.code.return();
};

/** An engine that does nothing by itself: its calls say what was asked for. */
export const markedEngine: Engine = {
  load: (x, width, linear) => {
    x.code.run(Guest.read, linear, x.const(32, width / 8));
    return x.code.load(LOAD[width], width, x.cpu, offset.scratch);
  },
  store: (x, width, linear, value) => {
    x.code.store(STORE[width], x.cpu, value, offset.scratch);
    x.code.run(Guest.write, linear, x.const(32, width / 8));
  },
  modify: (x, width, linear) => {
    x.code.run(Guest.modify, linear, x.const(32, width / 8));
    return {
      read: () => x.code.load(LOAD[width], width, x.cpu, LENT),
      write: (value) => {
        x.code.store(STORE[width], x.cpu, value, LENT);
        x.code.run(Guest.commit);
      },
    };
  },
  probeWrite: (x, bytes, linear) => x.code.run(Guest.probe, linear, x.const(32, bytes)),
  hostAddress: (x) => x.const(32, 0),
  reach: (x) => x.const(32, 0),
  checkSegment: (x, segment, at, bytes, access) => x.code.call(Guest.segment, 64, segment, at, x.const(32, bytes), x.const(32, access)),
  fault: (x, vector, error) => leaves(x, Guest.fault, x.const(32, vector), error ?? x.const(32, -1)),
  next: (x) => x.code.return(),
  jumpDirect: (x) => leaves(x, Guest.jump, x.fields.targetOffset().sext(64)),
  fallThrough: (x) => leaves(x, Guest.fallThrough),
  jumpIndirect: (x, target) => leaves(x, Guest.jump, target),
  repeat: (x) => leaves(x, Guest.repeat),
  system: (x) => leaves(x, Guest.system),
  interrupt: (x) => leaves(x, Guest.system),
  forgetPage: (x) => x.code.if(x.cpu.isNonzero(), () => leaves(x, Guest.system)),
  switchBank: () => {},
  time: (x) => x.const(64, 0x1_2345_6789),
  isLast: (x) => x.const(32, 0),
  isBeforeNop: (x) => x.const(32, 0),
};
