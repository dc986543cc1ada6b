import { buildModule, defineFunction } from '@nestvm/emit';

const sum = defineFunction('sum', { params: ['i32'], results: ['i32'] }, (c) => {
  const left = c.variable(c.param(0, 32));
  const total = c.variable(c.constant(32, 0));
  c.while(() => left.get().isNonzero(), () => {
    total.set(total.get().add(left.get()));
    left.set(left.get().sub(1));
  });
  c.return(total.get());
});
const bytes = buildModule({ frame: { memoryPages: 1, memoryMaximum: 1 }, functions: [sum] });
const memory = new WebAssembly.Memory({ initial: 1, maximum: 1 });
const { exports } = new WebAssembly.Instance(new WebAssembly.Module(bytes), { env: { memory } });
console.log((exports['sum'] as (n: number) => number)(100));
