import { Layout, Variable } from './layout.js';
import { count } from './levels.js';
import { exitFields, Field, guestFields } from './vmx-fields.js';

/**
 * Place of a field in the guest's VMCS, which is ours to lay out: by width, type and index, as the field's number is built. The revision
 * in the first four bytes stands where the VPID would be, which is ours alone to choose.
 */
const slot = (field: number): number => ((((field >> 13) & 3) * 4 + ((field >> 10) & 3)) * 32 + ((field >> 1) & 31)) * 8;

const fieldTable = (label: string, fields: readonly number[]): string => `
${label}:
${fields.map((field) => `  dd ${field}, ${slot(field)}`).join('\n')}
  dd -1
`;

const copies = `
fields_to_vmcs:                   ; rsi: table; from the guest's fields to the current VMCS
  mov rdi, [${Variable.GUEST_BLOCK}]
.next:
  mov edx, [rsi]
  cmp edx, -1
  je .done
  mov eax, [rsi+4]
  mov rax, [rdi+rax]
  vmwrite rdx, rax
  add rsi, 8
  jmp .next
.done:
  ret
fields_from_vmcs:                 ; rsi: table; the other way
  mov rdi, [${Variable.GUEST_BLOCK}]
.next:
  mov edx, [rsi]
  cmp edx, -1
  je .done
  vmread rax, rdx
  mov ecx, [rsi+4]
  mov [rdi+rcx], rax
  add rsi, 8
  jmp .next
.done:
  ret
`;

/** VMREAD and VMWRITE with register operands, as this program uses them. */
const readAndWrite = `
field_operand:                    ; rcx: address of the saved register of the operand, rdi: of the field that the other one names
  mov edx, ${Field.INSTRUCTION_INFO}
  vmread rdx, rdx
  mov ecx, edx
  shr ecx, 3
  and ecx, 15
  lea rcx, [rcx*8+${Layout.REGISTERS}]
  shr edx, 28
  mov rdx, [rdx*8+${Layout.REGISTERS}]
  mov edi, edx                    ; width and type, 16 × 32 slots
  shr edi, 10
  mov eax, edi
  and edi, 3
  shr eax, 1
  and eax, 12
  or edi, eax
  shl edi, 5
  shr edx, 1
  and edx, 31
  or edi, edx
  shl edi, 3
  add rdi, [${Variable.GUEST_BLOCK}]
  ret
save_rsp:                         ; the guest's RSP among the saved registers
  mov edx, ${Field.GUEST_RSP}
  vmread rax, rdx
  mov [${Layout.REGISTERS + 32}], rax
  ret
pointer_operand:                  ; rax: the pointer in memory that the instruction names
  call save_rsp
  mov edx, ${Field.EXIT_QUALIFICATION}
  vmread rdi, rdx                 ; the displacement
  mov edx, ${Field.INSTRUCTION_INFO}
  vmread rdx, rdx
  bt edx, 27
  jc .no_base
  mov ecx, edx
  shr ecx, 23
  and ecx, 15
  add rdi, [rcx*8+${Layout.REGISTERS}]
.no_base:
  bt edx, 22
  jc .no_index
  mov eax, edx
  shr eax, 18
  and eax, 15
  mov rax, [rax*8+${Layout.REGISTERS}]
  mov ecx, edx
  and ecx, 3
  shl rax, cl
  add rdi, rax
.no_index:
  mov rax, [rdi+${Layout.CHILD_BASE}]
  ret
on_vmread:
  ${count('state')}
  call field_operand
  mov rax, [rdi]
  mov [rcx], rax
  jmp succeed
on_vmwrite:
  ${count('state')}
  call save_rsp
  call field_operand
  mov rax, [rcx]
  mov [rdi], rax
  jmp succeed
on_vmptrld:                       ; the guest's current VMCS
  call pointer_operand
  add rax, ${Layout.CHILD_BASE}
  mov [${Variable.GUEST_BLOCK}], rax
on_nothing:                       ; VMXON, VMCLEAR: nothing to be done
  ${count('state')}
  jmp succeed
on_invept:                        ; the EPT is composed anew before the next entry
  ${count('state')}
  mov qword ptr [${Variable.GUEST_ROOT}], 0
succeed:                          ; VMsucceed: CF PF AF ZF SF OF clear
  mov edx, ${Field.GUEST_RFLAGS}
  vmread rax, rdx
  and rax, ${~0x8d5}
  vmwrite rdx, rax
  jmp resume
`;

/** What was cached for the composed tables goes. */
const dropComposed = (eptPointerBits: number): string => `
  push 0
  push ${Layout.NESTED_02 + eptPointerBits}
  mov eax, 1
  invept rax, xmmword ptr [rsp]
  add rsp, 16
`;

const entry = ({ eptPointerBits, interrupt, window, shadow }: NestedOptions): string => `
on_entry:                         ; VMLAUNCH, VMRESUME: the guest's guest runs under our VMCS for it
  ${count('entry')}
  cmp qword ptr [${Variable.PENDING}], 0
  je .free
  mov rdi, [${Variable.GUEST_BLOCK}]            ; a tick waits for the guest: its guest does not begin
  mov qword ptr [rdi+${slot(Field.EXIT_REASON)}], ${interrupt}
  jmp leave
.free:
  mov r9, ${Layout.CONTROL_02}
  cmp qword ptr [${Variable.LAUNCHED_02}], -1
  jne .made
  call make_control
  ${shadow ? '' : `mov edx, ${Field.EPT_POINTER}\n mov rax, ${Layout.NESTED_02 + eptPointerBits}\n vmwrite rdx, rax`}
  mov qword ptr [${Variable.LAUNCHED_02}], 0
.made:
  call load_control
  mov rsi, guest_fields
  call fields_to_vmcs
  mov rsi, entry_fields
  call fields_to_vmcs
  mov edx, ${Field.PROCESSOR_CONTROLS}     ; an exit when the guest's guest can take interrupts, if the guest asks for it
  vmread rax, rdx
  and eax, ${~window}
  mov rdi, [${Variable.GUEST_BLOCK}]
  mov ecx, [rdi+${slot(Field.PROCESSOR_CONTROLS)}]
  and ecx, ${window}
  or eax, ecx
  vmwrite rdx, rax
  mov rax, [rdi+${slot(shadow ? Field.GUEST_CR3 : Field.EPT_POINTER)}]
  cmp rax, [${Variable.GUEST_ROOT}]
  je .composed
  mov [${Variable.GUEST_ROOT}], rax
  call compose
  ${shadow ? '' : dropComposed(eptPointerBits)}
.composed:
  ${shadow ? `mov edx, ${Field.GUEST_CR3}\n mov eax, ${Layout.NESTED_02}\n vmwrite rdx, rax` : ''}
  mov qword ptr [${Variable.NESTED}], 1
  jmp enter
`;

const reflection = (shadow: boolean): string => `
reflect:                          ; the guest's guest has exited: the guest, which is this same program, has exits for all that we do
  ${count('nested')}
  mov rsi, guest_fields
  call fields_from_vmcs
  mov rsi, exit_fields
  call fields_from_vmcs
  mov rdi, [${Variable.GUEST_BLOCK}]
  and dword ptr [rdi+${slot(Field.ENTRY_INTERRUPTION)}], 0x7fffffff
  ${shadow ? `mov rax, [${Variable.GUEST_ROOT}]\n mov [rdi+${slot(Field.GUEST_CR3)}], rax` : ''}
leave:
  mov r9, ${Layout.CONTROL_01}
  call load_control
  mov rdi, [${Variable.GUEST_BLOCK}]
  ; The guest's host state is the state it entered with but for these.
  mov edx, ${Field.GUEST_RIP}
  mov rax, [rdi+${slot(Field.HOST_RIP)}]
  vmwrite rdx, rax
  mov edx, ${Field.GUEST_RSP}
  mov rax, [rdi+${slot(Field.HOST_RSP)}]
  vmwrite rdx, rax
  ${shadow ? '' : `mov edx, ${Field.GUEST_CR3}\n mov rax, [rdi+${slot(Field.HOST_CR3)}]\n vmwrite rdx, rax`}
  mov edx, ${Field.GUEST_RFLAGS}
  mov eax, 2
  vmwrite rdx, rax
  mov qword ptr [${Variable.NESTED}], 0
  jmp enter
`;

/** What the two parts of the VMX hypervisor must agree on. */
export interface NestedOptions {
  readonly eptPointerBits: number;
  /** Exit reason of an external interrupt. */
  readonly interrupt: number;
  /** Interrupt-window exiting, among the processor controls. */
  readonly window: number;
  readonly shadow: boolean;
}

/** Virtualization for the guest: the VMX instructions that it executes, and the exits of its own guest. */
export const nestedText = (options: NestedOptions): string =>
  [
    readAndWrite,
    copies,
    entry(options),
    reflection(options.shadow),
    fieldTable(
      'guest_fields',
      guestFields.map(({ field }) => field),
    ),
    fieldTable('entry_fields', [Field.ENTRY_INTERRUPTION, Field.ENTRY_ERROR, Field.ENTRY_LENGTH]),
    fieldTable('exit_fields', exitFields),
  ].join('\n');
