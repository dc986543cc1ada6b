import { type ConsolePort, VirtioConsole } from '@nestvm/devices/virtio';
import type { CharacterLine } from '../characters/line.js';
import { UsageError } from '../errors.js';
import type { VirtioSpec } from '../options/virtio.js';
import type { VirtioContext } from './context.js';

/** A console device with its ports on character devices. */
export function createConsole(spec: Extract<VirtioSpec, { kind: 'console' }>, name: string, { characters }: VirtioContext): VirtioConsole {
  if (spec.ports.length === 0)
    throw new UsageError(`-device virtio-serial: it has no ports; add -device virtconsole,chardev=ID or -device virtserialport,chardev=ID,name=N`);
  const ports: (ConsolePort | null)[] = Array.from({ length: Math.max(...spec.ports.map(({ number }) => number)) + 1 }, () => null);
  const lines: (readonly [number, CharacterLine])[] = [];
  for (const { number, console, to, name: portName } of spec.ports) {
    const line = characters.line(`-device ${console ? 'virtconsole' : 'virtserialport'}`, to);
    ports[number] = { console, write: (bytes) => line?.write(bytes), ...(portName === undefined ? {} : { name: portName }) };
    if (line) lines.push([number, line]);
  }
  const device = new VirtioConsole({ name, ports, packed: spec.packed, ...characters.terminalSize });
  for (const [number, line] of lines) {
    line.onInput = (bytes) => device.receive(number, bytes);
    line.onRoom = () => device.resumePort(number);
  }
  if (spec.ports.some(({ to }) => to.kind === 'stdio')) characters.onResize((columns, rows) => device.resize(columns, rows));
  return device;
}
