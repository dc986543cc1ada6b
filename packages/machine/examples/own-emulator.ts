import { assemble } from '@nestvm/assembler';
import { type Device, type Line, MmioSpace, PortSpace, VirtualClock, type Wiring } from '@nestvm/bus';
import { createDeterministicRandom, createNullInterruptSource, Engine, Interpreter, reset, Vcpu } from '@nestvm/cpu';
import { InterruptRouting, Pic, PlatformWiring, Uart } from '@nestvm/devices/platform';
import { vcpuState } from '@nestvm/isa';
import { parseCpu } from '@nestvm/isa/models';
import { createArena, PhysicalMemory } from '@nestvm/memory';
import { Mmu } from '@nestvm/mmu';

// A device of our own: a metronome. Port 0x300 gives the number of beats, and takes the time between two of them in microseconds; a beat raises ISA line 5.
class Metronome implements Device {
  readonly name = 'metronome';
  beats = 0;
  attach(wiring: Wiring): void {
    const line: Line = wiring.line('isa:5');
    let periodNs = 0;
    const timer = wiring.clock.createTimer(this.name, () => {
      this.beats++;
      line.set(1);
      timer.arm(wiring.clock.nowNs() + periodNs);
    });
    const start = (microseconds: number): void => {
      periodNs = microseconds * 1000;
      timer.arm(wiring.clock.nowNs() + periodNs);
    };
    wiring.pio({ name: this.name, base: 0x300, size: 1, read: () => (line.set(0), this.beats), write: (_offset, _width, value) => start(value) });
  }
  reset(): void {
    this.beats = 0;
  }
}

// The guest: programs the PIC, starts the metronome, and writes the number of each of three beats to the serial port. The interrupt vector 0x25 is its handler.
const guest = assemble(
  `
  xor ax, ax
  mov ds, ax
  mov ss, ax
  mov sp, 0x7000
  mov word ptr [0x94], handler
  mov [0x96], cs
  mov al, 0x11
  out 0x20, al
  mov al, 0x20
  out 0x21, al
  mov al, 4
  out 0x21, al
  mov al, 1
  out 0x21, al
  mov al, 0xdf
  out 0x21, al
  mov dx, 0x300
  mov al, 100
  out dx, al
wait:
  sti
  hlt
  cmp bl, 3
  jne wait
  cli
  hlt
handler:
  mov dx, 0x300
  in al, dx
  mov bl, al
  add al, 0x30
  mov dx, 0x3f8
  out dx, al
  mov al, 0x20
  out 0x20, al
  iret
`,
  { mode: 16 },
);

// Memory, and the board: two buses, a PIC, a serial port, the metronome.
const arena = createArena({ bytes: 64 << 20 });
const memory = new PhysicalMemory({ arena });
memory.mapRam(0, 0x10_0000, arena.allocate('ram', 0x10_0000, 4096));
memory.write(0xf_0000, guest.bytes);
const ports = new PortSpace();
const clock = new VirtualClock();
const pic = new Pic();
const dma = {
  read: (address: number, target: Uint8Array) => memory.read(address, target),
  write: (address: number, bytes: Uint8Array) => memory.write(address, bytes),
};
const wiring = new PlatformWiring({ ports, mmio: new MmioSpace(), clock, dma, routing: new InterruptRouting({ pic }) });
let text = '';
const uart = new Uart({ name: 'com1', base: 0x3f8, line: 'isa:4', backend: { write: (byte) => void (text += String.fromCharCode(byte)) } });
for (const device of [pic, uart, new Metronome()]) device.attach(wiring);

// The processor, its interrupts from the PIC; it starts at F000:0000.
const base = arena.allocate('vcpu 0', vcpuState.size, 64);
const mmu = new Mmu({ memory, vcpuBase: base });
const cpu = new Vcpu({
  index: 0,
  buffer: arena.memory.buffer,
  base,
  model: parseCpu('max'),
  mmu,
  memory,
  ports,
  clock,
  random: createDeterministicRandom(1),
});
cpu.connectInterrupts({ ...createNullInterruptSource(), intr: () => pic.intr, acknowledge: () => pic.acknowledge() });
const executor = new Interpreter(cpu, new Engine(arena, memory));
reset(cpu);
cpu.w[vcpuState.offset.rip / 4] = 0;
cpu.w[vcpuState.offset.segBase / 4 + 2] = 0xf_0000;

// The run loop: an instruction takes a nanosecond; while the processor waits, time jumps to the next timer.
for (let turn = 0; turn < 1000; turn++) {
  const before = executor.retired;
  const stop = executor.run(10_000);
  clock.advanceTo(clock.nowNs() + executor.retired - before);
  if (stop === 'shutdown') throw new Error('the guest shut down');
  if (stop !== 'idle') continue;
  if (text.length === 3) break;
  clock.advanceTo(clock.nextDeadlineNs());
  if (pic.intr) cpu.requestAttention();
}
console.log(text); // 123
