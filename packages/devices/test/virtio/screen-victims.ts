import { type FileBackend, VirtioFiles, VirtioGraphics, VirtioInput } from '../../src/virtio/index.js';
import type { Victim } from './hostile.js';

type Below = (limit: number) => number;

/** Answers messages with themselves; those of a real server are tried in its own package. */
const echo: FileBackend = {
  exchange: (exchange) => {
    const bytes = new Uint8Array(Math.min(exchange.readableBytes, 0x1000));
    return exchange.read(0, bytes) < 7 ? 0 : exchange.write(0, bytes);
  },
  reset: () => {},
  save: () => null,
  load: () => {},
};

const COMMANDS = [0x100, 0x101, 0x102, 0x103, 0x104, 0x105, 0x106, 0x107, 0x10a, 0x300, 0x301];

/** A command whose fields are mostly small. */
function graphicsRequest(below: Below) {
  const words = Uint32Array.from({ length: 16 }, (_, i) =>
    i > 0 ? (below(20) === 0 ? below(2 ** 32) : below(4)) : COMMANDS[below(COMMANDS.length)]!,
  );
  return { queue: below(5) === 0 ? 1 : 0, readable: below(20) === 0 ? [] : [new Uint8Array(words.buffer)], rooms: [below(20) === 0 ? 8 : 1200] };
}

/** Shared folders, input, graphics. */
export const screenVictims: Readonly<Record<string, (packed: boolean) => Victim>> = {
  '9p': (packed) => ({
    device: new VirtioFiles({ server: echo, tag: 'share', packed }),
    honest: (below) => ({ queue: 0, readable: [new Uint8Array(below(60))], rooms: [below(60)] }),
  }),
  input: (packed) => {
    const device = new VirtioInput({ kind: 'tablet', packed });
    return {
      device,
      honest: (below) =>
        below(2) === 0
          ? { queue: 0, readable: [], rooms: [below(20) === 0 ? 4 : 8] }
          : { queue: 1, readable: [new Uint8Array(below(20))], rooms: [] },
      host: (below) => void device.report([{ kind: 'place', x: below(0x8000), y: below(0x8000) }]),
    };
  },
  gpu: (packed) => {
    const device = new VirtioGraphics({ width: 64, height: 48, mostBytes: 2 ** 20, packed });
    return {
      device,
      honest: graphicsRequest,
      host: (below) => (below(3) === 0 ? device.resize(1 + below(2000), 1 + below(2000)) : void device.picture()),
    };
  },
};
