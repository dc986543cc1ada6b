import type { ButtonName, InputEvent } from '@nestvm/devices/virtio';
import { report } from '../monitor/input.js';
import { keyCode } from '../monitor/keys.js';
import type { MonitorTarget } from '../monitor/target.js';
import type { QmpArguments } from './arguments.js';
import { QmpError } from './errors.js';

const BUTTONS: ReadonlySet<string> = new Set<ButtonName>(['left', 'middle', 'right', 'side', 'extra']);

type Data = Readonly<Record<string, unknown>>;

const wrong = (what: string): QmpError => new QmpError('GenericError', `events: ${what}`);

/** A key as a name or a number; numbers are not taken. */
function keyOf(key: unknown): string {
  const { type, data } = (key ?? {}) as Data;
  if (type !== 'qcode' || typeof data !== 'string')
    throw wrong("write {'type': 'key', 'data': {'down': true, 'key': {'type': 'qcode', 'data': NAME}}}");
  return keyCode(data);
}

function axisOf({ axis, value }: Data): { horizontal: boolean; value: number } {
  if ((axis !== 'x' && axis !== 'y') || typeof value !== 'number' || !Number.isInteger(value))
    throw wrong("an axis is 'x' or 'y', with a whole value");
  return { horizontal: axis === 'x', value };
}

function buttonOf({ button, down }: Data): InputEvent[] {
  if (button === 'wheel-up' || button === 'wheel-down') return down === true ? [{ kind: 'wheel', steps: button === 'wheel-up' ? 1 : -1 }] : [];
  if (typeof button !== 'string' || !BUTTONS.has(button))
    throw wrong(`button '${String(button)}'; there are ${[...BUTTONS].join(', ')}, wheel-up, wheel-down`);
  return [{ kind: 'button', button: button as ButtonName, down: down === true }];
}

function eventsOf(given: unknown): InputEvent[] {
  const { type, data } = (given ?? {}) as { readonly type?: unknown; readonly data?: Data };
  const fields = data ?? {};
  switch (type) {
    case 'key':
      return [{ kind: 'key', key: keyOf(fields['key']), down: fields['down'] === true }];
    case 'btn':
      return buttonOf(fields);
    case 'rel': {
      const { horizontal, value } = axisOf(fields);
      return [{ kind: 'move', dx: horizontal ? value : 0, dy: horizontal ? 0 : value }];
    }
    case 'abs': {
      const { horizontal, value } = axisOf(fields);
      return [{ kind: 'place', ...(horizontal ? { x: value } : { y: value }) }];
    }
    default:
      throw wrong(`type '${String(type)}'; there are key, btn, rel, abs`);
  }
}

/** `input-send-event`; throws `QmpError`, and `UsageError` when no device takes it. */
export function sendEvents(target: MonitorTarget, given: QmpArguments): void {
  const list = given['events'];
  if (!Array.isArray(list)) throw new QmpError('GenericError', "Invalid parameter type for 'events', expected: array");
  report(target, list.flatMap(eventsOf));
}
