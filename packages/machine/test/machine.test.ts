import { parseCpu } from '@nestvm/isa/models';
import { describe, expect, it } from 'vitest';
import { boardNames, createEventLoopHost, createMachine, type Machine, type MachineConfig, MachineError } from '../src/index.js';

const CODE = 0x7c00;

/** A machine that starts `bytes` in real mode at 0x7c00, on a virtual clock. */
const machineWith = (bytes: readonly number[], rest: Partial<MachineConfig> = {}): Machine =>
  createMachine({
    board: 'pc',
    cpu: parseCpu('max'),
    memoryBytes: 4 << 20,
    images: [{ file: { name: 'guest', bytes: Uint8Array.from(bytes) }, address: CODE, entry: 'real' }],
    debugExit: { iobase: 0xf4, iosize: 4 },
    reboot: false,
    ...rest,
  });

/** Stops it from outside, in a turn of the event loop in which the condition holds. */
function stopWhen(machine: Machine, holds: () => boolean): void {
  const timer = setInterval(() => {
    if (!holds()) return;
    clearInterval(timer);
    machine.stop();
  }, 5);
}

/** mov al, value; out port, al. */
const out = (port: number, value: number): number[] => [0xb0, value, 0xe6, port];

describe('a guest that does nothing but fault', () => {
  it.each([
    // IVT entry 6 leads to the UD2 itself; SP wraps round and round.
    ['#UD in real mode', [0xc7, 0x06, 0x18, 0x00, 0x0c, 0x7c, 0xc7, 0x06, 0x1a, 0x00, 0x00, 0x00, 0x0f, 0x0b]],
    // Entry 0 leads to DIV by zero: xor ax, ax; div ax.
    ['#DE in real mode', [0xc7, 0x06, 0x00, 0x00, 0x0e, 0x7c, 0xc7, 0x06, 0x02, 0x00, 0x00, 0x00, 0x31, 0xc0, 0xf7, 0xf0]],
    ['INT3 through itself', [0xc7, 0x06, 0x0c, 0x00, 0x0c, 0x7c, 0xc7, 0x06, 0x0e, 0x00, 0x00, 0x00, 0xcc]],
  ])('%s: the machine can be stopped', async (_name, guest) => {
    const machine = machineWith(guest, { host: createEventLoopHost(globalThis), clock: { kind: 'host' } });
    stopWhen(machine, () => machine.retired > 10);
    expect(await machine.run()).toEqual({ kind: 'stopped' });
  });
});

it.each([true, false])('has 3 GiB of memory, whose end the guest reaches (compiled: %s)', async (jit) => {
  // 32-bit code: mov ecx, 0x18642; loop: mov eax, [0xbfef0000]; inc eax; mov [0xbfef0000], eax; dec ecx; jnz loop; mov al, [0xbfef0000]; out 0xf4, al; hlt
  const far = [0x00, 0x00, 0xef, 0xbf];
  const body = [0xa1, ...far, 0x40, 0xa3, ...far, 0x49, 0x75, 0xf2];
  const bytes = Uint8Array.from([0xb9, 0x42, 0x86, 0x01, 0x00, ...body, 0xa0, ...far, 0xe6, 0xf4, 0xf4]);
  const images = [{ file: { name: 'guest', bytes }, address: CODE, entry: 'protected' as const }];
  const machine = machineWith([], { memoryBytes: 3 * 2 ** 30, images, jit });
  expect(await machine.run()).toEqual({ kind: 'exit', status: 2 * 0x42 + 1 });
});

describe('the real-time clock', () => {
  it.each([
    ['vm', 0x00],
    ['rt', 0x20],
    ['host', 0x45],
  ] as const)('runs with clock %s', async (rtcClock, seconds) => {
    const serial: number[] = [];
    // mov al, 0; out 0x70, al; in al, 0x71; mov dx, 0x3f8; out dx, al; then isa-debug-exit
    const code = [...out(0x70, 0), 0xe4, 0x71, 0xba, 0xf8, 0x03, 0xee, ...out(0xf4, 0)];
    let powered = false;
    const after = (ns: number): number => (powered ? ns : 0);
    const host = { ...createEventLoopHost(globalThis), nowNs: () => after(20.5e9), wallNs: () => after(45.5e9) };
    const machine = machineWith(code, { rtcClock, host, serial: [{ write: (byte) => void serial.push(byte) }] });
    powered = true;
    await machine.run();
    expect(serial).toEqual([seconds]);
  });
});

describe.each(boardNames)('board %s', (board) => {
  it('ends with the status that isa-debug-exit is given', async () => {
    expect(await machineWith(out(0xf4, 3), { board }).run()).toEqual({ kind: 'exit', status: 7 });
  });

  it('ends when all CPUs halt with interrupts off', async () => {
    expect(await machineWith([0xfa, 0xf4], { board }).run()).toEqual({ kind: 'halted' });
  });

  it('sends serial output and debug-console output where they belong', async () => {
    const serial: number[] = [];
    const debug: number[] = [];
    // mov dx, 0x3f8; mov al, 'A'; out dx, al; out 0xe9 …
    const guest = [0xba, 0xf8, 0x03, 0xb0, 0x41, 0xee, ...out(0xe9, 0x42), ...out(0xf4, 0)];
    await machineWith(guest, {
      board,
      serial: [{ write: (b) => void serial.push(b) }],
      debugConsole: { port: 0xe9, sink: { write: (b) => void debug.push(b) } },
    }).run();
    expect([serial, debug]).toEqual([[0x41], [0x42]]);
  });

  it('wakes a halted CPU by the timer, in guest time', async () => {
    // Vector 8 (IRQ 0) to 0000:7d00; unmask it; counter 0 in mode 0 with 11932 (10 ms); sti; hlt.
    const guest = [
      0x31,
      0xc0,
      0x8e,
      0xd8,
      0xc7,
      0x06,
      0x20,
      0x00,
      0x00,
      0x7d,
      0xc7,
      0x06,
      0x22,
      0x00,
      0x00,
      0x00,
      ...out(0x21, 0xfe),
      ...out(0x43, 0x30),
      ...out(0x40, 0x9c),
      ...out(0x40, 0x2e),
      0xfb,
      0xf4,
      0xeb,
      0xfd,
    ];
    const handler = out(0xf4, 1);
    const image = [...guest, ...new Array<number>(0x100 - guest.length).fill(0x90), ...handler];
    const machine = machineWith(image, { board });
    expect(await machine.run()).toEqual({ kind: 'exit', status: 3 });
    expect(machine.clock.nowNs()).toBeGreaterThan(10_000_000);
    expect(machine.clock.nowNs()).toBeLessThan(10_200_000);
    expect(machine.retired).toBeLessThan(1000);
  });

  it('resets by port 0xcf9, and starts again from the beginning', async () => {
    // inc byte [0x500]; cmp byte [0x500], 3; jae exit; mov dx, 0xcf9; mov al, 6; out dx, al; hlt
    const guest = [
      0x31,
      0xc0,
      0x8e,
      0xd8,
      0xfe,
      0x06,
      0x00,
      0x06,
      0x80,
      0x3e,
      0x00,
      0x06,
      0x03,
      0x73,
      0x07,
      0xba,
      0xf9,
      0x0c,
      0xb0,
      0x06,
      0xee,
      0xf4,
      ...out(0xf4, 0x10),
    ];
    expect(await machineWith(guest, { board, reboot: true }).run()).toEqual({ kind: 'exit', status: 0x21 });
    expect(await machineWith(guest, { board }).run()).toEqual({ kind: 'reset', cause: 'guest' });
  });

  it('resets by a triple fault', async () => {
    // lidt [0x7d00] (limit 0); int3
    expect(await machineWith([0x31, 0xc0, 0x8e, 0xd8, 0x0f, 0x01, 0x1e, 0x00, 0x7d, 0xcc], { board }).run()).toEqual({
      kind: 'reset',
      cause: 'triple-fault',
    });
  });
});

describe('boards with power management', () => {
  it.each(['pc', 'q35', 'microvm'] as const)('%s switches off', async (board) => {
    // mov dx, 0x604; mov ax, 0x2000 (SLP_EN, S5); out dx, ax
    expect(await machineWith([0xba, 0x04, 0x06, 0xb8, 0x00, 0x20, 0xef, 0xf4], { board }).run()).toEqual({ kind: 'poweroff' });
  });
});

describe('input', () => {
  it('reaches the guest through the serial port and ends a wait', async () => {
    const got: number[] = [];
    // Poll LSR until data is ready, echo it, exit on 'q'.
    const guest = [0xba, 0xfd, 0x03, 0xec, 0xa8, 0x01, 0x74, 0xfb, 0xba, 0xf8, 0x03, 0xec, 0xee, 0x3c, 0x71, 0x75, 0xef, ...out(0xf4, 0)];
    const machine = machineWith(guest, { serial: [{ write: (b) => void got.push(b) }] });
    machine.receiveSerial(0, new TextEncoder().encode('hello q'));
    expect(await machine.run()).toEqual({ kind: 'exit', status: 1 });
    expect(String.fromCharCode(...got)).toBe('hello q');
  });

  it('can be stopped and run again', async () => {
    const machine = machineWith([0xeb, 0xfe], { host: createEventLoopHost(globalThis), clock: { kind: 'host' } });
    machine.stop();
    expect(await machine.run()).toEqual({ kind: 'stopped' });
    stopWhen(machine, () => machine.retired > 1000);
    expect(await machine.run()).toEqual({ kind: 'stopped' });
  });
});

describe('several CPUs', () => {
  it('starts the second by INIT and SIPI', async () => {
    // Protected mode (flat): write the ICR at 0xfee00300: INIT then SIPI with vector 8 to all others; spin.
    const icr = (value: number): number[] => [
      0xc7,
      0x05,
      0x00,
      0x03,
      0xe0,
      0xfe,
      value & 0xff,
      (value >> 8) & 0xff,
      (value >> 16) & 0xff,
      value >>> 24,
    ];
    const boot = [...icr(0x000c4500), ...icr(0x000c4608), 0xeb, 0xfe];
    const machine = createMachine({
      board: 'pc',
      cpu: parseCpu('max', { sockets: 1, cores: 2, threads: 1 }),
      memoryBytes: 4 << 20,
      images: [
        { file: { name: 'ap', bytes: Uint8Array.from(out(0xf4, 5)) }, address: 0x8000 },
        { file: { name: 'bsp', bytes: Uint8Array.from(boot) }, address: 0x100000, entry: 'protected' },
      ],
      debugExit: { iobase: 0xf4, iosize: 4 },
      reboot: false,
    });
    expect(await machine.run()).toEqual({ kind: 'exit', status: 11 });
  });
});

describe('impossible machines', () => {
  it.each<[string, () => unknown, RegExp]>([
    ['no memory', () => machineWith([0xf4], { memoryBytes: 4096 }), /at least 1 MiB/],
    ['too much memory', () => machineWith([0xf4], { memoryBytes: 4 * 2 ** 30 }), /do not fit/],
    ['nothing to run', () => machineWith([], { images: [] }), /neither a kernel/],
    ['a switch that a board lacks', () => machineWith([0xf4], { board: 'isapc', parts: { hpet: false } }), /no switch 'hpet'/],
    [
      'several CPUs without APICs',
      () => machineWith([0xf4], { cpu: parseCpu('max,-apic', { sockets: 1, cores: 2, threads: 1 }) }),
      /need local APICs/,
    ],
    ['firmware of a wrong size', () => machineWith([0xf4], { firmware: { name: 'bios', bytes: new Uint8Array(5) } }), /4 KiB pages/],
  ])('%s', (_what, action, pattern) => {
    expect(action).toThrow(MachineError);
    expect(action).toThrow(pattern);
  });
});

describe('firmware', () => {
  it('is entered at the reset vector, below 4 GiB and below 1 MiB', async () => {
    const bytes = new Uint8Array(65536).fill(0xf4);
    // At the vector: far jump to f000:e000; there: exit.
    bytes.set([0xea, 0x00, 0xe0, 0x00, 0xf0], 0xfff0);
    bytes.set(out(0xf4, 9), 0xe000);
    expect(await machineWith([], { images: [], firmware: { name: 'bios', bytes } }).run()).toEqual({ kind: 'exit', status: 19 });
  });
});
