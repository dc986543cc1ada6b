import type { GuestImage } from './image.js';
import { buildImage, Texts } from './image.js';
import { ramBytes } from './layout.js';
import { broken, CONTROLS, HOST_AREAS, svmSetUp, vmxSetUp } from './pair.js';
import { processorsText, START_UP } from './processors.js';
import { Vmcb } from './svm-vmcb.js';
import { Field } from './vmx-fields.js';

/** How far the second processor has come, and what the first asks it for. */
const SEEN = 0x175000;
const ASKED = 0x175008;

/** Waits until the second processor has come so far. */
const wait = (label: string, seen: number): string => `${label}:\n pause\n cmp dword ptr [${SEEN}], ${seen}\n jne ${label}`;

/** What both vendors' programs share: the first processor signals, the second runs a guest that does nothing. */
const common = (texts: Texts, first: string): string => `
main:
  xor r14d, r14d
  mov rdi, ${HOST_AREAS}
  mov ecx, 0xc00                  ; six pages
  xor eax, eax
  rep stosq
  ${texts.say('INIT and start-up IPIs for a guest')}
  call newline
  call start_second
  call barrier
  mov ecx, 10000                  ; the guest runs by now, or nearly
.delay:
  pause
  loop .delay
  call send_init
  ${wait('.init', 1)}
  ${texts.say('INIT was an exit')}
  call newline
  ${first}
  xor eax, eax
  jmp power_off
${broken(texts)}
first_registers:
  ret
guest_code:
  pause
  jmp guest_code
`;

const VECTOR = 0x9a;
const INIT_EXIT = 3;
const SIPI_EXIT = 4;
const WAIT_FOR_SIPI = 3;

const onReason = (reason: number): string => `mov edx, ${Field.EXIT_REASON}\n vmread rax, rdx\n cmp eax, ${reason}\n jne broken`;

/** In VMX the guest's virtual processor waits for its start-up IPI in place of the real one, and INIT waits while the hypervisor runs. */
const vmxSecond = `
second_main:
  mov ebx, 1
  xor r14d, r14d
  call switch_on
  call make_guest
  mov eax, ebx
  call control_of
  push rax
  vmptrld qword ptr [rsp]
  mov edx, ${Field.HOST_RSP}
  vmwrite rdx, rsp
  call barrier
  vmlaunch
  jmp broken
vmx_exit:
  mov eax, [${SEEN}]
  cmp eax, 1
  je .started
  cmp eax, 3
  je .again
  ${onReason(INIT_EXIT)}
  mov edx, ${Field.ACTIVITY}
  mov eax, ${WAIT_FOR_SIPI}
  vmwrite rdx, rax
  inc dword ptr [${SEEN}]
  vmresume
  jmp broken
.started:
  ${onReason(SIPI_EXIT)}
  mov edx, ${Field.EXIT_QUALIFICATION}
  vmread rax, rdx
  cmp rax, ${VECTOR}
  jne broken
  mov edx, ${Field.ACTIVITY}
  xor eax, eax
  vmwrite rdx, rax
  inc dword ptr [${SEEN}]
.blocked:                         ; an INIT comes here, and is blocked
  pause
  cmp dword ptr [${ASKED}], 0
  je .blocked
  inc dword ptr [${SEEN}]
  vmresume
  jmp broken
.again:
  ${onReason(INIT_EXIT)}
  inc dword ptr [${SEEN}]
.end:
  hlt
  jmp .end
`;

const vmxFirst = (texts: Texts): string => `
.start:                           ; it may not wait yet: again
  mov eax, ${0x600 | VECTOR}
  call send_ipi
  pause
  cmp dword ptr [${SEEN}], 2
  jne .start
  ${texts.say('the start-up IPI was an exit')}
  call newline
  call send_init
  mov dword ptr [${ASKED}], 1
  ${wait('.blocked', 4)}
  ${texts.say('INIT waited for the hypervisor')}
  call newline
`;

const SVM_INIT_EXIT = 0x63;

/** In SVM an INIT that is intercepted stays pending, and restarts the processor that runs the hypervisor when that sets GIF. */
const svmSecond = `
second_main:
  cmp dword ptr [${SEEN}], 1
  je .restarted
  mov ebx, 1
  xor r14d, r14d
  call switch_on
  call make_guest
  mov rdi, ${CONTROLS + 0x1000}
  or dword ptr [rdi+${Vmcb.INTERCEPTS_1}], ${1 << (SVM_INIT_EXIT & 31)}
  call barrier
  mov rax, rdi
  vmrun
  cmp qword ptr [rdi+${Vmcb.EXIT_CODE}], ${SVM_INIT_EXIT}
  jne broken
  inc dword ptr [${SEEN}]
  stgi
  jmp broken
.restarted:
  inc dword ptr [${SEEN}]
.end:
  hlt
  jmp .end
`;

const svmFirst = (texts: Texts): string => `
.start:
  mov eax, ${START_UP}
  call send_ipi
  mov ecx, 10000
.pause:
  pause
  loop .pause
  cmp dword ptr [${SEEN}], 2
  jne .start
  ${texts.say('the processor was restarted')}
  call newline
`;

function image(name: string, first: (texts: Texts) => string, second: string): GuestImage {
  const texts = new Texts();
  return buildImage(name, [common(texts, first(texts)), processorsText, second].join('\n'), texts, ramBytes(1));
}

/** INIT and start-up IPIs from one processor to a VMX guest on another. */
export const vmxSignalsImage = (): GuestImage => image('nestvm-vmx-signals', vmxFirst, vmxSetUp + vmxSecond);
/** INIT from one processor to an SVM guest on another. */
export const svmSignalsImage = (): GuestImage => image('nestvm-svm-signals', svmFirst, svmSetUp + svmSecond);
