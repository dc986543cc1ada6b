import type { Instruction } from '@nestvm/decoder';
import { Cr0, Cr4, Mode, type OpcodeRow, opcodeRows } from '@nestvm/isa';
import type { Vcpu } from '../vcpu.js';
import { CR0, CR4 } from '../words.js';

const UD = 6;
const NM = 7;

/** What register file an instruction works on, as far as CR0, CR4 and XCR0 can forbid it. */
type Extension = 'none' | 'x87' | 'mmx' | 'sse' | 'avx';

const VECTOR_METHODS = new Set(['V', 'W', 'U', 'H', 'L']);
const MMX_METHODS = new Set(['P', 'Q', 'N']);
/** No vector operand, but governed by the same bits; and the other way round: fences and prefetches are not. */
const NAMED: Readonly<Record<string, Extension>> = {
  EMMS: 'mmx',
  LDMXCSR: 'sse',
  STMXCSR: 'sse',
  VLDMXCSR: 'avx',
  VSTMXCSR: 'avx',
  VZEROALL: 'avx',
  VZEROUPPER: 'avx',
  FWAIT: 'none',
};

function classify(row: OpcodeRow): Extension {
  const named = NAMED[row.mnemonic];
  if (named !== undefined) return named;
  const vector = row.operands.some((o) => VECTOR_METHODS.has(o.method));
  if (row.encoding === 'vex' && vector) return 'avx';
  if (vector) return 'sse';
  if (row.operands.some((o) => MMX_METHODS.has(o.method))) return 'mmx';
  // The escape opcodes D8-DF are x87.
  return row.encoding === 'legacy' && row.code.map === '' && row.code.opcode >= 0xd8 && row.code.opcode <= 0xdf ? 'x87' : 'none';
}

/** Encodings that are NOPs on processors without the feature. */
const HINTS = new Set(['ENDBR32', 'ENDBR64', 'RDSSP', 'CLDEMOTE', 'PREFETCH', 'PREFETCHW', 'PREFETCHWT1']);

/** What the encodings of these mean on processors without them, which ignore the F3 prefix (SDM Vol. 2, "TZCNT", "LZCNT", "WBNOINVD"). */
const OLDER: Readonly<Record<string, string>> = { TZCNT: 'BSF', LZCNT: 'BSR', WBNOINVD: 'WBINVD' };
const olderRows = new Map(Object.values(OLDER).map((name) => [name, opcodeRows.find((row) => row.mnemonic === name)!]));

/** The NOP of the same opcodes, which the instructions of MPX are where it is not enabled. */
const reservedNop = opcodeRows.find((row) => row.mnemonic === 'NOP' && row.code.map === '0F' && row.code.opcode === 0x1a)!;

/** Makes of an instruction what the CPU model takes it for in a mode. */
export function readAsModel(cpu: Vcpu, insn: Instruction, mode: number): void {
  if (insn.row.features[0] === 'mpx') {
    if ((mode & Mode.MPX) === 0) insn.row = reservedNop as typeof insn.row;
    return;
  }
  const older = rules(insn.row).older;
  if (older !== null && !insn.row.features.every((feature) => cpu.model.has(feature))) insn.row = older as typeof insn.row;
}

/** What of a row decides about its availability. */
interface Rules {
  readonly extension: Extension;
  /** Features that the CPU model must offer. */
  readonly features: readonly string[];
  /** What processors without the features take it for; null: for nothing. */
  readonly older: OpcodeRow | null;
}

const known: (Rules | undefined)[] = [];
const rules = (row: OpcodeRow): Rules =>
  (known[row.id] ??= {
    extension: classify(row),
    features: HINTS.has(row.mnemonic) ? [] : row.features,
    older: olderRows.get(OLDER[row.mnemonic] ?? '') ?? null,
  });

/** Whether all models have a row's instruction as it stands, and may run it in all modes. */
export function isAlwaysAvailable(row: OpcodeRow): boolean {
  const { extension, older } = rules(row);
  return row.features.length === 0 && !row.protectedOnly && extension === 'none' && older === null;
}

/**
 * Vector of the exception that an instruction raises whatever its operands, in the mode in force: #UD when the CPU model, CR0.EM, CR4 or XCR0 forbid it, #NM when
 * CR0.TS does; -1 when it may run. (SDM Vol. 2, "Exception Conditions of Legacy SIMD Instructions" and "Type n Class Exception Specification".)
 */
export function unavailable(cpu: Vcpu, insn: Readonly<Instruction>, mode: number): number {
  const { row } = insn;
  const { extension, features } = rules(row);
  for (let i = 0; i < features.length; i++) if (!cpu.model.has(features[i]!)) return UD;
  if (row.protectedOnly && (mode & Mode.PROTECTED) === 0) return UD;
  const cr0 = cpu.w[CR0]!;
  switch (extension) {
    case 'none':
      return -1;
    case 'x87':
      return (mode & Mode.X87) !== 0 ? -1 : NM;
    case 'mmx':
      return (mode & Mode.X87) !== 0 ? -1 : (cr0 & Cr0.EM) !== 0 ? UD : NM;
    case 'sse':
      return (mode & Mode.SSE) !== 0 ? -1 : (cr0 & Cr0.EM) !== 0 || (cpu.w[CR4]! & Cr4.OSFXSR) === 0 ? UD : NM;
    case 'avx':
      return (mode & Mode.AVX) !== 0 ? -1 : (cr0 & Cr0.TS) === 0 ? UD : (cpu.w[CR4]! & Cr4.OSXSAVE) === 0 ? UD : NM;
  }
}
