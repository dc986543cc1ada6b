import { Axis, buttons, EventType, InputProperty, keyNumbers, MOST_POSITION } from './registers.js';

/** What a kind of input device can say. */
export interface InputProfile {
  readonly title: string;
  /** Number of the product in its identity. */
  readonly product: number;
  readonly properties: readonly number[];
  /** Codes by event type. */
  readonly codes: Readonly<Record<number, readonly number[]>>;
  /** Greatest position on each absolute axis. */
  readonly positions: Readonly<Record<number, number>>;
}

const MOUSE_BUTTONS = Object.values(buttons);

/** The kinds of input devices. */
export const inputProfiles = {
  keyboard: {
    title: 'Nestvm virtio keyboard',
    product: 1,
    properties: [],
    codes: { [EventType.KEY]: [...keyNumbers.values()], [EventType.LED]: [0, 1, 2], [EventType.REP]: [0, 1] },
    positions: {},
  },
  mouse: {
    title: 'Nestvm virtio mouse',
    product: 2,
    properties: [InputProperty.POINTER],
    codes: { [EventType.KEY]: MOUSE_BUTTONS, [EventType.REL]: [Axis.X, Axis.Y, Axis.WHEEL] },
    positions: {},
  },
  tablet: {
    title: 'Nestvm virtio tablet',
    product: 3,
    properties: [InputProperty.POINTER],
    codes: { [EventType.KEY]: MOUSE_BUTTONS, [EventType.REL]: [Axis.WHEEL], [EventType.ABS]: [Axis.X, Axis.Y] },
    positions: { [Axis.X]: MOST_POSITION, [Axis.Y]: MOST_POSITION },
  },
} as const satisfies Readonly<Record<string, InputProfile>>;

/** A kind of input device. */
export type InputKind = keyof typeof inputProfiles;
