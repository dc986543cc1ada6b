import { Formatter, FormatterSyntax, MemorySizeOptions } from 'iced-x86';
import type { Instruction } from '../src/index.js';

/** iced's formatter, set to our notation. */
export function createIcedFormatter(syntax: FormatterSyntax = FormatterSyntax.Intel): Formatter {
  const formatter = new Formatter(syntax);
  formatter.hexPrefix = '0x';
  formatter.hexSuffix = '';
  formatter.uppercaseHex = false;
  formatter.spaceAfterOperandSeparator = true;
  formatter.memorySizeOptions = MemorySizeOptions.Always;
  formatter.smallHexNumbersInDecimal = false;
  formatter.addLeadingZeroToHexNumbers = false;
  formatter.usePseudoOps = false;
  formatter.branchLeadingZeros = false;
  formatter.showUselessPrefixes = false;
  formatter.showBranchSize = false;
  return formatter;
}

/** One allowed difference between our Intel text and iced's: what is rewritten in both before they are compared, and why. */
export interface TextRule {
  readonly reason: string;
  readonly rewrite: (text: string, insn: Instruction) => string;
}

const isX87 = (insn: Instruction): boolean =>
  insn.row.code.map === '' && insn.row.code.opcode >= 0xd8 && insn.row.code.opcode <= 0xdf && insn.row.encoding === 'legacy';

const UNSIZED = /^(?:[SL][GI]DT|BOUND|INVLPG|CLDEMOTE|FN?SAVE|FRSTOR|FLDENV|FNSTENV|BND\w+)$/;
const NARROW = /^(?:V?MOVMSKP[SD]|V?P(?:EXTR|INSR)[BW]|V?PMOVMSKB|V?EXTRACTPS|VMOVW|LLDT|LTR|LMSW|VERR|VERW|LAR|LSL)$/;

function moveRounding(text: string): string {
  const match = /\{(?:\w+-)?sae\}/.exec(text);
  return match === null ? text : text.replace(match[0], '') + match[0];
}

/** All allowed differences of text. */
export const textRules: readonly TextRule[] = [
  {
    reason:
      'iced shows prefixes that change no meaning here: operand and address size that is visible in the operands, BND, branch hints, NOTRACK, XACQUIRE, XRELEASE, REP RET.',
    rewrite: (text) =>
      text
        .replace(/^(?:(?:data16|data32|data64|addr16|addr32|bnd|hint-taken|hint-not-taken|notrack|xacquire|xrelease|rex\.w) )+/, '')
        .replace(/^repn?e? (?=ret)/, ''),
  },
  {
    reason:
      'Destinations of string instructions are always in ES, which we show outside 64-bit mode; iced shows it where there is any segment prefix.',
    rewrite: (text) => text.replace(/\bes:\[([er]?di)\]/, '[$1]'),
  },
  { reason: 'The SDM prints RETF.', rewrite: (text) => text.replace(/^ret far/, 'retf') },
  { reason: 'XLATB without the implied operand.', rewrite: (text) => (text.startsWith('xlat') ? 'xlatb' : text) },
  {
    reason: 'Aliases of PREFETCH in the reserved ModRM.reg values have no name of their own.',
    rewrite: (text) => text.replace(/^prefetch(?:_\w+|it[01]|w)? /, 'prefetch '),
  },
  {
    reason: 'x87: iced shows the implied ST of memory and pop forms; the SDM does not.',
    rewrite: (text, insn) => (isX87(insn) && insn.row.operands.length < 2 ? text.replace(/ st, /, ' ').replace(/, st$/, '') : text),
  },
  {
    reason: 'Far pointers are selector:offset, as assemblers take them; iced has offset, selector.',
    rewrite: (text) => text.replace(/far (0x[0-9a-f]+), 0x0*([0-9a-f]+)$/, 'far 0x$2:$1'),
  },
  { reason: 'The SDM prints rounding after the last register, iced after the first.', rewrite: moveRounding },
  {
    reason:
      "Descriptor-table images, BOUND pairs, x87 environments and address-only operands have no pointer size of their own in our text (or in iced's).",
    rewrite: (text, insn) => (UNSIZED.test(insn.row.mnemonic) ? text.replace(/\b\w+ ptr /, '') : text),
  },
  {
    reason:
      'Of a register that carries fewer bits than it has (16-bit selectors, masks, extracted elements) iced names the 32-bit or 16-bit part, we the one that operand size selects.',
    rewrite: (text, insn) =>
      NARROW.test(insn.row.mnemonic)
        ? text.replace(
            /\br(\d+)[dw]?\b|\b[er]?([abcds][xpi]|[ds]il?)\b/g,
            (_, number: string | undefined, name: string | undefined) => `r${number ?? name}`,
          )
        : text,
  },
  {
    reason: 'The manual prints no operands for these; iced shows the implied ones (and for MONITOR under a segment prefix, nothing but that).',
    rewrite: (text, insn) =>
      insn.row.operands.length === 0 && insn.row.rep === 'none'
        ? insn.row.mnemonic === 'MONITOR' || insn.row.mnemonic === 'MONITORX'
          ? 'monitor'
          : (text.split(' ')[0] as string)
        : text,
  },
  {
    reason: 'The mask of a gather or scatter is a decoration in the SDM; iced shows an operand.',
    rewrite: (text, insn) => (insn.row.evex?.mask === 'required' ? text.replace(/, (k\d)(, |$)/, '{$1}$2') : text),
  },
  { reason: 'VMGEXIT is VMMCALL here.', rewrite: (text) => text.replace(/^vmgexit/, 'vmmcall') },
  {
    reason: 'iced has own names for the 64-bit forms of GETSEC and (V)PCMPESTRx.',
    rewrite: (text) => text.replace(/^getsecq/, 'getsec').replace(/^(v?pcmpestr[im])64/, '$1'),
  },
  {
    reason: '90 with REX.W is NOP; iced prints the exchange.',
    rewrite: (text, insn) => (insn.row.mnemonic === 'NOP' && insn.opcode === 0x90 ? 'nop' : text),
  },
  { reason: 'Reserved hints are NOP here.', rewrite: (text, insn) => (insn.row.mnemonic === 'NOP' && insn.opcode === 0x18 ? 'nop' : text) },
  {
    reason: 'The index register of BNDLDX and BNDSTX is a value of its own: iced leaves its scale out, which we show, since it is encoded.',
    rewrite: (text, insn) => (/^BND(?:LDX|STX)$/.test(insn.row.mnemonic) ? text.replace(/\*[1248]/, '') : text),
  },
  {
    reason: 'The implied memory operand of MASKMOVQ has a segment that iced shows.',
    rewrite: (text, insn) => (/MASKMOV(Q|DQU)$/.test(insn.row.mnemonic) ? text.replace(/, (?:es|cs|ss|ds|fs|gs)$/, '') : text),
  },
];

/** Applies all rules. */
export const canonical = (text: string, insn: Instruction): string => textRules.reduce((result, rule) => rule.rewrite(result, insn), text);
