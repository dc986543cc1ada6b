import { existsSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { guest, guestIn, nestvm, pathFor, start } from './spawn.js';

/** mov dx, 0x3f8; then each letter by mov al; out dx, al. */
const print = (text: string): number[] => [0xba, 0xf8, 0x03, ...[...Buffer.from(text)].flatMap((byte) => [0xb0, byte, 0xee])];
const exit = (value: number): number[] => [0xb0, value, 0xe6, 0xf4];
const le32 = (value: number): number[] => [0, 8, 16, 24].map((shift) => (value >>> shift) & 0xff);
const SPIN = [0xeb, 0xfe];
const HALT = [0xfa, 0xf4];
/** mov al, 0xfe; out 0x64, al; jmp $: the keyboard controller's reset line. */
const RESET = [0xb0, 0xfe, 0xe6, 0x64, ...SPIN];
/** lidt of a zero limit, then int3: a triple fault. */
const TRIPLE_FAULT = [0x0f, 0x01, 0x1e, 0x00, 0x00, 0xcc];
/** mov ax, 0x1000; mov ss, ax: frames without end never reach the vectors. */
const HIGH_STACK = [0xb8, 0x00, 0x10, 0x8e, 0xd0];
/** Echoes what COM1 receives: mov dx, 0x3fd; l: in al, dx; test al, 1; jz l; mov dl, 0xf8; in al, dx; out dx, al; mov dl, 0xfd; jmp l. */
const ECHO = [0xba, 0xfd, 0x03, 0xec, 0xa8, 0x01, 0x74, 0xfb, 0xb2, 0xf8, 0xec, 0xee, 0xb2, 0xfd, 0xeb, 0xf3];

describe('status', () => {
  it('of isa-debug-exit is 2V+1', async () => {
    expect(await nestvm(...guest(...exit(20)), '-serial', 'null')).toMatchObject({ status: 41, err: '' });
  });

  it('is 0 for a guest that halts for good, and the output is all there', async () => {
    expect(await nestvm(...guest(...print('bye'), ...HALT))).toMatchObject({ status: 0, out: 'bye' });
  });

  it('is 0 for a reset or a triple fault under -no-reboot', async () => {
    expect((await nestvm(...guest(...RESET), '-no-reboot')).status).toBe(0);
    expect((await nestvm(...guest(...TRIPLE_FAULT), '-no-reboot')).status).toBe(0);
  });

  it('of what only prints is 0', async () => {
    expect(await nestvm('run', '-help')).toMatchObject({ status: 0, err: '', out: expect.stringContaining('-kernel FILE') });
    expect(await nestvm('-version')).toMatchObject({ status: 0, out: expect.stringMatching(/^nestvm \d/) });
    expect(await nestvm('-d', 'help')).toMatchObject({ status: 0, out: expect.stringContaining('cpu_reset') });
    expect(await nestvm('models', 'EPYC')).toMatchObject({ status: 0, out: expect.stringContaining('AuthenticAMD') });
  });
});

describe('signals', () => {
  it.each([
    ['SIGTERM', 143, SPIN],
    ['SIGINT', 130, SPIN],
    ['SIGHUP', 129, SPIN],
    // IVT entry 6 leads to the UD2 itself.
    ['SIGTERM', 143, [...HIGH_STACK, 0xc7, 0x06, 0x18, 0x00, 0x1d, 0x7c, 0xc7, 0x06, 0x1a, 0x00, 0x00, 0x00, 0x0f, 0x0b]],
    // Triple faults and reboots without end.
    ['SIGTERM', 143, TRIPLE_FAULT],
    // mov cx, -1; mov dx, 0x1f0; rep insb; jmp back: a device read for each element.
    ['SIGTERM', 143, [0xb9, 0xff, 0xff, 0xba, 0xf0, 0x01, 0xf3, 0x6c, 0xeb, 0xf6]],
    // jmp 0xb000:0, where nothing is, with the handler of #UD there too.
    ['SIGTERM', 143, [...HIGH_STACK, 0xc7, 0x06, 0x1a, 0x00, 0x00, 0xb0, 0xc7, 0x06, 0x18, 0x00, 0x00, 0x00, 0xea, 0x00, 0x00, 0x00, 0xb0]],
    // push 0x102; popf; jmp $: a trap after each instruction, with the handler an IRET of the vector table's own bytes.
    ['SIGTERM', 143, [0xc7, 0x06, 0x04, 0x00, 0x08, 0x7c, 0xeb, 0x01, 0xcf, 0x68, 0x02, 0x01, 0x9d, 0xeb, 0xfe]],
  ] as const)('%s ends a guest that never stops, with status %d', async (signal, status, code) => {
    const running = start(...guest(...print('go '), ...code));
    await running.waitFor(/go /);
    running.child.kill(signal);
    expect((await running.ended).status).toBe(status);
  });

  it('end one instruction over 4 GiB of memory, holes and devices', async () => {
    // mov ecx, -1; xor esi, esi; rep lodsb; jmp back
    const code = [...print('go '), 0xb9, 0xff, 0xff, 0xff, 0xff, 0x31, 0xf6, 0xf3, 0xac, 0xeb, 0xf5];
    const running = start(...guestIn('long', [0x66, ...code]));
    await running.waitFor(/go /);
    running.child.kill('SIGINT');
    expect((await running.ended).status).toBe(130);
  });
});

describe('keys', () => {
  const echo = (...options: string[]): string[] => [...guest(...print('ready'), ...ECHO), ...options];

  it('go to the guest', async () => {
    const running = start(...echo());
    await running.waitFor(/ready/);
    running.child.stdin?.write('hello');
    await running.waitFor(/readyhello/);
    running.child.stdin?.write('\u0001x');
    expect(await running.ended).toMatchObject({ status: 0, out: 'readyhello' });
  });

  it('Ctrl-A h helps, Ctrl-A Ctrl-A is one Ctrl-A, Ctrl-A c is the monitor', async () => {
    const running = start(...echo());
    await running.waitFor(/ready/);
    running.child.stdin?.write('\u0001h');
    await running.waitFor(/end Nestvm/);
    running.child.stdin?.write('\u0001\u0001!');
    await running.waitFor('\u0001!');
    running.child.stdin?.write('\u0001cinfo status\r');
    await running.waitFor(/VM status: running/);
    running.child.stdin?.write('info levels\r');
    await running.waitFor(/only L1 ran/);
    running.child.stdin?.write('qit\r');
    await running.waitFor(/nearest is 'quit'/);
    running.child.stdin?.write('quit\r');
    expect((await running.ended).status).toBe(0);
  });

  it('have another escape character by -echr, and none on -serial stdio', async () => {
    const other = start(...echo('-echr', '2'));
    await other.waitFor(/ready/);
    other.child.stdin?.write('\u0001x');
    await other.waitFor('ready\u0001x');
    other.child.stdin?.write('\u0002x');
    expect(await other.ended).toMatchObject({ status: 0, out: 'ready\u0001x' });
    const plain = start(...echo('-serial', 'stdio'));
    await plain.waitFor(/ready/);
    plain.child.stdin?.write('\u0001x');
    await plain.waitFor('ready\u0001x');
    plain.child.kill('SIGINT');
    expect((await plain.ended).status).toBe(130);
  });

  it('-S waits for the monitor', async () => {
    const running = start(...guest(...print('ran'), ...exit(1)), '-S');
    running.child.stdin?.write('\u0001c');
    await running.waitFor(/\(nestvm\) /);
    running.child.stdin?.write('info cpus\r');
    await running.waitFor(/retired=0/);
    running.child.stdin?.write('c\r');
    expect(await running.ended).toMatchObject({ status: 3, out: expect.stringContaining('ran') });
  });
});

describe('output', () => {
  it('goes to files and to the debug console', async () => {
    const [serial, debug] = [pathFor('serial'), pathFor('debug')];
    const code = [...print('to serial'), 0xb0, 0x44, 0xe6, 0xe9, ...exit(0)];
    expect(await nestvm(...guest(...code), '-serial', `file:${serial}`, '-debugcon', `file:${debug}`)).toMatchObject({ status: 1, out: '' });
    expect([readFileSync(serial, 'utf8'), readFileSync(debug, 'utf8')]).toEqual(['to serial', 'D']);
  });

  it('of a guest says what -fw_cfg has for it', async () => {
    const debug = pathFor('debug-fw-cfg');
    // The first file of the firmware configuration device has the key 0x20.
    const read = [0xba, 0x10, 0x05, 0xb8, 0x20, 0x00, 0xef, 0x42, 0xb9, 0x05, 0x00, 0xec, 0xe6, 0xe9, 0xe2, 0xfb];
    const options = ['-fw_cfg', 'name=opt/greeting,string=hello', '-debugcon', `file:${debug}`];
    expect(await nestvm(...guest(...read, ...exit(0)), ...options)).toMatchObject({ status: 1, err: '' });
    expect(readFileSync(debug, 'utf8')).toBe('hello');
  });

  it.skipIf(!existsSync('/dev/full'))('that a file cannot take is lost with one warning, and the guest goes on', async () => {
    // Lines enough to be written out several times.
    const code = [0xb9, 0x00, 0x20, ...print('A\n'), 0xe2, 0xf5, ...exit(3)];
    const { status, err } = await nestvm(...guest(...code), '-serial', 'file:/dev/full');
    expect(status).toBe(7);
    expect(err.match(/warning: -serial \/dev\/full: no space left; what follows is lost/g)).toHaveLength(1);
  });

  it('logs what -d asks for into -D', async () => {
    const log = pathFor('log');
    // int3 through a handler that leaves; before it, a read of a port where nothing is, and RDMSR 0x12345.
    const code = [
      0xc7,
      0x06,
      0x0c,
      0x00,
      0x19,
      0x7c,
      0xc7,
      0x06,
      0x0e,
      0x00,
      0x00,
      0x00,
      0xba,
      0xf0,
      0x1f,
      0xec,
      0x66,
      0xb9,
      0x45,
      0x23,
      0x01,
      0x00,
      0x90,
      0x90,
      0xcc,
      ...exit(2),
    ];
    expect((await nestvm(...guest(...code), '-serial', 'null', '-d', 'int,in_asm,guest_errors,cpu_reset', '-D', log)).status).toBe(5);
    const text = readFileSync(log, 'utf8');
    expect(text).toMatch(/^CPU Reset\nCPU#0\nRAX=/);
    expect(text).toMatch(/0x0000000000007c00: c7 06 0c 00 19 7c {14}mov word ptr \[0xc\], 0x7c19/);
    expect(text).toContain('nothing at port 0x1ff0: read as 0xff\n');
    expect(text).toMatch(/ 0: cpu0 v=03 e=none INT3 or INTO cpl=0 RIP=0000000000007c18 /);
  });

  it('says why a VMRUN failed, with -d svm, and counts it with --levels', async () => {
    const wrmsr = (index: number, eax: readonly number[]): number[] => [0xb9, ...le32(index), ...eax, 0x31, 0xd2, 0x0f, 0x30];
    const code = [
      // EFER.SVME with what is set already, VM_HSAVE_PA; then VMRUN of a VMCB that is all zeros.
      0xb9,
      ...le32(0xc0000080),
      0x0f,
      0x32,
      0x0d,
      ...le32(0x1000),
      0x0f,
      0x30,
      ...wrmsr(0xc0010117, [0xb8, ...le32(0x10000)]),
      0xb8,
      ...le32(0x20000),
      0x0f,
      0x01,
      0xd8,
      ...exit(1),
    ];
    const options = ['--nested', '-cpu', 'host,vendor=amd', '-serial', 'null', '-d', 'svm', '--levels'];
    const { status, err } = await nestvm(...guestIn('long', code), ...options);
    expect(status).toBe(3);
    expect(err).toMatch(/cpu0: VMRUN of the VMCB at 0x20000 on cpu0 fails:\n/);
    expect(err).toMatch(/cpu0: .*ASID/i);
    expect(err).toMatch(/\[levels\] 0 VM entries of \d+ contexts, 1 failed/);
    const off = await nestvm(...guestIn('long', code), '-cpu', 'EPYC', '-serial', 'null', '-no-reboot', '--levels');
    expect(off).toMatchObject({ status: 0, err: expect.stringContaining('[levels] only L1 ran: no VM entries') });
  });

  it('says why a VMLAUNCH failed, with -d vmx', async () => {
    const code = [
      // CR4.VMXE; the revision identifier into both regions; VMXON, VMCLEAR, VMPTRLD, VMLAUNCH of a VMCS that is all zeros.
      0x0f,
      0x20,
      0xe0,
      0x0d,
      ...le32(0x2000),
      0x0f,
      0x22,
      0xe0,
      // CR0.NE is set already in long mode's entry state, or made so: mov rax, cr0; or eax, 0x20; mov cr0, rax.
      0x0f,
      0x20,
      0xc0,
      0x0d,
      ...le32(0x20),
      0x0f,
      0x22,
      0xc0,
      0xb9,
      ...le32(0x480),
      0x0f,
      0x32,
      0x89,
      0x04,
      0x25,
      ...le32(0x20000),
      0x89,
      0x04,
      0x25,
      ...le32(0x21000),
      // The operands: two pointers in memory.
      0xc7,
      0x04,
      0x25,
      ...le32(0x22000),
      ...le32(0x20000),
      0xc7,
      0x04,
      0x25,
      ...le32(0x22008),
      ...le32(0x21000),
      0xf3,
      0x0f,
      0xc7,
      0x34,
      0x25,
      ...le32(0x22000),
      0x66,
      0x0f,
      0xc7,
      0x34,
      0x25,
      ...le32(0x22008),
      0x0f,
      0xc7,
      0x34,
      0x25,
      ...le32(0x22008),
      0x0f,
      0x01,
      0xc2,
      ...exit(1),
    ];
    const options = ['--nested', '-cpu', 'host', '-serial', 'null', '-no-reboot', '-d', 'vmx', '--levels'];
    const { status, err } = await nestvm(...guestIn('long', code), ...options);
    expect(status).toBe(3);
    expect(err).toMatch(/cpu0: vmx: VM entry fails with .*; \d+ checks of \d+ fail:\n/);
    expect(err).toMatch(/IA32_VMX_(TRUE_)?PINBASED_CTLS/);
    expect(err).toMatch(/\[levels\] 0 VM entries of \d+ contexts, 1 failed/);
  });

  it('repeats exactly with -icount', async () => {
    // rdtsc; jmp through a delay loop; the time stamp's bytes go to COM1 as they are.
    const code = [0xb9, 0x00, 0x10, 0xe2, 0xfe, 0x0f, 0x31, 0xba, 0xf8, 0x03, 0xee, 0x88, 0xe0, 0xee, ...exit(0)];
    const once = async (): Promise<string> => (await nestvm(...guest(...code), '-icount', 'shift=2')).out;
    const first = await once();
    expect(first).toHaveLength(2);
    expect(await once()).toBe(first);
  });
});
