import type { Instruction } from '@nestvm/decoder';
import { Outcome } from '../outcome.js';
import type { CpuidState } from '../ports/model.js';
import type { Vcpu } from '../vcpu.js';
import { CR4, GPR, word, XCR0, XSS } from '../words.js';

const RAX = GPR;
const RCX = GPR + 2;
const APIC_BASE = 0x1b;
const APIC_ENABLED = 1 << 11;
const MISC_ENABLE = word('miscEnable');
const LIMIT_CPUID = 1 << 22;

/** Answers that are kept, a power of two, and the words of each: leaf, subleaf, the four words of run-time state, the four registers. */
const SLOTS = 64;
const WORDS = 10;
const STATE = 2;
const RESULT = 6;
/** Bits of the first word of state. */
const Shown = { APIC: 1, LIMIT: 2, VALID: 4 } as const;

/** What CPUID has answered lately, by leaf and subleaf and by all the state that shows: hypervisors and programs ask the same again and again. */
export class CpuidAnswers {
  /** The answers, each with what it answers. */
  readonly words = new Int32Array(SLOTS * WORDS);

  constructor(private readonly cpu: Vcpu) {}

  /** Index of the registers of an answer in `words`. */
  find(leaf: number, subleaf: number): number {
    const { words, cpu } = this;
    const { w } = cpu;
    const flags = this.shownFlags();
    const at = WORDS * (Math.imul(leaf ^ (leaf >>> 24) ^ Math.imul(subleaf, 0x9d), 0x9e3779b1) >>> 26);
    const isKnown =
      words[at] === (leaf | 0) &&
      words[at + 1] === (subleaf | 0) &&
      words[at + STATE] === flags &&
      words[at + STATE + 1] === w[CR4] &&
      words[at + STATE + 2] === w[XCR0] &&
      words[at + STATE + 3] === w[XSS];
    if (!isKnown) this.ask(at, leaf, subleaf, flags);
    return at + RESULT;
  }

  private shownFlags(): number {
    const { interrupts, features, w } = this.cpu;
    const apic = !interrupts.readMsr(APIC_BASE) || (interrupts.msrLo & APIC_ENABLED) !== 0 ? Shown.APIC : 0;
    return Shown.VALID | apic | (features.intel && (w[MISC_ENABLE]! & LIMIT_CPUID) !== 0 ? Shown.LIMIT : 0);
  }

  private ask(at: number, leaf: number, subleaf: number, flags: number): void {
    const { words, cpu } = this;
    const { w } = cpu;
    const state: CpuidState = {
      apicId: cpu.apicId,
      apicEnabled: (flags & Shown.APIC) !== 0,
      cr4: w[CR4]!,
      xcr0: w[XCR0]!,
      xss: w[XSS]!,
      limitMaximum: (flags & Shown.LIMIT) !== 0,
    };
    const { eax, ebx, ecx, edx } = cpu.model.cpuid(leaf, subleaf, state);
    words.set([leaf, subleaf, flags, w[CR4]!, w[XCR0]!, w[XSS]!, eax, ebx, ecx, edx], at);
  }
}

/** Identification and features, by leaf in EAX and subleaf in ECX. */
export function CPUID(cpu: Vcpu, insn: Readonly<Instruction>): Outcome {
  const { w, cpuid } = cpu;
  const leaf = w[RAX]! >>> 0;
  if (cpu.intercepted('CPUID', insn.length, leaf)) return Outcome.JUMPED;
  const { words } = cpuid;
  const at = cpuid.find(leaf, w[RCX]! >>> 0);
  cpu.setGpr32(0, words[at]!);
  cpu.setGpr32(3, words[at + 1]!);
  cpu.setGpr32(1, words[at + 2]!);
  cpu.setGpr32(2, words[at + 3]!);
  return Outcome.NEXT;
}
