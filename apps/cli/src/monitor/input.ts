import type { ButtonName, InputEvent } from '@nestvm/devices/virtio';
import { UsageError } from '../errors.js';
import type { MonitorTarget } from './target.js';

/** Bits of `mouse_button`. */
const BUTTONS: readonly (readonly [bit: number, name: ButtonName])[] = [
  [1, 'left'],
  [2, 'middle'],
  [4, 'right'],
];

/** Reports what a person does; throws `UsageError` when the machine has no device for it. */
export function report(target: MonitorTarget, events: readonly InputEvent[]): void {
  if (events.length > 0 && !target.machine().input(events))
    throw new UsageError('this machine has no device for that; plug in virtio-mouse-pci or virtio-tablet-pci');
}

/** `mouse_move DX DY [DZ]`; throws `UsageError`. */
export function moveMouse(target: MonitorTarget, words: readonly string[]): void {
  const [dx, dy, wheel = 0] = words.map(Number);
  if (dx === undefined || dy === undefined || ![dx, dy, wheel].every(Number.isInteger)) throw new UsageError('write mouse_move DX DY [DZ]');
  // As in QEMU, a positive wheel turns towards the person.
  report(target, [{ kind: 'move', dx, dy }, ...(wheel === 0 ? [] : [{ kind: 'wheel', steps: -wheel } as const])]);
}

/** `mouse_button STATE`: which buttons are down. Throws `UsageError`. */
export function pressButtons(target: MonitorTarget, words: readonly string[]): void {
  const state = Number(words[0]);
  if (words[0] === undefined || !Number.isInteger(state) || state < 0 || state > 7)
    throw new UsageError('write mouse_button STATE; 1 is the left button, 2 the middle one, 4 the right one, or their sum');
  report(
    target,
    BUTTONS.map(([bit, button]) => ({ kind: 'button', button, down: (state & bit) !== 0 })),
  );
}
