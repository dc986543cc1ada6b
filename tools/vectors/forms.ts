/** The forms of the instruction set that user code can run, by family; one family is one file of vectors. */
import { Code, CodeExt, CpuidFeature, EncodingKind, Instruction } from 'iced-x86';
import type { VectorMode } from '../../packages/conformance/src/index.js';
import { type Shape, shapeOf } from './encode.js';

/** Family by CPUID feature; a form belongs to the first that matches. Features that are not here are not captured. */
const families: [string, RegExp][] = [
  ['fma', /^FMA$/],
  ['f16c', /^F16C$/],
  ['avx2', /^AVX2$/],
  ['crypto', /^(AES|PCLMULQDQ|SHA|VAES|VPCLMULQDQ)$/],
  ['avx', /^AVX$/],
  ['bits', /^(BMI1|BMI2|ADX|MOVBE|POPCNT|LZCNT|CMPXCHG16B|FSGSBASE|CLFSH|CLFLUSHOPT|CLWB|PREFETCHW)$/],
  ['sse4', /^(SSE4_1|SSE4_2|SSE4A)$/],
  ['sse3', /^(SSE3|SSSE3)$/],
  ['sse2', /^SSE2$/],
  ['sse', /^SSE$/],
  ['mmx', /^MMX$/],
  ['x87', /^FPU(287|387)?$/],
  ['general', /^(INTEL(8086(_ONLY)?|186|286|386|486)|X64|CMOV|CX8|MULTIBYTENOP|PAUSE)$/],
];

/**
 * Not captured: what talks to the system or the outside, what depends on descriptor tables, what changes segment registers, what is never the same twice, state
 * images that differ between CPUs, and what Linux emulates for user code (SGDT and its kind).
 */
const excluded = new RegExp(
  `^(${[
    'IN',
    'OUT',
    'INS[BWD]',
    'OUTS[BWD]',
    'INT',
    'INT1',
    'INT3',
    'SYSCALL',
    'SYSENTER',
    'SYSRETQ?',
    'SYSEXITQ?',
    'IRET[DQ]?',
    'RETF',
    'CPUID',
    'RDTSCP?',
    'RDPMC',
    'RDRAND',
    'RDSEED',
    'RDPID',
    'LAR',
    'LSL',
    'VERR',
    'VERW',
    'LDS',
    'LES',
    'LFS',
    'LGS',
    'LSS',
    'SGDT',
    'SIDT',
    'SLDT',
    'STR',
    'SMSW',
    'ARPL',
    'FXSAVE64?',
    'FXRSTOR64?',
    'FSTDW',
    'FSTSG',
    'FRSTPM',
    'FSETPM',
    'FNSETPM',
    'LOADALL',
    'UMOV',
    'XBTS',
    'IBTS',
    'CMPXCHG486',
    'HLT',
    'CLTS',
    'WBINVD',
    'INVD',
    'RDMSR',
    'WRMSR',
    'STOREALL',
    'FEMMS',
    'FNSTDW',
    'FNSTSG',
  ].join('|')})$`,
);

export interface Form {
  readonly family: string;
  readonly mnemonic: string;
  readonly shape: Shape;
}

function familyOf(code: number): string | null {
  const probe = new Instruction();
  probe.code = code;
  const features = Array.from(probe.cpuidFeatures(), (feature) => CpuidFeature[feature] as string);
  probe.free();
  if (!features.every((feature) => families.some(([, pattern]) => pattern.test(feature)))) return null;
  return families.find(([, pattern]) => features.some((feature) => pattern.test(feature)))?.[0] ?? null;
}

/** All forms of a mode. */
export function listForms(mode: VectorMode): Form[] {
  const forms: Form[] = [];
  for (const code of Object.values(Code).filter((value): value is number => typeof value === 'number')) {
    const info = CodeExt.opCode(code);
    const usable =
      info.isInstruction &&
      (info.encoding === EncodingKind.Legacy || info.encoding === EncodingKind.VEX) &&
      info.isAvailableInMode(mode) &&
      !info.fwait;
    if (usable && !info.isPrivileged && !info.isInputOutput) {
      const family = familyOf(code);
      const shape = shapeOf(info);
      const mnemonic = shape.name.split(' ')[0] as string;
      if (family && !excluded.test(mnemonic) && !writesSegment(shape) && shape.name !== 'BSWAP r16') forms.push({ family, mnemonic, shape });
    }
    info.free();
  }
  return forms;
}

function writesSegment(shape: Shape): boolean {
  if (shape.kinds.some((kind) => kind.startsWith('farbr'))) return true;
  if (/^(CALL|JMP) m16:/.test(shape.name)) return true;
  return /^(MOV Sreg|POP (ES|SS|DS|FS|GS))/.test(shape.name);
}
