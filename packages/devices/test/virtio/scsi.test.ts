import { describe, expect, it } from 'vitest';
import { Opcode, SENSE, type Sense } from '../../src/scsi/codes.js';
import { type BlockBackend, MemoryDisk, ScsiCd, ScsiDisk, VirtioScsi } from '../../src/virtio/index.js';
import { Bench, ways } from './bench.js';

const BLOCK = 512;
const CDB_BYTES = 32;
const SENSE_BYTES = 96;
const be = (value: number, bytes: number): number[] => Array.from({ length: bytes }, (_, i) => Math.floor(value / 256 ** (bytes - 1 - i)) % 256);
const fill = (length: number, seed: number): Uint8Array => Uint8Array.from({ length }, (_, i) => (i * 7 + seed) & 0xff);

/** A disk whose answers come when it is told. */
class SlowDisk implements BlockBackend {
  readonly readOnly = false;
  private readonly disk: MemoryDisk;
  readonly waiting: (() => void)[] = [];
  broken = false;

  constructor(readonly sizeBytes: number) {
    this.disk = new MemoryDisk(sizeBytes);
  }

  write(offset: number, source: Uint8Array): void {
    this.disk.write(offset, source);
  }

  flush(): void {}

  read(offset: number, target: Uint8Array): Promise<void> {
    return new Promise((resolve, reject) => {
      this.waiting.push(() => {
        if (this.broken) reject(new Error('broken'));
        this.disk.read(offset, target);
        resolve();
      });
    });
  }
}

/** A disk that takes all pieces at once, now or later. */
class VectoredDisk extends MemoryDisk implements BlockBackend {
  readonly calls: number[][] = [];
  late = false;

  private each(offset: number, parts: readonly Uint8Array[], step: (at: number, part: Uint8Array) => void): void | Promise<void> {
    this.calls.push(parts.map(({ length }) => length));
    const all = (): void => {
      let at = offset;
      for (const part of parts) {
        step(at, part);
        at += part.length;
      }
    };
    return this.late ? Promise.resolve().then(all) : all();
  }

  readParts(offset: number, targets: readonly Uint8Array[]): void | Promise<void> {
    return this.each(offset, targets, (at, part) => this.read(at, part));
  }

  writeParts(offset: number, sources: readonly Uint8Array[]): void | Promise<void> {
    return this.each(offset, sources, (at, part) => this.write(at, part));
  }
}

describe.each(ways)('virtio-scsi over $transport, packed $packed', (way) => {
  const start = (disk: BlockBackend = new MemoryDisk(2 ** 20), attention = false) => {
    const trays: boolean[] = [];
    const cdImage = new MemoryDisk(2048 * 100);
    cdImage.write(0, fill(4096, 3));
    const hd = new ScsiDisk({ disk, serial: 'abc123' });
    const cd = new ScsiCd({ medium: cdImage, onTray: (open) => trays.push(open) });
    const device = new VirtioScsi({
      packed: way.packed,
      units: [
        { target: 0, unit: 0, device: hd },
        { target: 0, unit: 3, device: new ScsiDisk({ disk: new MemoryDisk(BLOCK * 4, true) }) },
        { target: 5, unit: 0, device: cd },
      ],
    });
    const bench = new Bench(device, way);
    const driver = bench.start(3);
    if (!attention) for (const unit of [hd, cd, ...device.places.map((place) => place.device)]) unit.attention = undefined;
    const header = (cdb: readonly number[], [target, unit]: readonly [number, number], id = 9): Uint8Array => {
      const bytes = new Uint8Array(19 + CDB_BYTES);
      bytes.set([1, target, 0x40, unit, 0, 0, 0, 0, id], 0);
      bytes.set(cdb, 19);
      return bytes;
    };
    const parse = (bytes: Uint8Array) => {
      const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
      const senseLength = view.getUint32(0, true);
      const data = bytes.subarray(12);
      return {
        response: bytes[11],
        status: bytes[10],
        residual: view.getUint32(4, true),
        sense: senseLength > 0 ? { key: data[2], code: data[12], qualifier: data[13] } : undefined,
        data: data.slice(SENSE_BYTES),
      };
    };
    const command = (cdb: readonly number[], options: { out?: Uint8Array; room?: number; to?: readonly [number, number] } = {}) => {
      const { out = new Uint8Array(0), room = 0, to = [0, 0] } = options;
      return parse(driver.request(2, [header(cdb, to), ...(out.length > 0 ? [out] : [])], [12 + SENSE_BYTES, ...(room > 0 ? [room] : [])]).bytes);
    };
    const refuses = (sense: Sense, ...args: Parameters<typeof command>): void => {
      expect(command(...args)).toMatchObject({ response: 0, status: 2, sense });
    };
    return { device, bench, driver, hd, cd, trays, command, refuses, header, parse };
  };
  const CD = { to: [5, 0] } as const;

  it('hands all pieces of a transfer to the disk at once, be it now or later', async () => {
    const disk = new VectoredDisk(2 ** 20);
    const { driver, header, parse } = start(disk);
    const data = fill(3 * BLOCK, 5);
    const [reading, writing] = [Opcode.READ_10, Opcode.WRITE_10].map((opcode) => header([opcode, 0, ...be(7, 4), 0, ...be(3, 2)], [0, 0]));
    const head = 12 + SENSE_BYTES;
    const written = driver.request(2, [writing!, data.subarray(0, 100), data.subarray(100, 1000), data.subarray(1000)], [head]);
    expect(parse(written.bytes)).toMatchObject({ response: 0, status: 0, residual: 0 });
    expect(parse(driver.request(2, [reading!], [head, 512, 600, 424]).bytes)).toMatchObject({ response: 0, status: 0, data });
    expect(disk.calls).toEqual([
      [100, 900, 536],
      [512, 600, 424],
    ]);
    disk.late = true;
    const rooms = [driver.room(500), driver.room(1036)];
    driver.queues[2]!.add([driver.place(reading!), driver.room(head), ...rooms]);
    driver.kick(2);
    expect(driver.queues[2]!.poll()).toBeUndefined();
    await new Promise((resolve) => setTimeout(resolve));
    expect(driver.queues[2]!.poll()).toBeDefined();
    expect(driver.contents(rooms)).toEqual(data);
  });

  it.each([
    [
      '6',
      (block: number, count: number) => [
        [Opcode.READ_6, ...be(block, 3), count],
        [Opcode.WRITE_6, ...be(block, 3), count],
      ],
    ],
    [
      '10',
      (block: number, count: number) => [
        [Opcode.READ_10, 0, ...be(block, 4), 0, ...be(count, 2)],
        [Opcode.WRITE_10, 0, ...be(block, 4), 0, ...be(count, 2)],
      ],
    ],
    [
      '12',
      (block: number, count: number) => [
        [Opcode.READ_12, 0, ...be(block, 4), ...be(count, 4)],
        [Opcode.WRITE_12, 8, ...be(block, 4), ...be(count, 4)],
      ],
    ],
    [
      '16',
      (block: number, count: number) => [
        [Opcode.READ_16, 0, ...be(block, 8), ...be(count, 4)],
        [Opcode.WRITE_16, 0, ...be(block, 8), ...be(count, 4)],
      ],
    ],
  ] as const)('reads and writes by commands of %s bytes', (_, make) => {
    const { command, refuses } = start();
    const data = fill(3 * BLOCK, 1);
    const [read, write] = make(7, 3);
    expect(command(write!, { out: data })).toMatchObject({ response: 0, status: 0, residual: 0 });
    expect(command(read!, { room: 3 * BLOCK }).data).toEqual(data);
    expect(command(read!, { room: 3 * BLOCK + 100 })).toMatchObject({ status: 0, residual: 100 });
    expect(command(read!, { room: BLOCK }).response).toBe(1);
    const [beyond, writeBeyond] = make(2046, 3);
    refuses(SENSE.ADDRESS_OUT_OF_RANGE, beyond!, { room: 3 * BLOCK });
    refuses(SENSE.ADDRESS_OUT_OF_RANGE, writeBeyond!, { out: data });
    refuses(SENSE.WRITE_PROTECTED, make(0, 1)[1]!, { out: data.subarray(0, BLOCK), to: [0, 3] });
  });

  it('says who it is: INQUIRY and its vital product data', () => {
    const { command, refuses } = start();
    const ascii = (bytes: Uint8Array): string => String.fromCharCode(...bytes);
    const standard = command([Opcode.INQUIRY, 0, 0, ...be(96, 2)], { room: 96 });
    expect([standard.data[0], standard.data[4], ascii(standard.data.subarray(8, 16)), standard.residual]).toEqual([0, 31, 'NESTVM  ', 60]);
    const page = (code: number, to: readonly [number, number] = [0, 0]) => command([Opcode.INQUIRY, 1, code, ...be(255, 2)], { room: 255, to }).data;
    expect([...page(0).subarray(0, 10)]).toEqual([0, 0, 0, 6, 0, 0x80, 0x83, 0xb0, 0xb1, 0xb2]);
    expect(ascii(page(0x80).subarray(4, 10))).toBe('abc123');
    expect([page(0xb0)[3], page(0xb1)[3], page(0xb1)[5], page(0xb2)[5]]).toEqual([60, 60, 1, 0xe0]);
    expect([page(0, [5, 0])[0], page(0, [5, 0])[3]]).toEqual([5, 3]);
    refuses(SENSE.INVALID_FIELD_IN_CDB, [Opcode.INQUIRY, 1, 0x55, 0, 99], { room: 99 });
    refuses(SENSE.INVALID_FIELD_IN_CDB, [Opcode.INQUIRY, 0, 0x80, 0, 99], { room: 99 });
    expect(command([Opcode.INQUIRY, 0, 0, 0, 36], { room: 36, to: [0, 9] }).data[0]).toBe(0x7f);
    refuses(SENSE.LOGICAL_UNIT_NOT_SUPPORTED, [Opcode.TEST_UNIT_READY], { to: [0, 9] });
    expect(command([Opcode.TEST_UNIT_READY], { to: [77, 0] }).response).toBe(3);
  });

  it('lists its units, and tells their sizes', () => {
    const { command, refuses } = start();
    const luns = command([Opcode.REPORT_LUNS, 0, 0, 0, 0, 0, ...be(64, 4)], { room: 64 }).data;
    expect([luns[3], luns[9], luns[17]]).toEqual([16, 0, 3]);
    expect([...command([Opcode.READ_CAPACITY_10], { room: 8 }).data]).toEqual([...be(2047, 4), ...be(512, 4)]);
    expect([...command([Opcode.READ_CAPACITY_10], { room: 8, ...CD }).data]).toEqual([...be(99, 4), ...be(2048, 4)]);
    const long = command([Opcode.SERVICE_ACTION_IN_16, 0x10, ...be(0, 8), ...be(32, 4)], { room: 32 }).data;
    expect([...long.subarray(0, 12), long[14]]).toEqual([...be(2047, 8), ...be(512, 4), 0x80]);
    refuses(SENSE.INVALID_FIELD_IN_CDB, [Opcode.SERVICE_ACTION_IN_16, 0x11], { room: 32 });
  });

  it('shows mode pages, current and changeable, in both forms', () => {
    const { command, refuses } = start();
    const short = command([Opcode.MODE_SENSE_6, 0, 0x08, 0, 255], { room: 255 }).data;
    expect([short[0], short[2], short[3], short[12], short[13], short[14]]).toEqual([31, 0x10, 8, 8, 18, 4]);
    expect(command([Opcode.MODE_SENSE_6, 8, 0x48, 0, 255], { room: 255 }).data[6]).toBe(0);
    expect(command([Opcode.MODE_SENSE_6, 0, 0x3f, 0, 255], { room: 255, to: [0, 3] }).data[2]).toBe(0x90);
    const long = command([Opcode.MODE_SENSE_10, 0, 0x2a, 0, 0, 0, 0, ...be(255, 2)], { room: 255, ...CD }).data;
    expect([long[7], long[8], long[9]]).toEqual([0, 0x2a, 20]);
    refuses(SENSE.INVALID_FIELD_IN_CDB, [Opcode.MODE_SENSE_6, 0, 0x2a, 0, 255], { room: 255 });
    refuses({ key: 5, code: 0x39, qualifier: 0 }, [Opcode.MODE_SENSE_6, 0, 0xc8, 0, 255], { room: 255 });
  });

  it('reports that it was switched on once, before anything but questions who it is', () => {
    const { command, refuses } = start(undefined, true);
    expect(command([Opcode.INQUIRY, 0, 0, 0, 36], { room: 36 }).status).toBe(0);
    refuses(SENSE.POWER_ON, [Opcode.TEST_UNIT_READY]);
    expect(command([Opcode.TEST_UNIT_READY]).status).toBe(0);
    expect(command([Opcode.REQUEST_SENSE, 0, 0, 0, 18], { room: 18, ...CD }).data[12]).toBe(0x29);
    expect(command([Opcode.REQUEST_SENSE, 0, 0, 0, 18], { room: 18, ...CD }).data[12]).toBe(0);
    refuses(SENSE.INVALID_COMMAND, [0xff]);
    refuses(SENSE.INVALID_COMMAND, [Opcode.READ_TOC], { room: 12 });
  });

  it('frees blocks, and writes the same block again and again', () => {
    const { command, refuses } = start();
    const data = fill(8 * BLOCK, 5);
    const blocks = () => command([Opcode.READ_10, 0, ...be(0, 4), 0, ...be(8, 2)], { room: 8 * BLOCK }).data;
    const put = () => command([Opcode.WRITE_10, 0, ...be(0, 4), 0, ...be(8, 2)], { out: data });
    put();
    const list = Uint8Array.from([
      ...be(38, 2),
      ...be(32, 2),
      0,
      0,
      0,
      0,
      ...be(1, 8),
      ...be(2, 4),
      0,
      0,
      0,
      0,
      ...be(6, 8),
      ...be(1, 4),
      0,
      0,
      0,
      0,
    ]);
    expect(command([Opcode.UNMAP, 0, 0, 0, 0, 0, 0, ...be(list.length, 2)], { out: list }).status).toBe(0);
    expect([0, 1, 2, 3, 5, 6, 7].map((i) => blocks()[i * BLOCK + 1] === data[i * BLOCK + 1])).toEqual([true, false, false, true, true, false, true]);
    put();
    const block = fill(BLOCK, 77);
    expect(command([Opcode.WRITE_SAME_10, 0, ...be(2, 4), 0, ...be(3, 2)], { out: block }).status).toBe(0);
    expect([blocks().slice(BLOCK, 2 * BLOCK), blocks().slice(4 * BLOCK, 5 * BLOCK)]).toEqual([data.slice(BLOCK, 2 * BLOCK), block]);
    expect(command([Opcode.WRITE_SAME_16, 9, ...be(0, 8), ...be(0, 4)]).status).toBe(0);
    expect(blocks().every((byte) => byte === 0)).toBe(true);
    refuses(SENSE.INVALID_FIELD_IN_CDB, [Opcode.WRITE_SAME_16, 4, ...be(0, 8), ...be(1, 4)], { out: block });
    refuses(SENSE.ADDRESS_OUT_OF_RANGE, [Opcode.WRITE_SAME_16, 0, ...be(2047, 8), ...be(2, 4)], { out: block });
    refuses(SENSE.PARAMETER_LIST_LENGTH_ERROR, [Opcode.UNMAP, 0, 0, 0, 0, 0, 0, 0, 4], { out: list });
    list[15] = 0xff;
    list[14] = 0xff;
    refuses(SENSE.ADDRESS_OUT_OF_RANGE, [Opcode.UNMAP, 0, 0, 0, 0, 0, 0, ...be(list.length, 2)], { out: list });
    for (const code of [Opcode.SYNCHRONIZE_CACHE_10, Opcode.SYNCHRONIZE_CACHE_16, Opcode.VERIFY_10]) expect(command([code]).status).toBe(0);
  });

  it('reads a CD: table of contents, configuration, tray', () => {
    const { command, refuses } = start();
    expect(command([Opcode.READ_10, 0, ...be(1, 4), 0, 0, 1], { room: 2048, ...CD }).data).toEqual(fill(4096, 3).slice(2048));
    const toc = command([Opcode.READ_TOC, 0, 0, 0, 0, 0, 0, 0, 99], { room: 99, ...CD });
    expect([...toc.data.subarray(0, 20)]).toEqual([0, 18, 1, 1, 0, 0x14, 1, 0, 0, 0, 0, 0, 0, 0x14, 0xaa, 0, 0, 0, 0, 100]);
    expect([...command([Opcode.READ_TOC, 2, 0, 0, 0, 0, 0xaa, 0, 99], { room: 99, ...CD }).data.subarray(8, 12)]).toEqual([0, 0, 3, 25]);
    expect([...command([Opcode.GET_CONFIGURATION, 0, 0, 0, 0, 0, 0, 0, 99], { room: 99, ...CD }).data.subarray(6, 8)]).toEqual([0, 8]);
    expect(command([Opcode.GET_EVENT_STATUS, 1, 0, 0, 0x10, 0, 0, 0, 8], { room: 8, ...CD }).data[5]).toBe(2);
    refuses(SENSE.INVALID_COMMAND, [Opcode.WRITE_10, 0, 0, 0, 0, 0, 0, 0, 1], { out: new Uint8Array(2048), ...CD });
    expect(command([Opcode.PREVENT_ALLOW, 0, 0, 0, 1], CD).status).toBe(0);
    refuses(SENSE.MEDIUM_REMOVAL_PREVENTED, [Opcode.START_STOP_UNIT, 0, 0, 0, 2], CD);
    command([Opcode.PREVENT_ALLOW], CD);
    expect(command([Opcode.START_STOP_UNIT, 0, 0, 0, 2], CD).status).toBe(0);
    refuses(SENSE.MEDIUM_NOT_PRESENT, [Opcode.TEST_UNIT_READY], CD);
    command([Opcode.START_STOP_UNIT, 0, 0, 0, 3], CD);
    refuses(SENSE.MEDIUM_CHANGED, [Opcode.TEST_UNIT_READY], CD);
    expect(command([Opcode.TEST_UNIT_READY], CD).status).toBe(0);
  });

  it('changes the medium of a CD drive, asks for it, and tells of trays', () => {
    const { command, refuses, cd, trays, bench } = start();
    const event = () => [...command([Opcode.GET_EVENT_STATUS, 1, 0, 0, 0x10, 0, 0, 0, 8], { room: 8, ...CD }).data.subarray(4, 6)];
    expect(event()).toEqual([0, 2]);
    cd.drive.change(undefined);
    expect([event(), event()]).toEqual([
      [3, 0],
      [0, 0],
    ]);
    refuses(SENSE.MEDIUM_NOT_PRESENT, [Opcode.READ_10, 0, 0, 0, 0, 0, 0, 0, 1], { room: 2048, ...CD });
    expect(command([Opcode.MODE_SENSE_10, 0, 0x2a, 0, 0, 0, 0, 0, 99], { room: 99, ...CD }).data[2]).toBe(0x70);
    const other = new MemoryDisk(2048 * 7);
    other.write(0, fill(2048, 9));
    cd.drive.change(other);
    expect(event()).toEqual([2, 2]);
    refuses(SENSE.MEDIUM_CHANGED, [Opcode.TEST_UNIT_READY], CD);
    expect([...command([Opcode.READ_CAPACITY_10], { room: 8, ...CD }).data]).toEqual([...be(6, 4), ...be(2048, 4)]);
    expect(command([Opcode.READ_CD, 0, ...be(0, 4), 0, 0, 1, 0x10], { room: 2048, ...CD }).data).toEqual(fill(2048, 9));
    command([Opcode.PREVENT_ALLOW, 0, 0, 0, 1], CD);
    expect(command([Opcode.MODE_SENSE_6, 0, 0x2a, 0, 99], { room: 99, ...CD }).data[10]).toBe(0x2b);
    const saved = JSON.parse(JSON.stringify(bench.carrier.save())) as unknown;
    cd.drive.requestEject();
    expect(event()).toEqual([1, 2]);
    command([Opcode.PREVENT_ALLOW], CD);
    command([Opcode.START_STOP_UNIT, 0, 0, 0, 2], CD);
    expect([event(), trays]).toEqual([[0, 3], [true]]);
    bench.carrier.load(saved);
    expect([cd.drive.open, cd.drive.locked]).toEqual([false, true]);
  });

  it('manages tasks: aborts what has not been answered, resets units', async () => {
    const disk = new SlowDisk(2 ** 20);
    const { driver, header, parse, device, command, refuses } = start(disk);
    const queue = driver.queues[2]!;
    const room = driver.room(12 + SENSE_BYTES + BLOCK);
    const ask = (id: number) => {
      queue.add([driver.place(header([Opcode.READ_10, 0, 0, 0, 0, 0, 0, 0, 1], [0, 0], id)), room]);
      driver.kick(2);
    };
    const manage = (what: number, id = 0, target = 0) =>
      driver.request(0, [Uint8Array.from([0, 0, 0, 0, what, 0, 0, 0, 1, target, 0x40, 0, 0, 0, 0, 0, id, 0, 0, 0, 0, 0, 0, 0])], [1]).bytes[0];
    ask(1);
    expect([manage(6, 1), manage(6, 2), manage(7), manage(0, 2), manage(2), manage(0, 1, 9)]).toEqual([10, 0, 10, 0, 11, 12]);
    expect(manage(0, 1)).toBe(0);
    expect(queue.poll()).toBeDefined();
    expect(parse(driver.contents([room])).response).toBe(2);
    ask(2);
    expect(manage(5)).toBe(0);
    expect(queue.poll()).toBeDefined();
    expect(parse(driver.contents([room])).response).toBe(4);
    for (const answer of disk.waiting.splice(0)) answer();
    await Promise.resolve();
    expect(queue.poll()).toBeUndefined();
    refuses(SENSE.BUS_RESET, [Opcode.TEST_UNIT_READY]);
    disk.broken = true;
    ask(3);
    for (const answer of disk.waiting.splice(0)) answer();
    await new Promise((done) => setTimeout(done, 0));
    expect(queue.poll()).toBeDefined();
    expect(parse(driver.contents([room])).sense).toEqual(SENSE.UNRECOVERED_READ_ERROR);
    expect([command([Opcode.TEST_UNIT_READY]).status, device.violation]).toEqual([0, undefined]);
    expect([...driver.request(0, [Uint8Array.of(1, 0, 0, 0, ...new Uint8Array(20))], [5]).bytes]).toEqual([0, 0, 0, 0, 0]);
  });

  it('asks a slow disk again after a snapshot', async () => {
    const disk = new SlowDisk(2 ** 20);
    const { driver, header, parse, bench } = start(disk);
    const room = driver.room(12 + SENSE_BYTES + BLOCK);
    driver.queues[2]!.add([driver.place(header([Opcode.READ_10, 0, 0, 0, 0, 0, 0, 0, 1], [0, 0])), room]);
    driver.kick(2);
    const saved = JSON.parse(JSON.stringify(bench.carrier.save())) as unknown;
    bench.carrier.load(saved);
    expect(disk.waiting.length).toBe(2);
    for (const answer of disk.waiting.splice(0)) answer();
    await new Promise((done) => setTimeout(done, 0));
    expect([driver.queues[2]!.poll() === undefined, driver.queues[2]!.poll(), parse(driver.contents([room])).status]).toEqual([false, undefined, 0]);
  });

  it('takes requests and task management at once, with no buffer for events yet', () => {
    const { driver, command, device } = start(undefined, true);
    // Test unit ready: the attention of its start comes by the status of a request, not by an event.
    expect(command([0, 0, 0, 0, 0, 0])).toMatchObject({ response: 0, status: 2, sense: { key: 6 } });
    expect(command([0, 0, 0, 0, 0, 0])).toMatchObject({ response: 0, status: 0 });
    const reset = new Uint8Array(24);
    reset.set([0, 0, 0, 0, 5, 0, 0, 0, 1, 0, 0x40, 0]);
    expect(driver.request(0, [reset], [1]).bytes[0]).toBe(0);
    expect(device.violation).toBeUndefined();
  });

  it('tells of another size', () => {
    const { device, driver, refuses } = start();
    const room = driver.room(16);
    driver.queues[1]!.add([room]);
    driver.kick(1);
    device.resized({ target: 0, unit: 0 });
    expect(driver.queues[1]!.poll()).toBeDefined();
    expect([...driver.contents([room])]).toEqual([3, 0, 0, 0, 1, 0, 0x40, 0, 0, 0, 0, 0, 0x2a, 9, 0, 0]);
    refuses(SENSE.CAPACITY_CHANGED, [Opcode.TEST_UNIT_READY]);
  });

  it('has units plugged in and taken out while the guest runs, and tells of it', async () => {
    const disk = new SlowDisk(BLOCK * 8);
    const { device, driver, header, parse } = start();
    const told = (): number[] => {
      const room = driver.room(16);
      driver.queues[1]!.add([room]);
      driver.kick(1);
      return driver.queues[1]!.poll() ? [...driver.contents([room])] : [];
    };
    const place = { target: 7, unit: 2, device: new ScsiDisk({ disk }) };
    device.plug(place);
    expect(told()).toEqual([1, 0, 0, 0, 1, 7, 0x40, 2, 0, 0, 0, 0, 1, 0, 0, 0]);
    expect(() => device.plug({ ...place })).toThrow('two units at target 7, unit 2');
    expect(() => device.plug({ ...place, unit: 256 })).toThrow('targets and units 0 to 255');
    place.device.attention = undefined;
    const room = driver.room(12 + SENSE_BYTES + BLOCK);
    driver.queues[2]!.add([driver.place(header([Opcode.READ_10, 0, 0, 0, 0, 0, 0, 0, 1], [7, 2])), room]);
    driver.kick(2);
    expect([disk.waiting.length, driver.queues[2]!.poll()]).toEqual([1, undefined]);
    device.unplug({ target: 7, unit: 2 });
    // What it was reading is aborted, and comes to nothing later.
    expect(driver.queues[2]!.poll()).toBeDefined();
    expect(parse(driver.contents([room])).response).toBe(2);
    for (const answer of disk.waiting.splice(0)) answer();
    await new Promise((done) => setTimeout(done, 0));
    expect(driver.queues[2]!.poll()).toBeUndefined();
    expect(told()).toEqual([1, 0, 0, 0, 1, 7, 0x40, 2, 0, 0, 0, 0, 2, 0, 0, 0]);
    expect(() => device.unplug({ target: 7, unit: 2 })).toThrow('no unit 2 at target 7');
    expect([device.places.length, device.violation]).toEqual([3, undefined]);
  });

  it('takes the sizes that the driver chooses', () => {
    const { bench, driver } = start();
    bench.transport.writeConfig(20, 4, 18);
    bench.transport.writeConfig(24, 4, 16);
    expect([bench.transport.readConfig(20, 4), bench.transport.readConfig(24, 4)]).toEqual([18, 16]);
    bench.transport.writeConfig(20, 4, 100_000);
    expect(bench.transport.readConfig(20, 4)).toBe(18);
    const bytes = new Uint8Array(19 + 16);
    bytes.set([1, 0, 0x40, 0]);
    bytes.set([Opcode.READ_CAPACITY_10], 19);
    const { bytes: answer } = driver.request(2, [bytes], [12 + 18, 8]);
    expect([...answer.subarray(30)]).toEqual([...be(2047, 4), ...be(512, 4)]);
  });

  it.each([
    ['a request without a whole command', 2, new Uint8Array(40), 200],
    ['a request without room for sense data', 2, new Uint8Array(51), 107],
    ['a control request without its type', 0, new Uint8Array(3), 5],
    ['a task request that is too short', 0, new Uint8Array(23), 1],
  ])('asks for a reset after %s', (_, queue, readable, room) => {
    const { driver, device } = start();
    expect(() => driver.request(queue, [readable], [room])).toThrow('has not answered');
    expect(device.violation?.clause).toBe('device-request');
  });
});
