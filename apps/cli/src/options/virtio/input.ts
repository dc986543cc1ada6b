import type { InputKind } from '@nestvm/devices/virtio';
import type { VirtioRow } from './row.js';

/** What a keyboard, mouse or tablet is told. */
export interface InputSpec {
  readonly kind: 'input';
  readonly input: InputKind;
  readonly serial?: string;
}

const row = (input: InputKind, help: string): VirtioRow<InputSpec> => ({
  stem: `virtio-${input}`,
  keys: ['serial'],
  help,
  modern: true,
  parse: (_option, values) => {
    const serial = values.get('serial');
    return { kind: 'input', input, ...(serial === undefined ? {} : { serial }) };
  },
});

/** `virtio-keyboard`, `virtio-mouse` and `virtio-tablet`. */
export const inputRows = [
  row('keyboard', 'a keyboard, for sendkey in the monitor'),
  row('mouse', 'a mouse, for mouse_move in the monitor'),
  row('tablet', 'a pointer with places on the screen, for input-send-event of QMP'),
] as const;
