import { Layout } from './layout.js';

/** Where the list of events keeps what it needs, above the image. */
export const EventMemory = {
  CLEAR: 0x200000,
  /** Page tables beyond the identity map: the second gigabyte, and the fourth with the local APIC. */
  DIRECTORY: 0x200000,
  TABLE: 0x201000,
  DEVICES: 0x202000,
  /** A second root with the same mappings. */
  OTHER_ROOT: 0x203000,
  TASK: 0x204000,
  SAVED_STACK: 0x205000,
  CLEAR_END: 0x206000,
  EVENT_STACK: 0x210000,
  USER_STACK: 0x218000,
  /** 256 pages that the table's first half maps. */
  PAGES: 0x220000,
  END: 0x400000,
  LOCAL_APIC: 0xfee00000,
} as const;

/** One test: its work counts down in R12, R13 sums up; `code` is called and returns. */
export interface EventTest {
  readonly name: string;
  readonly amount: number;
  readonly gates: readonly { readonly vector: number; readonly handler: string; readonly user?: boolean }[];
  readonly code: (label: string) => string;
}

const MAPPED = 0x40000000;
const UNMAPPED = MAPPED + 256 * 4096;
const FAULTING_PAGES = 64;
const firstEntry = EventMemory.TABLE + 256 * 8;
const [INVALID_OPCODE, PAGE_FAULT, SOFTWARE, MESSAGE, USER_SOFTWARE, LEAVE_USER] = [6, 14, 0x30, 0x40, 0x31, 0x3f];
const TO_SELF = 0x40000;

const userLoop = (label: string, body: string): string => `
  mov rdi, ${label}_user
  jmp run_user
${label}_user:
  ${body}
  dec r12
  jnz ${label}_user
  int ${LEAVE_USER}
`;

/** Four pages read, so that a forgotten translation costs what it costs. */
const readPages = [0, 1, 2, 3].map((page) => ` add r13, [rbx+${page * 4096}]`).join('\n');

/** The list, about half a second of QEMU's time each. */
export const eventTests: readonly EventTest[] = [
  {
    name: 'int',
    amount: 2_500_000,
    gates: [{ vector: SOFTWARE, handler: 'on_int' }],
    code: (label) => `
${label}_again:
  int ${SOFTWARE}
  dec r12
  jnz ${label}_again
  ret
on_int:
  inc r13
  iretq
`,
  },
  {
    name: 'int-user',
    amount: 2_000_000,
    gates: [{ vector: USER_SOFTWARE, handler: 'on_user_int', user: true }],
    code: (label) => `${userLoop(label, `int ${USER_SOFTWARE}`)}
on_user_int:
  inc r13
  iretq
`,
  },
  {
    name: 'ipi',
    amount: 750_000,
    gates: [{ vector: MESSAGE, handler: 'on_ipi' }],
    code: (label) => `
  mov ebx, ${EventMemory.LOCAL_APIC}
  sti
${label}_again:
  lea r14, [r13+1]
  mov dword ptr [rbx+0x300], ${TO_SELF | MESSAGE}
${label}_wait:
  cmp r13, r14
  jne ${label}_wait
  dec r12
  jnz ${label}_again
  cli
  ret
on_ipi:
  inc r13
  mov dword ptr [rbx+0xb0], 0
  iretq
`,
  },
  {
    name: 'ud',
    amount: 2_500_000,
    gates: [{ vector: INVALID_OPCODE, handler: 'on_ud' }],
    code: (label) => `
${label}_again:
  ud2
  dec r12
  jnz ${label}_again
  ret
on_ud:
  inc r13
  add qword ptr [rsp], 2
  iretq
`,
  },
  {
    name: 'pf',
    amount: 1_500_000,
    gates: [{ vector: PAGE_FAULT, handler: 'on_pf' }],
    code: (label) => `
  mov ebx, ${UNMAPPED}
${label}_again:
  mov eax, [rbx]                  ; two bytes
  dec r12
  jnz ${label}_again
  ret
on_pf:
  mov rax, cr2
  add r13, rax
  xor r13, [rsp]
  add rsp, 8
  add qword ptr [rsp], 2
  iretq
`,
  },
  {
    name: 'pf-map',
    amount: 10_000,
    gates: [{ vector: PAGE_FAULT, handler: 'on_pf_map' }],
    code: (label) => `
${label}_again:
  mov ebx, ${UNMAPPED}
  mov ecx, ${FAULTING_PAGES}
${label}_touch:
  add [rbx], rcx
  add rbx, 4096
  loop ${label}_touch
  mov ecx, ${FAULTING_PAGES}
  mov ebx, ${UNMAPPED}
  mov edi, ${firstEntry}
${label}_forget:
  mov qword ptr [rdi], 0
  invlpg [rbx]
  add edi, 8
  add rbx, 4096
  loop ${label}_forget
  dec r12
  jnz ${label}_again
  ret
on_pf_map:                        ; the page of the same number in the table's first half
  push rax
  push rdx
  mov rax, cr2
  add r13, rax
  shr rax, 12
  and eax, 255
  mov rdx, [rax*8+${EventMemory.TABLE}]
  mov [rax*8+${firstEntry}], rdx
  pop rdx
  pop rax
  add rsp, 8
  iretq
`,
  },
  {
    name: 'cr3',
    amount: 250_000,
    gates: [],
    code: (label) => `
  mov ebx, ${MAPPED}
  mov eax, ${Layout.PML4}
  mov edx, ${EventMemory.OTHER_ROOT}
${label}_again:
  mov cr3, rdx
${readPages}
  inc r13
  xchg rax, rdx
  dec r12
  jnz ${label}_again
  mov eax, ${Layout.PML4}
  mov cr3, rax
  ret
`,
  },
  {
    name: 'invlpg',
    amount: 3_000_000,
    gates: [],
    code: (label) => `
  mov ebx, ${MAPPED}
${label}_again:
  invlpg [rbx]
  add r13, [rbx]
  inc r13
  dec r12
  jnz ${label}_again
  ret
`,
  },
  {
    name: 'syscall',
    amount: 10_000_000,
    gates: [],
    code: (label) => `${userLoop(label, 'syscall')}
on_syscall:
  mov [${EventMemory.SAVED_STACK + 8}], rsp
  mov rsp, ${EventMemory.EVENT_STACK}
  push rcx
  push r11
  inc r13
  pop r11
  pop rcx
  mov rsp, [${EventMemory.SAVED_STACK + 8}]
  sysretq
`,
  },
];
