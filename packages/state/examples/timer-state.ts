import { array, derived, loadStruct, saveStruct, struct, u16, u32, u64, viewStruct } from '@nestvm/state';

const timerState = struct('timer', 1, {
  control: u16,
  deadlineNs: u64,
  latches: array(u32, 3),
  cachedRate: derived(u32),
});
const memory = new ArrayBuffer(2 * timerState.size);
const timer = viewStruct(timerState, memory, 0);
timer.deadlineNs = 1_000n;
timer.latches.set(2, 7);

loadStruct(timerState, memory, timerState.size, saveStruct(timerState, memory, 0));
console.log(timerState.offset, viewStruct(timerState, memory, timerState.size).latches.get(2));
