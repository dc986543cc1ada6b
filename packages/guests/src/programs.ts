import type { Texts } from './image.js';
import { Variable } from './layout.js';

/**
 * What the last level does: print and end; or cause so many exits of two kinds, for timing; or count timer interrupts and end, after which the first level
 * turns its extension off and counts on.
 */
export type ProgramName = 'hello' | 'exits' | 'count';

/** How levels are made. */
export interface LevelOptions {
  /** How many levels there are (default 3); each but the last is a hypervisor. */
  readonly levels?: number;
  /** What the last one runs (default `hello`). */
  readonly program?: ProgramName;
  /** How a guest's memory is mapped: by NPT or EPT (`nested`, the default), or by page tables of ours in the place of its own (`shadow`). */
  readonly paging?: 'nested' | 'shadow';
  /** For `exits`: how many of each kind (default 1000). */
  readonly repeat?: number;
  /**
   * What the hypervisor does with the guest's context while the guest waits in HLT, two levels only: nothing (`resident`, the default), VMCLEAR (`cleared`), or
   * that and leaving VMX operation, on SVM clearing EFER.SVME (`off`).
   */
  readonly idle?: 'resident' | 'cleared' | 'off';
  /** For `count`: whether the first level turns its extension `off` when its guest has ended (the default), or leaves it `on`, and waits for ever behind the count. */
  readonly after?: 'off' | 'on';
}

/** How a vendor's hypervisor plugs in, besides the labels `hv_init`, `hv_reset` and `hv_run`. */
export interface Levels {
  /** The level that only runs a program. */
  readonly last: number;
  /** Instruction by which a guest calls its hypervisor: RAX 1 ends the guest, anything else comes back at once. */
  readonly call: string;
  readonly program: ProgramName;
  readonly repeat: number;
  readonly shadow: boolean;
  readonly idle: NonNullable<LevelOptions['idle']>;
  readonly after: NonNullable<LevelOptions['after']>;
}

const DEFAULT_LEVELS = 3;
const DEFAULT_REPEAT = 1000;

/** Options with their defaults. */
export const levelsOf = (
  { levels = DEFAULT_LEVELS, program = 'hello', repeat = DEFAULT_REPEAT, paging = 'nested', idle = 'resident', after = 'off' }: LevelOptions,
  call: string,
): Levels => ({
  last: levels,
  call,
  program,
  repeat,
  shadow: paging === 'shadow',
  idle,
  after,
});

function hello(texts: Texts, { call }: Levels): string {
  return `
leaf:
  call prefix
  ${texts.say('hello from L')}
  mov rax, [${Variable.LEVEL}]
  call putdec
  call newline
  xor eax, eax                    ; CPUID
  cpuid
  mov dx, 0x61                    ; a port that nobody forwards
  in al, dx
  hlt                             ; HLT
  call set_up_ticks
  sti
.wait:                            ; timer interrupts, through every level below
  hlt
  cmp qword ptr [${Variable.TICKS}], 2
  jb .wait
  cli
  call prefix
  ${texts.say('took timer interrupts')}
  call newline
  call prefix
  ${texts.say('ends')}
  call newline
  mov eax, 1
  ${call}
`;
}

/** Two loops of exits, with a line before, between and after, so that whoever reads the lines can time them. */
function exits(texts: Texts, { call, repeat }: Levels): string {
  return `
leaf:
  call prefix
  ${texts.say('cpuid')}
  call newline
  mov r12d, ${repeat}
.cpuid:
  xor eax, eax
  cpuid
  dec r12d
  jnz .cpuid
  call prefix
  ${texts.say('call')}
  call newline
  mov r12d, ${repeat}
.call:
  xor eax, eax
  ${call}
  dec r12d
  jnz .call
  call prefix
  ${texts.say('end')}
  call newline
  mov eax, 1
  ${call}
`;
}

/** Every so many timer interrupts `count` prints a line; a power of two. */
const TICKS_A_LINE = 4;
const LINES = 12;

/** Prints a line for each TICKS_A_LINE timer interrupts, LINES of them, and goes on with interrupts off. */
export const countText = (texts: Texts): string => `
  xor r13d, r13d
  mov qword ptr [${Variable.TICKS}], 0
  sti
.tick:
  hlt
  mov rax, [${Variable.TICKS}]
  shr rax, ${Math.log2(TICKS_A_LINE)}
  cmp rax, r13
  je .tick
  mov r13, rax
  call prefix
  ${texts.say('counts ')}
  mov rax, r13
  call putdec
  call newline
  cmp r13d, ${LINES}
  jb .tick
  cli
`;

function counting(texts: Texts, { call }: Levels): string {
  return `
leaf:
  call set_up_ticks
  ${countText(texts)}
  mov eax, 1
  ${call}
`;
}

/** The programs by name: each begins at the label `leaf`. */
export const programs: Readonly<Record<ProgramName, (texts: Texts, levels: Levels) => string>> = { hello, exits, count: counting };
