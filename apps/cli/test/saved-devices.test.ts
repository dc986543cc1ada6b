import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { deviceRows } from '../src/options/devices.js';
import { type Ended, guest, pathFor, start } from './spawn.js';

const TIMEOUT = 300_000;

/** What a device needs beside its name: options before and behind it, and properties. */
interface Recipe {
  readonly before?: readonly string[];
  readonly properties?: string;
  readonly after?: readonly string[];
}

let made = 0;
const disk = (): string => {
  const path = pathFor(`disk${made}.img`);
  writeFileSync(path, new Uint8Array(1 << 20));
  return path;
};
const withDrive = (more = ''): Recipe => ({
  before: ['-drive', `file=${disk()},format=raw,if=none,id=d${++made}`],
  properties: `drive=d${made}${more}`,
});
const withNetwork = (): Recipe => ({ before: ['-netdev', `hubport,id=n${++made},hubid=0`], properties: `netdev=n${made}` });
/** A device with a console plugged in. */
const withPort = (): Recipe => ({ before: ['-chardev', `null,id=c${++made}`], after: ['-device', `virtconsole,chardev=c${made}`] });
/** A folder of the host, with a name for the guest. */
const withFolder = (): Recipe => ({
  before: ['-fsdev', `local,id=f${++made},path=${mkdtempSync(pathFor('folder-'))},security_model=none`],
  properties: `fsdev=f${made},mount_tag=tag${made}`,
});
const withCharacters = (more = ''): Recipe => ({ before: ['-chardev', `null,id=c${++made}`], properties: `chardev=c${made}${more}` });

/** How each kind of device is made, by the beginning of its name; the first that fits counts. A new device needs a row here, and must be saved or refused by name. */
const recipes: readonly (readonly [RegExp, () => Recipe])[] = [
  [/^isa-debug-exit$/, () => ({ properties: 'iobase=0xf4,iosize=4' })],
  [/^pc-testdev$/, () => ({})],
  [/^isa-debugcon$/, () => withCharacters()],
  [/^isa-serial$/, () => withCharacters()],
  [/^virtio-blk/, () => withDrive()],
  [/^virtio-net/, withNetwork],
  [/^virtio-serial/, withPort],
  [/^virtio-(rng|balloon|scsi)/, () => ({})],
  [/^vhost-vsock|^virtio-vsock/, () => ({ properties: `guest-cid=${3 + made++}` })],
  [/^virtconsole|^virtserialport/, () => withCharacters()],
  [/^virtio-9p/, withFolder],
  [/^virtio-(keyboard|mouse|tablet|gpu)/, () => ({})],
  [/^scsi-(hd|cd)/, () => withDrive()],
  [/^ide-(hd|cd)/, () => withDrive()],
  [/^ahci$/, () => ({})],
];

/** Options of a device; undefined when nobody has said how it is made. */
function optionsOf(name: string): { readonly options: readonly string[]; readonly recipe: Recipe } | undefined {
  const recipe = recipes.find(([pattern]) => pattern.test(name))?.[1]();
  return (
    recipe && { recipe, options: [...(recipe.before ?? []), '-device', [name, recipe.properties].filter(Boolean).join(','), ...(recipe.after ?? [])] }
  );
}

// What plugs into another device comes behind it; those on the MMIO transport need a board with room for them.
const names = Object.keys(deviceRows).filter((name) => name !== 'loader');
const isMmio = (name: string): boolean => /^(virtio|vhost).*-device$/.test(name);

/** Runs a machine that does not start, and tells its monitor these lines. */
async function tell(args: readonly string[], ...lines: string[]): Promise<Ended> {
  const running = start('run', ...guest(0xf4), '-S', '-icount', 'shift=0', '-display', 'none', '-serial', 'null', '-monitor', 'stdio', ...args);
  await running.waitFor('(nestvm)');
  running.child.stdin!.write(`${lines.join('\n')}\nquit\n`);
  return running.ended;
}

describe('every device of the command line', () => {
  it('has a recipe here', () => {
    expect(names.filter((name) => !recipes.some(([pattern]) => pattern.test(name)))).toEqual([]);
  });

  // All at once would take more than the 32 slots of a PCI bus.
  const isSecond = (name: string): boolean => /^ahci$|^ide-|^virtio-(9p|gpu|keyboard|mouse|tablet)/.test(name);
  it.each([
    ...['pc', 'q35'].flatMap((board) =>
      [false, true].map((second) => ({ board, half: second ? 2 : 1, chosen: names.filter((name) => !isMmio(name) && isSecond(name) === second) })),
    ),
    {
      board: 'microvm',
      half: 'all',
      chosen: names.filter((name) => isMmio(name) || /^isa-|^pc-/.test(name)).filter((name) => name !== 'isa-serial'),
    },
  ])('is saved and loaded on $board ($half)', { timeout: TIMEOUT }, async ({ board, half, chosen }) => {
    const devices = chosen.flatMap((name) => optionsOf(name)?.options ?? []);
    const [first, second] = [pathFor(`${board}-${half}-1`), pathFor(`${board}-${half}-2`)];
    const saved = await tell(['-M', board, ...devices], `savevm ${first}`);
    expect(saved.out + saved.err, saved.err).toMatch(/saved to/);
    // What was loaded is what is saved again, byte for byte.
    const loaded = await tell(['-M', board, ...devices, '-loadvm', first], `savevm ${second}`);
    expect(loaded.out + loaded.err, loaded.err).toMatch(/saved to/);
    expect(readFileSync(second).equals(readFileSync(first))).toBe(true);
  });

  it('a machine without one of them is refused by name', { timeout: TIMEOUT }, async () => {
    const file = pathFor('with-rng');
    await tell(['-device', 'virtio-rng-pci'], `savevm ${file}`);
    const other = await start('run', ...guest(0xf4), '-serial', 'null', '-display', 'none', '-loadvm', file).ended;
    expect([other.status, other.err]).toEqual([1, expect.stringMatching(/virtio: the snapshot has virtio0 .*, this machine/)]);
  });
});
