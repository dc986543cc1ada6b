import { buildModule, type Code, defineFunction } from '@nestvm/emit';

const writeSum = (c: Code): void => {
  const left = c.variable(c.param(0, 32));
  const total = c.variable(c.constant(32, 0));
  c.loop((again) => {
    total.set(total.get().add(left.get()));
    left.set(left.get().sub(1));
    again(left.get().isNonzero());
  });
  c.return(total.get());
};
const sum = defineFunction('sum', { params: ['i32'], results: ['i32'] }, writeSum);
const bytes = buildModule({ frame: { memoryPages: 1, memoryMaximum: 1 }, functions: [sum] });
console.log(WebAssembly.validate(bytes));

const memory = new WebAssembly.Memory({ initial: 1, maximum: 1 });
const { exports } = new WebAssembly.Instance(new WebAssembly.Module(bytes), { env: { memory } });
console.log((exports['sum'] as (n: number) => number)(100));
