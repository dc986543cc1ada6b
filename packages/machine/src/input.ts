import type { I8042 } from '@nestvm/devices/platform';
import { type InputEvent, VirtioInput } from '@nestvm/devices/virtio';

/** Bits of the buttons of a PS/2 mouse. */
const PS2_BUTTONS: Readonly<Record<string, number>> = { left: 1, right: 2, middle: 4 };

/** Sends what a person does to the device that is for it: a virtio device when the guest uses one, otherwise keyboard and mouse of the board. */
export class InputRouter {
  private buttons = 0;

  constructor(
    private readonly devices: () => readonly { readonly device: object }[],
    private readonly controller: I8042 | undefined,
  ) {}

  /** What happens, in this order; false when no device is for any of them. */
  send(events: readonly InputEvent[]): boolean {
    let taken = false;
    for (const event of events) taken = this.toVirtio(event) || this.toController(event) || taken;
    return taken;
  }

  private toVirtio(event: InputEvent): boolean {
    return this.devices().some(({ device }) => device instanceof VirtioInput && device.running && device.report([event]));
  }

  private toController(event: InputEvent): boolean {
    const { controller } = this;
    if (controller === undefined) return false;
    const { keyboard, mouse } = controller;
    switch (event.kind) {
      case 'key':
        return event.down ? keyboard.press(event.key) : keyboard.release(event.key);
      case 'button': {
        const bit = PS2_BUTTONS[event.button] ?? 0;
        this.buttons = event.down ? this.buttons | bit : this.buttons & ~bit;
        mouse.move(0, 0, 0, this.buttons);
        return bit !== 0;
      }
      case 'move':
        mouse.move(event.dx, event.dy, 0, this.buttons);
        return true;
      case 'wheel':
        // A PS/2 wheel counts towards the person.
        mouse.move(0, 0, -event.steps, this.buttons);
        return true;
      default:
        return false;
    }
  }
}
