import { ByteWriter, ModuleBuilder, NUMERIC } from '@nestvm/wasm';

const code = new ByteWriter();
code.bytes([0x20, 0, 0x20, 1]);
code.byte(NUMERIC['i32.add'].opcode);
code.byte(0x0b);

const module = new ModuleBuilder();
const add = module.addFunction({ params: ['i32', 'i32'], results: ['i32'] }, { locals: [], code: code.take() });
module.exportFunction('add', add);

const { exports } = new WebAssembly.Instance(new WebAssembly.Module(module.toBytes()));
console.log((exports['add'] as (a: number, b: number) => number)(40, 2));
