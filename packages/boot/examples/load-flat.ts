import { buildE820, kernelFormat, loadFlat, topOfLowRam } from '@nestvm/boot';

const e820 = buildE820({ below4G: 64 << 20, above4G: 0 });
const file = { name: 'hello.bin', bytes: Uint8Array.of(0xf4) };
console.log(kernelFormat(file), topOfLowRam(e820).toString(16));

const plan = loadFlat({ file, address: 0x10_0000, mode: 'long', e820 });
for (const { name, address, bytes } of plan.writes) console.log(name, address.toString(16), bytes.length);
console.log(plan.entry.mode, plan.entry.rip.toString(16));
