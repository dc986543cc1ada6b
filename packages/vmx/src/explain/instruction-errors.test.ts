import { expect, it } from 'vitest';
import { createLevel, type Level, Place } from '../../test/level.js';
import { instructionErrors } from './instruction-errors.js';

const { DATA } = Place;
const OTHER = 0x2_4000;
const at = `[${DATA + 16}]`;

/** The explanation of the last refused instruction of L1's code. */
function refusal(level: Level, code: string): string {
  const told: string[] = [];
  level.vmx.onRefusal = (_cpu, explain) => void told.push(explain().join('\n'));
  level.host(code);
  return told.at(-1) ?? 'nothing';
}

function pointing(level: Level, address: number, high = 0): Level {
  level.memory.write32(DATA + 16, address);
  level.memory.write32(DATA + 20, high);
  return level;
}

it('has a text for every VM-instruction error of the manual', () => {
  const known = Object.keys(instructionErrors).map(Number);
  // 14, 21 and 27 do not exist.
  expect(known).toEqual(Array.from({ length: 28 }, (_, i) => i + 1).filter((number) => ![14, 21, 27].includes(number)));
});

it.each<[string, () => Level, string, RegExp[]]>([
  ['VMCALL', createLevel, 'vmcall', [/error 1: VMCALL executed in VMX root/, /nobody to call/]],
  ['a misaligned pointer', () => pointing(createLevel(), OTHER + 8), `vmclear qword ${at}`, [/VMCLEAR at/, /error 2:/, /bits 11:0 must be 0/]],
  ['a wide pointer', () => pointing(createLevel(), OTHER, 1 << 20), `vmptrld qword ${at}`, [/error 9:/, /beyond the \d+ of physical addresses/]],
  ['the VMXON region', () => pointing(createLevel(), Place.VMXON), `vmptrld qword ${at}`, [/error 10:/, /23000h is the VMXON region/]],
  [
    'a wrong revision',
    () => pointing(createLevel(), OTHER),
    `vmptrld qword ${at}`,
    [/error 11:/, /begins with 00000000h; IA32_VMX_BASIC\[30:0\]/, /hint: write/],
  ],
  ['no memory', () => pointing(createLevel(), 0xfee0_0000), `vmptrld qword ${at}`, [/error 11:/, /no memory at fee00000h|begins with ffffffffh/]],
  ['VMRESUME first', createLevel, 'vmresume', [/error 5:/, /launch state “clear”/, /VMLAUNCH/]],
  ['an unknown field', createLevel, 'mov eax, 0x6666\nvmread rbx, rax', [/error 12:/, /6666h is the encoding of no field/]],
  [
    'a field that the model lacks',
    () => createLevel('Haswell,vmx=on'),
    'mov eax, 0x2042\nvmwrite rax, rbx',
    [/error 12:/, /PID-pointer table/, /this CPU model does not offer/],
  ],
  ['a bad INVEPT', createLevel, `mov eax, 7\ninvept rax, ${at}`, [/error 28:/, /type is 00000000_00000007h/]],
  ['VMXON twice', createLevel, `vmxon qword [${DATA}]`, [/error 15:/]],
  ['no current VMCS', createLevel, `vmclear qword [${DATA + 8}]\nvmread rbx, rax`, [/VMfailInvalid/, /no current VMCS/]],
  ['VMXON without a revision', () => pointing(createLevel('host', false), OTHER), `vmxon qword ${at}`, [/VMfailInvalid/, /begins with 00000000h/]],
  ['VMX that is off', () => createLevel('host', false), 'vmptrst [0x36000]', [/#UD/, /not in VMX operation: VMXON comes first/]],
  [
    'VMXON without VMXE',
    () => createLevel('host', false),
    `mov rax, cr4\nbtr rax, 13\nmov cr4, rax\nvmxon qword [${DATA}]`,
    [/#UD/, /VMXE \(bit 13\) must be 1/],
  ],
])('explains %s', (_name, create, code, expected) => {
  const told = refusal(create(), code);
  for (const pattern of expected) expect(told).toMatch(pattern);
});

it('VMRESUME after VMXOFF and VMXON is error 6, until VMCLEAR', () => {
  const level = createLevel();
  level.guest((a) => a.text('vmcall'));
  level.enter();
  const told = refusal(level, `vmxoff\nvmxon qword [${DATA}]\nvmptrld qword [${DATA + 8}]\nvmresume`);
  expect(told).toMatch(/error 6: VMRESUME after VMXOFF/);
  expect(told).toMatch(/VMCLEAR every VMCS/);
});
