import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createQcow2, MemoryFile } from '@nestvm/disks';
import { describe, expect, it } from 'vitest';
import { openDisk } from '../src/disk.js';
import { UsageError } from '../src/errors.js';
import { configure } from '../src/options/config.js';
import { parseOptions } from '../src/options/parse.js';
import { negotiated } from './qmp-client.js';
import { temporaryFolder } from './temporary.js';

const TIMEOUT = 300_000;
const folder = temporaryFolder('blocks');
const path = (name: string): string => join(folder, name);

writeFileSync(
  path('raw'),
  Uint8Array.from({ length: 8192 }, (_, i) => i >> 9),
);
const image = new MemoryFile();
createQcow2(image, { sizeBytes: 8192 });
const qcow2 = new Uint8Array(image.sizeBytes);
image.read(0, qcow2);
writeFileSync(path('qcow2'), qcow2);

const drives = (...texts: string[]) =>
  configure(parseOptions(['-kernel', 'k', ...texts.flatMap((text) => ['-blockdev', text.replaceAll('@', `${folder}/`)])]), () => '').drives;

/** First byte of each of some sectors of the last node. */
function sectors(texts: string[], ...numbers: number[]): number[] {
  const disk = openDisk(drives(...texts).at(-1)!);
  try {
    return numbers.map((sector) => {
      const bytes = new Uint8Array(512);
      disk.read(sector * 512, bytes);
      return bytes[0]!;
    });
  } finally {
    disk.close();
  }
}

function complaint(action: () => unknown): string {
  try {
    action();
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    return error.message;
  }
  return 'none';
}

describe('-blockdev', () => {
  it('takes nodes one upon another, by name, by dotted keys and as JSON', () => {
    expect(sectors(['driver=file,filename=@raw,node-name=f', 'driver=raw,file=f,node-name=d'], 3)).toEqual([3]);
    expect(sectors(['raw,node-name=d,file.driver=file,file.filename=@raw,offset=1024,size=2048'], 0, 3)).toEqual([2, 5]);
    expect(sectors(['{"driver":"raw","node-name":"d","read-only":true,"file":{"driver":"file","filename":"@raw"}}'], 5)).toEqual([5]);
    expect(sectors(['qcow2,node-name=d,file.driver=file,file.filename=@qcow2'], 5)).toEqual([0]);
    expect(sectors(['file,node-name=d,filename=@raw'], 5)).toEqual([5]);
    expect(drives('file,filename=@raw,node-name=f', 'raw,file=f,node-name=d').map(({ id }) => id)).toEqual(['d']);
  });

  it('writes through the nodes', () => {
    writeFileSync(path('scratch'), new Uint8Array(4096));
    const disk = openDisk(drives('raw,node-name=d,offset=512,file.driver=file,file.filename=@scratch').at(-1)!);
    disk.write(512, Uint8Array.of(7));
    disk.close();
    expect([disk.sizeBytes, readFileSync(path('scratch'))[1024]]).toEqual([3584, 7]);
  });

  it.each([
    ['driver=bogus,node-name=d', /there are file, http, https, raw, qcow2/],
    ['driver=file,node-name=d', /filename= is missing/],
    ['driver=file,filename=x,filname=y,node-name=d', /nearest is 'filename'/],
    ['driver=raw,file=nobody,node-name=d', /file=nobody: no such node/],
    ['driver=file,filename=x', /node-name= is missing/],
    ['{"driver":"file",', /-blockdev/],
    ['{"driver":7}', /driver= is missing/],
    ['raw,node-name=d,file=y,file.driver=file,file.filename=x', /as well/],
    ['blkdebug,node-name=d,image.driver=null-co,inject-error.0.event=bogus', /there are none, read_aio/],
  ])('refuses %s', (text, message) => {
    expect(complaint(() => drives(text))).toMatch(message);
  });

  it('says in a line what cannot be opened', () => {
    expect(complaint(() => openDisk(drives('file,node-name=d,filename=@nothing').at(-1)!))).toMatch(/no such file/);
    expect(complaint(() => openDisk(drives('qcow2,node-name=d,file.driver=file,file.filename=@raw').at(-1)!))).toMatch(/qcow2/);
    expect(complaint(() => openDisk(drives('raw,node-name=d,offset=1M,file.driver=file,file.filename=@raw').at(-1)!))).toMatch(/not inside/);
    expect(complaint(() => openDisk(drives('qcow2,node-name=d,file.driver=qcow2,file.file.driver=null-co').at(-1)!))).toMatch(/above a file/);
  });
});

/** Reads sector 3 of the first IDE disk by PIO; ends with twice the sector's first byte and 1, or 255 after an error. */
const READ_SECTOR = readSector();
function readSector(): number[] {
  const out = (port: number, value: number): number[] => [0xba, port & 255, port >> 8, 0xb0, value, 0xee];
  return [
    ...out(0x1f6, 0xe0),
    ...out(0x1f2, 1),
    ...out(0x1f3, 3),
    ...out(0x1f4, 0),
    ...out(0x1f5, 0),
    ...out(0x1f7, 0x20),
    // in al, dx; test al, 0x80; jnz back; test al, 1; jnz failed; mov dx, 0x1f0; in ax, dx; out 0xf4, al; failed: 127
    // biome-ignore format: as the line above has them
    0xec,
    0xa8,
    0x80,
    0x75,
    0xfb,
    0xa8,
    0x01,
    0x75,
    0x06,
    0xba,
    0xf0,
    0x01,
    0xed,
    0xe6,
    0xf4,
    0xb0,
    0x7f,
    0xe6,
    0xf4,
  ];
}

const faulty = (more: string): string[] => [
  '-blockdev',
  `file,filename=${path('raw')},node-name=file`,
  '-blockdev',
  'blkdebug,image=file,node-name=d,inject-error.0.event=read_aio,inject-error.0.sector=3,inject-error.0.once=on',
  '-device',
  `ide-hd,drive=d${more}`,
];

describe('a disk that fails', () => {
  it(
    'stops the machine with rerror=stop, and is asked again by cont',
    async () => {
      const { running, qmp } = await negotiated(READ_SECTOR, '-S', ...faulty(',rerror=stop'));
      await qmp.call('cont');
      expect((await qmp.event('BLOCK_IO_ERROR'))['data']).toMatchObject({ device: 'd', operation: 'read', action: 'stop', nospace: false });
      await qmp.event('STOP');
      expect((await qmp.call('query-status')).return).toMatchObject({ status: 'io-error', running: false });
      await qmp.call('cont');
      expect(await running.ended).toMatchObject({ status: 7 });
    },
    TIMEOUT,
  );

  it.each([
    ['', 'report', 255],
    [',rerror=ignore', 'ignore', 1],
  ])(
    'tells the guest, or does not: ide-hd%s',
    async (more, action, status) => {
      const { running, qmp } = await negotiated(READ_SECTOR, '-S', ...faulty(more));
      await qmp.call('cont');
      expect((await qmp.event('BLOCK_IO_ERROR'))['data']).toMatchObject({ action });
      expect((await running.ended).status).toBe(status);
    },
    TIMEOUT,
  );
});

it(
  'adds, shows, inserts and deletes nodes by QMP',
  async () => {
    const { running, qmp } = await negotiated([0xfb, 0xf4, 0xeb, 0xfd], '-device', 'ide-cd,id=cd', '-chardev', 'null,id=nothing');
    expect((await qmp.call('blockdev-add', { driver: 'file', 'node-name': 'one', filename: path('raw'), 'read-only': true })).return).toEqual({});
    expect((await qmp.call('blockdev-add', { driver: 'file', 'node-name': 'one', filename: path('raw') })).error?.desc).toMatch(/already/);
    expect((await qmp.call('blockdev-add', { driver: 'file', 'node-name': 'two', filename: path('none') })).error?.desc).toMatch(/no such file/);
    expect((await qmp.call('query-named-block-nodes')).return).toMatchObject([{ 'node-name': 'one', drv: 'raw', ro: true }]);
    expect((await qmp.call('blockdev-insert-medium', { id: 'cd', 'node-name': 'one' })).return).toEqual({});
    expect((await qmp.call('query-block')).return).toMatchObject([{ device: 'cd', removable: true, inserted: { file: path('raw') } }]);
    expect((await qmp.call('blockdev-del', { 'node-name': 'one' })).error?.desc).toMatch(/in 'cd'/);
    expect((await qmp.call('eject', { id: 'cd' })).return).toEqual({});
    expect((await qmp.call('blockdev-del', { 'node-name': 'one' })).return).toEqual({});
    expect((await qmp.call('blockdev-del', { 'node-name': 'one' })).error?.desc).toMatch(/no node/);
    expect((await qmp.call('blockdev-change-medium', { id: 'cd', filename: path('raw'), format: 'vmdk' })).error?.desc).toMatch(/vmdk/);
    expect((await qmp.call('blockdev-change-medium', { id: 'cd', filename: path('raw'), format: 'raw' })).return).toEqual({});
    expect((await qmp.call('blockdev-remove-medium', { id: 'cd' })).return).toEqual({});
    const { return: characters } = (await qmp.call('query-chardev')) as { return: { label: string }[] };
    expect(characters.map(({ label }) => label)).toEqual(['nothing', 'serial0', 'compat_monitor0']);
    await qmp.call('quit');
    await running.ended;
  },
  TIMEOUT,
);
