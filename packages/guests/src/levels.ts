import type { Texts } from './image.js';
import { interruptsText } from './interrupts.js';
import { Layout, Variable } from './layout.js';
import { countText, type Levels, programs } from './programs.js';

/** What a program of levels is told apart by: CPUID leaf 0x40000000, "NestvmEmbed" in EBX, ECX, EDX. */
const SIGNATURE = { ebx: 0x7473654e, ecx: 0x6d456d76, edx: 0x00646562 } as const;
const LEAF_SIGNATURE = 0x40000000;
const LEAF_LEVEL = 0x40000001;

/** What is counted: exits of the guest by reason, and those of the guest's guest. */
export const counted = ['cpuid', 'io', 'hlt', 'call', 'entry', 'state', 'msr', 'intr', 'nested'] as const;

/** An instruction that counts an exit. */
export const count = (what: (typeof counted)[number]): string => `inc qword ptr [${Layout.COUNTERS + counted.indexOf(what) * 8}]`;

/** Registers by number, without RSP. */
const SAVED = ['rax', 'rcx', 'rdx', 'rbx', '', 'rbp', 'rsi', 'rdi', 'r8', 'r9', 'r10', 'r11', 'r12', 'r13', 'r14', 'r15'];

/** Address of a saved register. */
export const saved = (register: string): number => Layout.REGISTERS + SAVED.indexOf(register) * 8;

const transfer = (without: readonly string[], line: (register: string, at: number) => string): string =>
  SAVED.filter((register) => register !== '' && !without.includes(register))
    .map((register) => line(register, saved(register)))
    .join('\n');

/** Loads the guest's general registers. */
export const loadRegisters = (...without: string[]): string => transfer(without, (register, at) => `mov ${register}, [${at}]`);
/** Stores the guest's general registers. */
export const storeRegisters = (...without: string[]): string => transfer(without, (register, at) => `mov [${at}], ${register}`);

const findLevel = `
find_level:
  mov qword ptr [${Variable.LEVEL}], 1
  mov eax, ${LEAF_SIGNATURE}
  cpuid
  cmp ebx, ${SIGNATURE.ebx}
  jne .found
  cmp ecx, ${SIGNATURE.ecx}
  jne .found
  cmp edx, ${SIGNATURE.edx}
  jne .found
  mov eax, ${LEAF_LEVEL}
  cpuid
  mov eax, eax
  mov [${Variable.LEVEL}], rax
.found:
  ret
`;

/** Answers the guest's CPUID from the registers saved: the machine's values, and this program's own leaves. */
const answerCpuid = `
answer_cpuid:
  mov eax, [${saved('rax')}]
  mov ecx, [${saved('rcx')}]
  mov r8d, eax
  cpuid
  cmp r8d, ${LEAF_LEVEL}
  je .level
  cmp r8d, ${LEAF_SIGNATURE}
  jne .store
  mov eax, ${LEAF_LEVEL}
  mov ebx, ${SIGNATURE.ebx}
  mov ecx, ${SIGNATURE.ecx}
  mov edx, ${SIGNATURE.edx}
  jmp .store
.level:
  mov eax, [${Variable.LEVEL}]
  inc eax
.store:
  mov [${saved('rax')}], rax
  mov [${saved('rbx')}], rbx
  mov [${saved('rcx')}], rcx
  mov [${saved('rdx')}], rdx
  ret
`;

/** Puts a copy of this level's own image, page tables included, where the guest's memory is. */
const copyImage = `
copy_image:
  mov rsi, ${Layout.IMAGE}
  mov rdi, ${Layout.IMAGE + Layout.CHILD_BASE}
  mov ecx, ${(Layout.CONTROL_01 - Layout.IMAGE) / 8}
  rep movsq
  ret
clear_counters:
  mov rdi, ${Layout.COUNTERS}
  mov ecx, ${(Layout.SCRATCH - Layout.COUNTERS) / 8}
  xor eax, eax
  rep stosq
  ret
`;

/** Fills a nested table so that the guest's memory begins at CHILD_BASE: `r9` the three tables, `r10` the bits of a 2-MiB entry. */
const mapChild = ({ last }: Levels): string => `
map_child:
  mov rdi, r9
  mov ecx, 1536
  xor eax, eax
  rep stosq
  lea rax, [r9+0x1007]
  mov [r9], rax
  lea rax, [r9+0x2007]
  mov [r9+0x1000], rax
  lea rax, [r10+${Layout.CHILD_BASE}]
  ; the last level has 4 MiB, each one below it 4 MiB more
  mov edx, ${last}
  sub edx, [${Variable.LEVEL}]
  add edx, edx
  lea rdi, [r9+0x2000]
.entry:
  mov [rdi], rax
  add rax, 0x200000
  add rdi, 8
  dec edx
  jnz .entry
  ret
`;

/** `compose` makes NESTED_02 from the guest's nested root in rax (its page directory maps its guest onto it) and our own offset. */
const compose = `
compose:
  mov r9, ${Layout.NESTED_02}
  xor r10, r10
  push rax
  call map_child
  pop rsi
  and rsi, -4096
  mov rsi, [rsi+${Layout.CHILD_BASE}]
  and rsi, -4096
  mov rsi, [rsi+${Layout.CHILD_BASE}]
  and rsi, -4096
  add rsi, ${Layout.CHILD_BASE}
  mov rdi, ${Layout.NESTED_02 + 0x2000}
  mov ecx, 512
.entry:
  lodsq
  test al, 7
  jz .store
  add rax, ${Layout.CHILD_BASE}
.store:
  stosq
  loop .entry
  ret
`;

/** One character of the guest's to the port it wrote to, when that is the first serial port: `edx` port, `al` byte. */
const forwardByte = `
forward_byte:
  mov ecx, edx
  and ecx, 0xfff8
  cmp ecx, 0x3f8
  jne .ignored
  out dx, al
.ignored:
  ret
`;

function prefix(texts: Texts): string {
  return `
prefix:                           ; "[L1] "
  ${texts.say('[L')}
  mov rax, [${Variable.LEVEL}]
  call putdec
  ${texts.say('] ')}
  ret
child_name:                       ; "L2"
  ${texts.say('L')}
  mov rax, [${Variable.LEVEL}]
  inc rax
  jmp putdec
`;
}

function report(texts: Texts): string {
  const lines = counted.map(
    (name, i) => `
  mov rax, [${Layout.COUNTERS + i * 8}]
  test rax, rax
  jz .after_${name}
  push rax
  ${texts.say(` ${name} `)}
  pop rax
  call putdec
.after_${name}:`,
  );
  return `
report:
  call prefix
  ${texts.say('exits of ')}
  call child_name
  mov al, ':'
  call putc
  ${lines.join('')}
  jmp newline
`;
}

/** After its guest the first level, now without a guest, counts on. */
const countOn = (texts: Texts, { after }: Levels): string => `
  cmp qword ptr [${Variable.LEVEL}], 1
  jne .over
  mov rdi, ${Layout.NESTED_01}    ; the guest's memory is given up
  mov ecx, 512
  xor eax, eax
  rep stosq
  call hv_end
  ${after === 'off' ? 'call hv_off' : ''}
  call prefix
  ${texts.say(after === 'off' ? 'hypervisor: off' : 'hypervisor: on, without a guest')}
  call newline
  ${countText(texts)}
  ${after === 'off' ? '' : 'sti\n.stay:\n hlt\n jmp .stay'}
.over:
`;

function main(texts: Texts, levels: Levels): string {
  const { last, call, program } = levels;
  return `
main:
  call find_level
  cmp qword ptr [${Variable.LEVEL}], ${last}
  jae leaf
  call clear_counters
  call find_level
  call prefix
  ${texts.say('hypervisor: ')}
  call hv_init
  test eax, eax
  jnz .refused
  ${texts.say('on')}
  call newline
  call set_up_ticks
  cmp qword ptr [${Variable.LEVEL}], 1
  jne .again
  call set_up_timer               ; the machine's; the guests' timer interrupts come from it, level by level
.again:
  call prefix
  ${texts.say('starts ')}
  call child_name
  call newline
  call copy_image
  call hv_reset
  call hv_run
  test eax, eax
  jnz .broken
  call prefix
  call child_name
  ${texts.say(' has ended')}
  call newline
  inc qword ptr [${Variable.STARTS}]
  cmp qword ptr [${Variable.STARTS}], ${program === 'count' ? 1 : 2}
  jb .again
  call report
  ${program === 'count' ? countOn(texts, levels) : ''}
  xor eax, eax
.finish:
  cmp qword ptr [${Variable.LEVEL}], 1
  je power_off
  mov eax, 1
  ${call}
.refused:
  ${texts.say('this processor does not offer it')}
  call newline
  mov eax, 2
  jmp .finish
.broken:                          ; rbx: exit code
  call prefix
  ${texts.say('unexpected exit ')}
  mov rax, rbx
  call puthex
  call newline
  mov eax, 3
  jmp .finish
`;
}

/** The part of the program that both vendors share. */
export const levelsText = (texts: Texts, levels: Levels): string =>
  [
    main(texts, levels),
    programs[levels.program](texts, levels),
    prefix(texts),
    report(texts),
    findLevel,
    answerCpuid,
    copyImage,
    mapChild(levels),
    compose,
    forwardByte,
    interruptsText(0),
  ].join('\n');
