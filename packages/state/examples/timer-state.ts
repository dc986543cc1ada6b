import { array, derived, struct, u16, u32, u64 } from '@nestvm/state';

const timerState = struct('timer', 1, {
  control: u16,
  deadlineNs: u64,
  latches: array(u32, 3),
  cachedRate: derived(u32),
});

const memory = new DataView(new ArrayBuffer(timerState.size));
memory.setBigUint64(timerState.offset.deadlineNs, 1_000n, true);
console.log(timerState.offset, timerState.size);
console.log(Object.entries(timerState.fields).filter(([, field]) => !field.derived).map(([name]) => name));
