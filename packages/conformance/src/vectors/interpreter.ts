import { MmioSpace, PortSpace } from '@nestvm/bus';
import { createDeterministicRandom, Engine, Interpreter, reset, updateMode, Vcpu } from '@nestvm/cpu';
import { vcpuState } from '@nestvm/isa';
import { parseCpu } from '@nestvm/isa/models';
import { attachJit } from '@nestvm/jit';
import { type Arena, createArena, PhysicalMemory } from '@nestvm/memory';
import { Mmu } from '@nestvm/mmu';
import type { StepOutcome, VectorExecutor } from './executor.js';
import { NO_EXCEPTION, type Patch, type VectorCase } from './format.js';
import { Image, Place, type VectorMode } from './image.js';
import { type Frame, SANDBOX_BYTES, Sandbox } from './sandbox.js';
import { imageToVcpu, vcpuToImage } from './vcpu-image.js';

/** An outcome that no CPU has: the instruction ran on and on, or the machine shut down. */
const LOST = 255;
const BUDGET = 20_000;
const ARENA_BYTES = 64 << 20;
const MAX_INSTRUCTION = 15;
const ALIGNMENT_CHECK = 0x40000;
/** Four INT3. */
const INT3S = 0xcccccccc | 0;

/** Whether a case starts with RFLAGS.AC set: its byte is 2 in the image's RFLAGS. */
const setsAlignmentCheck = (patches: readonly Patch[]): boolean =>
  patches.some(({ offset, bytes }) => ((bytes[Image.rflags + 2 - offset] ?? 0) & (ALIGNMENT_CHECK >>> 16)) !== 0);

/** What an executor for vectors is made of. */
export interface InterpreterExecutorOptions {
  /** CPU model, by QEMU's name with features; one like the CPU that the vectors come from. */
  readonly cpu?: string;
  /** Compile every block before its first turn. */
  readonly jit?: boolean;
}

/** One vCPU with the interpreter, in a sandbox, behind the interface of the vectors. */
class InterpreterExecutor implements VectorExecutor {
  readonly #arena: Arena;
  readonly #memory: PhysicalMemory;
  readonly #cpu: Vcpu;
  readonly #interpreter: Interpreter;
  readonly #sandbox: Sandbox;
  readonly #window: number;
  readonly #codePages: number;
  readonly #engine: Engine;
  readonly #code = new Uint8Array(MAX_INSTRUCTION);
  #mode: VectorMode = 64;
  #frame: Frame | null = null;

  constructor(options: InterpreterExecutorOptions) {
    const model = parseCpu(options.cpu ?? 'EPYC-Genoa');
    this.#arena = createArena({ bytes: ARENA_BYTES });
    this.#memory = new PhysicalMemory({ arena: this.#arena, mmio: new MmioSpace() });
    const ram = this.#arena.allocate('guest RAM', SANDBOX_BYTES, 4096);
    this.#memory.mapRam(0, SANDBOX_BYTES, ram);
    this.#window = ram + Place.window;
    this.#codePages = ram + Place.code;
    const base = this.#arena.allocate('vcpu 0', vcpuState.size, 64);
    const mmu = new Mmu({ memory: this.#memory, vcpuBase: base, maxPhysicalAddress: model.physicalBits, pages1g: true });
    this.#cpu = new Vcpu({
      index: 0,
      buffer: this.#arena.memory.buffer,
      base,
      mmu,
      memory: this.#memory,
      ports: new PortSpace(),
      clock: { nowNs: () => 0 },
      model,
      random: createDeterministicRandom(1),
    });
    this.#engine = new Engine(this.#arena, this.#memory);
    if (options.jit) attachJit(this.#engine, { threshold: 1, codeBytes: 16 << 20 });
    this.#interpreter = new Interpreter(this.#cpu, this.#engine);
    reset(this.#cpu);
    this.#sandbox = new Sandbox(this.#cpu, this.#memory);
    this.#memory.write(Place.code, new Uint8Array(Place.codeBytes).fill(0xcc));
    this.#code.fill(0xcc);
  }

  begin(mode: VectorMode): void {
    this.#mode = mode;
  }

  foresee(cases: Iterable<VectorCase>): void {
    const { handlers, builder } = this.#engine;
    this.#sandbox.enter(this.#mode);
    for (const rflags of [0, ALIGNMENT_CHECK]) {
      this.#cpu.set32('rflags', rflags);
      updateMode(this.#cpu);
      const mode = this.#cpu.get32('mode');
      for (const { code, before } of cases) if (rflags === 0 || setsAlignmentCheck(before)) builder.foresee(code, mode);
    }
    handlers.flush();
  }

  load(image: Uint8Array, code: Uint8Array): void {
    this.#mendCode();
    this.#code.fill(0xcc);
    this.#code.set(code);
    this.#memory.write(Place.start, this.#code);
    this.#arena.u8.set(image.subarray(Image.memory, Image.memory + Place.windowBytes), this.#window);
    this.#sandbox.enter(this.#mode);
    imageToVcpu(image, this.#arena.u8, this.#cpu.base);
    updateMode(this.#cpu);
  }

  /** A case may have written to code: the next one finds nothing but INT3 again. */
  #mendCode(): void {
    const words = this.#arena.i32.subarray(this.#codePages >>> 2, (this.#codePages + Place.codeBytes) >>> 2);
    for (let i = 0; i < words.length; i++) if (words[i] !== INT3S) this.#memory.write32(Place.code + 4 * i, INT3S >>> 0);
  }

  step(): StepOutcome {
    const stop = this.#interpreter.run(BUDGET);
    this.#frame = stop === 'idle' ? this.#sandbox.frame() : null;
    if (!this.#frame) return { exception: LOST, errorCode: 0, cr2: 0n };
    const { vector, errorCode, rip } = this.#frame;
    // The INT3 after the instruction, or the one that a branch has reached: the instruction itself completed.
    const completed = vector === 3 && !(this.#code[0] === 0xcc && rip === BigInt(Place.start + 1));
    if (completed) return { exception: NO_EXCEPTION, errorCode: 0, cr2: 0n };
    return { exception: vector, errorCode, cr2: vector === 14 ? this.#cpu.get64('cr2') : 0n };
  }

  read(image: Uint8Array): void {
    vcpuToImage(this.#arena.u8, this.#cpu.base, image);
    image.set(this.#arena.u8.subarray(this.#window, this.#window + Place.windowBytes), Image.memory);
    if (!this.#frame) return;
    const view = new DataView(image.buffer, image.byteOffset);
    const { vector, rip, rflags, rsp } = this.#frame;
    view.setBigUint64(Image.gpr + 8 * 4, rsp, true);
    view.setBigUint64(Image.rip, vector === 3 ? rip - 1n : rip, true);
    view.setBigUint64(Image.rflags, rflags, true);
  }
}

/** The interpreter of `@nestvm/cpu` as an executor of vectors. */
export function createInterpreterExecutor(options: InterpreterExecutorOptions = {}): VectorExecutor {
  return new InterpreterExecutor(options);
}
