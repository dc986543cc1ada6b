import { describe, expect, it } from 'vitest';
import {
  type BlockBackend,
  MemoryDisk,
  type NetworkBackend,
  ScsiCd,
  ScsiDisk,
  VirtioBalloon,
  VirtioBlock,
  VirtioConsole,
  VirtioEntropy,
  VirtioNetwork,
  VirtioScsi,
  VirtioVsock,
  VsockStreams,
} from '../../src/virtio/index.js';
import { Bench, ways } from './bench.js';
import { Hostile, type Victim } from './hostile.js';
import { screenVictims } from './screen-victims.js';

/** Operations for each device on each of the five ways: in all a million and more for each device in the nightly tier. */
const OPERATIONS = Number(globalThis.process?.env['NESTVM_VIRTIO_FUZZ'] ?? 20_000);

type Below = (limit: number) => number;

/** Little-endian words, some of them random, as one part. */
const words = (...values: number[]): Uint8Array => new Uint8Array(Uint32Array.from(values).buffer);
const noise = (below: Below, length: number): Uint8Array => Uint8Array.from({ length }, () => below(256));

/** A disk that answers when its time has come, in any order, or with a failure. */
class LateDisk implements BlockBackend {
  readonly readOnly = false;
  readonly sizeBytes = 1 << 20;
  readonly waiting: (() => void)[] = [];
  private readonly disk = new MemoryDisk(1 << 20);
  fails = false;

  read(offset: number, target: Uint8Array): Promise<void> {
    return this.later(() => this.disk.read(offset, target));
  }

  write(offset: number, source: Uint8Array): Promise<void> {
    return this.later(() => this.disk.write(offset, source));
  }

  flush(): Promise<void> {
    return this.later(() => {});
  }

  private later(act: () => void): Promise<void> {
    return new Promise((resolve, reject) => {
      this.waiting.push(() => {
        if (this.fails) reject(new Error('a failure'));
        else {
          act();
          resolve();
        }
      });
    });
  }
}

const answerLate =
  (disk: LateDisk) =>
  (below: Below): void => {
    disk.fails = below(4) === 0;
    for (let i = below(8); i > 0 && disk.waiting.length > 0; i--) disk.waiting.splice(below(disk.waiting.length), 1)[0]!();
  };

const blockRequest = (below: Below) => {
  const header = words(below(14), 0, below(2100), 0);
  const rooms = below(2) === 0 ? [512 * below(8), 1] : [1];
  return { queue: below(2), readable: [header, noise(below, 16 * below(40))], rooms };
};

const scsiRequest = (below: Below) => {
  if (below(8) === 0) {
    const task = words(below(4), below(9), 0, 0, below(5), 0);
    task.set([1, below(3), 0x40, below(2)], 8);
    return { queue: 0, readable: [task], rooms: [1 + below(5)] };
  }
  const head = new Uint8Array(51);
  head.set([below(20) === 0 ? below(256) : 1, below(3), 0x40, below(3), 0, 0, 0, 0, below(5)]);
  const codes = [
    0, 3, 8, 10, 0x12, 0x1a, 0x1b, 0x1e, 0x25, 0x28, 0x2a, 0x35, 0x41, 0x42, 0x43, 0x46, 0x4a, 0x51, 0x5a, 0x88, 0x8a, 0x93, 0x9e, 0xa0, 0xa8,
  ];
  head[19] = below(6) === 0 ? below(256) : codes[below(codes.length)]!;
  for (let i = 20; i < 36; i++) head[i] = below(3) === 0 ? below(256) : below(3) === 0 ? 8 : 0;
  const out = below(2) === 0;
  return { queue: 2, readable: out ? [head, noise(below, 512 * below(3) + 8)] : [head], rooms: out ? [108] : [108, 512 * below(4) + 8] };
};

const consoleRequest = (below: Below) =>
  below(2) === 0
    ? { queue: 3, readable: [words(below(4), below(10) | (below(2) << 16))], rooms: [] }
    : { queue: [1, 5, 0, 2, 4][below(5)]!, readable: below(2) === 0 ? [noise(below, below(50))] : [], rooms: [below(30)] };

const networkRequest = (below: Below) =>
  below(3) === 0
    ? { queue: 2, readable: [Uint8Array.of(below(7), below(5)), noise(below, below(20))], rooms: [1] }
    : { queue: below(2), readable: [noise(below, 12), noise(below, below(200))], rooms: below(2) === 0 ? [] : [100 + below(1600)] };

const balloonRequest = (below: Below) => {
  const queue = below(5);
  if (queue < 2) return { queue, readable: [words(...Array.from({ length: 1 + below(4) }, () => below(4096)))], rooms: [] };
  if (queue === 2) return { queue, readable: [noise(below, 10 * below(5))], rooms: [] };
  return below(2) === 0 ? { queue, readable: [words(below(5))], rooms: [] } : { queue, readable: [], rooms: [4096 * below(3)] };
};

const vsockRequest = (below: Below) => {
  if (below(3) === 0) return { queue: [0, 2][below(2)]!, readable: [], rooms: [below(200)] };
  const bytes = noise(below, below(3) === 0 ? below(100) : 0);
  const types = (below(20) === 0 ? 2 : 1) | (below(9) << 16);
  const header = words(
    below(30) === 0 ? 9 : 42,
    0,
    below(30) === 0 ? 3 : 2,
    0,
    1000 + below(3),
    7 + below(2),
    bytes.length,
    types,
    below(4),
    below(300),
    below(300),
  );
  return { queue: 1, readable: [header, bytes], rooms: [] };
};

const network = (packed: boolean): Victim => {
  const backend: NetworkBackend = { offloads: true, send: () => {} };
  const device = new VirtioNetwork({ backend, mac: Uint8Array.of(0x52, 0x54, 0, 1, 2, 3), pairs: 2, packed });
  return { device, honest: networkRequest, host: (below) => backend.receiver?.(noise(below, 14 + below(1500))) };
};

const sockets = (packed: boolean): Victim => {
  const backend = new VsockStreams();
  const device = new VirtioVsock({ guestCid: 42, packed, backend });
  backend.listen(7, (stream) => {
    stream.onData = (bytes) => stream.send(bytes);
    stream.onEnd = () => stream.finish();
  });
  return { device, honest: vsockRequest, host: (below) => backend.open(device, 1000 + below(3))?.send(noise(below, below(50))) };
};

const scsi = (packed: boolean, disk: BlockBackend, host?: Victim['host']): Victim => {
  const units = [
    { target: 0, unit: 0, device: new ScsiDisk({ disk }) },
    { target: 1, unit: 1, device: new ScsiCd({ medium: new MemoryDisk(1 << 20) }) },
    { target: 2, unit: 0, device: new ScsiCd() },
  ];
  const device = new VirtioScsi({ packed, units });
  return { device, honest: scsiRequest, host: host ?? (() => device.resized({ target: 0, unit: 0 })) };
};

const victims: Readonly<Record<string, (packed: boolean) => Victim>> = {
  block: (packed) => ({ device: new VirtioBlock({ disk: new MemoryDisk(1 << 20), packed, queues: 2, queueSize: 16 }), honest: blockRequest }),
  'block on a late disk': (packed) => {
    const disk = new LateDisk();
    return { device: new VirtioBlock({ disk, packed, queues: 2, queueSize: 16 }), honest: blockRequest, host: answerLate(disk) };
  },
  scsi: (packed) => scsi(packed, new MemoryDisk(1 << 20)),
  'scsi on a late disk': (packed) => {
    const disk = new LateDisk();
    return scsi(packed, disk, answerLate(disk));
  },
  network,
  entropy: (packed) => ({
    device: new VirtioEntropy({ fill: (bytes) => void bytes.fill(7), packed }),
    honest: (below) => ({ queue: 0, readable: [], rooms: [below(50)] }),
  }),
  console: (packed) => {
    const ports = [
      { console: true, write: () => {} },
      { name: 'port', write: () => false },
    ];
    const device = new VirtioConsole({ ports, packed });
    return {
      device,
      honest: consoleRequest,
      host: (below) => (below(2) === 0 ? device.resumePort(1) : void device.receive(below(2), noise(below, below(6)))),
    };
  },
  balloon: (packed) => {
    const device = new VirtioBalloon({ packed, deflateOnOom: true });
    const acts = [
      () => device.requestStatistics(),
      () => device.startHinting(),
      () => device.endHinting(),
      (below: Below) => (device.target = below(1000)),
    ];
    return { device, honest: balloonRequest, host: (below) => void acts[below(acts.length)]!(below) };
  },
  sockets,
  ...screenVictims,
};

/** Devices without a legacy interface. */
const MODERN: ReadonlySet<string> = new Set(['sockets', 'input', 'gpu']);

describe.each(Object.keys(victims))('a hostile guest of virtio %s', (name) => {
  it.each(ways.filter(({ transport }) => transport !== 'legacy' || !MODERN.has(name)))(
    'over $transport, packed $packed, neither throws nor hangs',
    async (way) => {
      const victim = victims[name]!(way.packed);
      const bench = new Bench(victim.device, way);
      const hostile = new Hostile(bench, victim, way, 11 + way.transport.length + (way.packed ? 1 : 0));
      for (let i = 0; i < OPERATIONS; i++) {
        hostile.step();
        // Late answers come between the guest's instructions.
        if (i % 64 === 0) await Promise.resolve();
      }
      const { counts, violations, answers } = hostile;
      console.log(
        `virtio ${name}, ${way.transport}${way.packed ? ' packed' : ''}: ${OPERATIONS} operations`,
        counts,
        `${violations} violations, ${answers} answers`,
      );
      expect(violations).toBeGreaterThan(OPERATIONS / 2000);
      expect(answers).toBeGreaterThan(OPERATIONS / 400);
      // It still works for a good driver.
      bench.carrier.reset();
      bench.memory.releaseAll();
      expect(bench.start(1).queues.length).toBe(1);
    },
    240_000 + OPERATIONS,
  );
});
