import { opcodeRows, vcpuState } from '@nestvm/isa';
import { cpuidLeaf, parseCpu } from '@nestvm/isa/models';

const privileged = opcodeRows.filter((row) => row.cpl0 && row.sensitive !== null);
console.log(`${opcodeRows.length} rows, ${privileged.length} of them privileged and interceptable`);
console.log(`RIP is at byte ${vcpuState.offset.rip} of ${vcpuState.size}`);

const cpu = parseCpu('Haswell,-avx2', { sockets: 1, cores: 2, threads: 1 });
const state = { apicId: 0, apicEnabled: true, cr4: 0, xcr0: 1, xss: 0, limitMaximum: false };
console.log(cpu.has('avx2'), cpu.missing, cpuidLeaf(cpu, 1, 0, state).eax.toString(16));
