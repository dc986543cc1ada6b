import { type ConsolePort, VirtioConsole } from '@nestvm/devices/virtio';
import type { CharacterLine } from '../characters/line.js';
import type { PortSpec } from '../options/virtio/console.js';
import type { VirtioSpec } from '../options/virtio.js';
import type { VirtioContext } from './context.js';

/** A port on its character device. */
interface MadePort {
  readonly port: ConsolePort;
  /** Lets what comes from outside go to the device. */
  readonly connect: (device: VirtioConsole) => void;
}

function createPort({ number, console, to, name }: PortSpec, { characters, onClose }: VirtioContext): MadePort {
  const line: CharacterLine | null = characters.line(`-device ${console ? 'virtconsole' : 'virtserialport'}`, to);
  onClose(() => characters.giveBack(to));
  return {
    port: { console, write: (bytes) => line?.write(bytes), ...(name === undefined ? {} : { name }) },
    connect: (device) => {
      if (!line) return;
      line.onInput = (bytes) => device.receive(number, bytes);
      line.onRoom = () => device.resumePort(number);
    },
  };
}

/** A console device with its ports on character devices. */
export function createConsole(spec: Extract<VirtioSpec, { kind: 'console' }>, name: string, context: VirtioContext): VirtioConsole {
  const { characters } = context;
  // Without ports it has room for those that `device_add` brings.
  const places = spec.room || spec.ports.length === 0 ? spec.mostPorts : Math.max(...spec.ports.map(({ number }) => number)) + 1;
  const ports: (ConsolePort | null)[] = Array.from({ length: places }, () => null);
  const made = spec.ports.map((port) => {
    const one = createPort(port, context);
    ports[port.number] = one.port;
    return one;
  });
  const device = new VirtioConsole({ name, ports, packed: spec.packed, ...characters.terminalSize });
  for (const { connect } of made) connect(device);
  if (spec.ports.some(({ to }) => to.kind === 'stdio')) characters.onResize((columns, rows) => device.resize(columns, rows));
  return device;
}

/** Puts one more port into a console device; throws `UsageError` and `DeviceError`. */
export function plugPort(device: VirtioConsole, spec: PortSpec, context: VirtioContext): void {
  const { port, connect } = createPort(spec, context);
  device.plug(spec.number, port);
  connect(device);
}
