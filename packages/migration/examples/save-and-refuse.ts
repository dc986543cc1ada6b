import { createMemorySink, createMemorySource, L2ActiveError, loadSnapshot, type MigratableMachine, saveSnapshot } from '@nestvm/migration';
import { stateful } from '@nestvm/state';

/** A machine of one unit; `@nestvm/machine` makes real ones. */
function createToy(seconds: number, l2: 'off' | 'resident' = 'off') {
  let time = seconds;
  const clock = stateful({ version: 1, save: () => time, load: (saved) => void (time = Number(saved)) });
  const context = {
    cpu: 0,
    pa: 0x7000,
    kind: 'vmcs',
    entries: 3,
    lastEntryAgoNs: 2e6,
    lastExit: 'HLT',
    root: 0x8000,
    why: 'It is launched.',
  } as const;
  const machine: MigratableMachine = {
    configuration: () => ({ model: 'toy' }),
    mismatches: () => [],
    units: () => new Map([['clock', clock]]),
    ram: () => [{ name: 'ram', bytes: new Uint8Array(4096) }],
    nested: { inspect: () => [{ ...context, class: l2, clearsWhen: 'VMCLEAR clears it.' }] },
    forgetCaches: () => {},
  };
  return { machine, time: () => time };
}

const sink = createMemorySink();
await saveSnapshot(createToy(42).machine, sink);
const target = createToy(0);
await loadSnapshot(target.machine, () => createMemorySource(sink.bytes()));
console.log(target.time());
try {
  await saveSnapshot(createToy(1, 'resident').machine, sink);
} catch (error) {
  if (error instanceof L2ActiveError) console.log(error.code, error.contexts.length);
}
