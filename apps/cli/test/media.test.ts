import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { CdDrive } from '@nestvm/devices/ata';
import { ScsiCd, type VirtioScsi } from '@nestvm/devices/virtio';
import { expect, it } from 'vitest';
import { AtaParts } from '../src/ata.js';
import { Media } from '../src/media.js';
import { configure } from '../src/options/config.js';
import { parseOptions } from '../src/options/parse.js';
import { VirtioParts } from '../src/virtio.js';
import { temporaryFolder } from './temporary.js';

function make(text: string) {
  const folder = temporaryFolder('media');
  const path = (name: string): string => join(folder, name);
  for (const name of ['disk', 'one', 'two']) writeFileSync(path(name), new Uint8Array(name === 'two' ? 8192 : 4096));
  const args = text.split(' ').map((word) => word.replace(/@(\w+)/, (_, name: string) => path(name)));
  const options = configure(parseOptions(args), () => '');
  const media = new Media(options);
  const trays: string[] = [];
  media.onTray = (name, open) => trays.push(`${name} ${open ? 'open' : 'closed'}`);
  const parts = new AtaParts();
  const config = parts.create(options, media);
  const virtio = new VirtioParts();
  // None of these has a character device.
  virtio.create(options, undefined as never, media);
  const drives = (config.board ?? []).map((place) => place?.drive.name ?? '-');
  const close = (): void => {
    parts.close();
    virtio.close();
    media.close();
  };
  return { media, trays, parts, virtio, config, drives, path, close };
}

it('puts drives where their options say', () => {
  const pc = make('-hdb @disk -cdrom @one -drive file=@two,if=ide,id=next');
  expect(pc.drives).toEqual(['next', 'drive0', 'drive1']);
  pc.close();
  const q35 = make(
    '-M q35 -device ahci,id=a -drive file=@disk,if=none,id=d -device ide-hd,drive=d,bus=a.3,bootindex=4 -device ide-cd,id=empty,bus=ide.5',
  );
  expect([q35.drives, q35.config.ahci?.[0]?.ports[3]?.bootIndex]).toEqual([['-', '-', '-', '-', '-', 'empty'], 4]);
  q35.close();
});

it.each([
  ['-hda @disk -drive file=@two,if=ide,index=0', /place 0 holds/],
  ['-drive file=@two,if=ide,index=4', /no place 4/],
  ['-boot c -device ide-hd,drive=x', /no such drive/],
  ['-boot c -device ide-cd,bus=b.0', /no controller 'b'/],
  ['-boot c -M microvm -device ide-cd', /0 places for ATA drives/],
])('refuses %s', (text, message) => {
  expect(() => make(text)).toThrow(message);
});

/** A packet command as drives get it: 12 bytes. */
function packet(command: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(12);
  bytes.set(command);
  return bytes;
}

it('changes and ejects CDs, but not disks, and asks a guest that has locked the door', async () => {
  const { media, trays, parts, path, close } = make('-hda @disk -cdrom @one');
  expect(media.list().map((entry) => [entry.name, entry.path === undefined, entry.removable])).toEqual([
    ['drive0', false, false],
    ['drive1', false, true],
  ]);
  const cd = parts.drives.find((drive) => drive instanceof CdDrive)!;
  await media.change('drive1', path('two'));
  expect([cd.drive.medium?.sizeBytes, media.list()[1]?.path]).toEqual([8192, path('two')]);
  for (const command of [[0x4a, 1], [0], [0x1e, 0, 0, 0, 1]]) cd.startPacket(packet(command));
  expect(() => media.eject('drive1', false)).toThrow(/locked/);
  media.eject('drive1', true);
  expect([cd.drive.medium, media.list()[1]?.path, trays]).toEqual([undefined, undefined, ['drive1 closed', 'drive1 open']]);
  expect(() => media.eject('drive0', true)).toThrow(/is a disk/);
  expect(() => media.eject('x', true)).toThrow(/there are drive0, drive1/);
  close();
});

it('changes CDs of SCSI drives, too', async () => {
  const { media, trays, virtio, path, close } = make(
    '-device virtio-scsi-pci -drive file=@one,if=none,id=first,media=cdrom -device scsi-cd,drive=first -device scsi-cd,id=empty -drive file=@disk,if=none,id=hd -device scsi-hd,drive=hd',
  );
  expect(media.list().map((entry) => [entry.name, entry.path === undefined, entry.removable])).toEqual([
    ['hd', false, false],
    ['first', false, true],
    ['empty', true, true],
  ]);
  const { places } = virtio.configs[0]!.device as VirtioScsi;
  const cds = places.map(({ device }) => device).filter((device) => device instanceof ScsiCd);
  await media.change('empty', path('two'));
  media.eject('first', false);
  expect(cds.map(({ drive }) => drive.medium?.sizeBytes)).toEqual([undefined, 8192]);
  expect(trays).toEqual(['empty closed', 'first open']);
  expect(() => media.eject('hd', true)).toThrow(/is a disk/);
  close();
});
