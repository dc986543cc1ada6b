/** What people who know QEMU type, and what they are told where Nestvm has it under another name, or not at all. */
import { describe, expect, it } from 'vitest';
import { UsageError } from '../src/errors.js';
import { deviceHelp, optionHelp } from '../src/help.js';
import { configure, type RunOptions } from '../src/options/config.js';
import { parseOptions } from '../src/options/parse.js';

const configured = (text: string): RunOptions => configure(parseOptions(`-kernel k ${text}`.split(' ')), () => '');

/** The one line that a command line gets, or its warnings. */
function answer(text: string): string {
  try {
    return configured(text).warnings.join('\n');
  } catch (error) {
    if (error instanceof UsageError) return error.message;
    throw error;
  }
}

describe('options and devices of QEMU that are not here', () => {
  it.each([
    ['-usb', /no USB/],
    ['-vnc :0', /-display curses/],
    ['-gdb tcp::1234', /no GDB server/],
    ['-s', /no GDB server/],
    ['-fda f.img', /no floppies; give the image as a disk/],
    ['-k de', /leave it out/],
    ['-curses', /write -display curses/],
    ['-net nic,model=e1000', /there is virtio-net-pci/],
    ['-global PIIX4_PM.disable_s3=1', /-global PIIX4_PM.disable_s3=1: no such device; '-device help' lists them/],
    ['-global virtio-rng-pci.speed=1', /no such property 'speed'/],
    ['-global foo', /write -global DEVICE.PROPERTY=VALUE/],
    ['-parallel file:p', /write -parallel none/],
    ['-device e1000,netdev=n0', /the network card is virtio-net-pci/],
    ['-device rtl8139', /virtio-net-pci/],
    ['-device usb-tablet', /virtio-tablet-pci/],
    ['-device qemu-xhci', /no USB/],
    ['-device VGA', /-vga std/],
    ['-device nvme,drive=d', /virtio-blk-pci/],
    ['-device pcie-root-port,id=r', /one bus of the board/],
    ['-device vfio-pci,host=1', /cannot be passed through/],
    ['-device foo', /'-device help' lists them/],
    ['-device ,x=1', /a name is missing/],
    ['-vga cirrus', /std and none; .*virtio-gpu-pci/],
    ['-drive file=nbd://h/x', /images behind nbd: are not read/],
    ['-drive file=d,aio=foo', /threads, native, io_uring/],
    ['-accel tcg,foo=1', /no such property 'foo'; there are jit, tb-size/],
    ['-accel tcg,thread=many', /write single or multi/],
  ])('%s', (text, message) => {
    expect(answer(text)).toMatch(message);
    expect(answer(text)).not.toContain('\n');
  });
});

describe('devices that do not fit together', () => {
  it.each([
    ['-drive file=d,if=none,id=a -device virtio-blk-pci,drive=a -device ide-hd,drive=a', /ide-hd,drive=a: another device has this drive/],
    ['-device virtio-scsi-pci -device scsi-hd,drive=a -device scsi-hd,drive=a', /another device has this drive/],
    ['-device virtio-rng-pci,bootindex=3 -device ide-cd,bootindex=3', /bootindex=3: two devices have this boot index/],
    ['-device virtio-rng-pci,rng=r', /no -object has this id; add -object rng-builtin,id=r/],
    ['-device virtio-rng-pci,bus=pcie.7', /one bus of the board/],
    ['-device virtio-net-pci,netdev=n,romfile=x.rom', /no option ROMs/],
    ['-chardev null,id=c -chardev null,id=c', /another has the id 'c'/],
  ])('%s', (text, message) => expect(answer(text)).toMatch(message));

  it.each([
    '-device virtio-rng-pci,bootindex=-1 -device ide-cd,bootindex=-1',
    '-object rng-random,id=r,filename=/dev/urandom -device virtio-rng-pci,rng=r,bus=pci.0,romfile=,ioeventfd=on',
    '-accel tcg,thread=multi,split-wx=off',
    '-msg timestamp=on -overcommit mem-lock=off -mem-prealloc -no-fd-bootchk',
  ])('%s is taken as it is', (text) => expect(answer(text)).toBe(''));
});

describe('options that QEMU has, too', () => {
  it.each<[string, object]>([
    ['-pflash code.fd -pflash vars.fd', { drives: [{ path: 'code.fd', flash: -1, format: 'raw' }, { path: 'vars.fd' }] }],
    ['-action reboot=shutdown,shutdown=pause', { reboot: false, shutdown: false }],
    [
      '-device {"driver":"virtio-rng-pci","id":"r","addr":"5","packed":true,"max-bytes":64}',
      { devices: { virtio: [{ kind: 'entropy', id: 'r', slot: 5, packed: true }] } },
    ],
    [
      '-net nic,model=virtio,macaddr=52:54:00:00:00:01 -net user,hostfwd=tcp::80-:80',
      { networks: { networks: [{ kind: 'user', id: 'net0' }], nics: [{ netdev: 'net0', mac: '52:54:00:00:00:01' }] } },
    ],
    [
      '-net nic -net nic -net socket,listen=:1 -net none',
      {
        networks: {
          networks: [{ kind: 'socket' }, { kind: 'hubport', hub: 0, netdev: 'net0' }, { kind: 'hubport', hub: 0 }, { kind: 'hubport', hub: 0 }],
          nics: [{ netdev: 'nic-port0' }, { netdev: 'nic-port1' }],
        },
      },
    ],
    [
      '-global virtio-rng-pci.packed=on -global driver=virtio-rng-pci,property=vectors,value=3 -device virtio-rng-pci,vectors=2 -device virtio-rng',
      {
        devices: {
          virtio: [
            { packed: true, vectors: 2 },
            { packed: true, vectors: 3 },
          ],
        },
      },
    ],
    ['-action panic=none', { reboot: true, shutdown: true }],
    [
      '-fw_cfg name=opt/a,string=x -fw_cfg opt/b,file=f',
      {
        firmwareFiles: [
          { name: 'opt/a', text: 'x' },
          { name: 'opt/b', path: 'f' },
        ],
      },
    ],
    [
      '-device virtio-net-pci,netdev=n,guest_csum=off,host_tso4=on',
      { devices: { virtio: [{ features: [1, 7].map((bit) => ({ bit, offered: false })) }] } },
    ],
    ['-device virtio-blk-pci,drive=d,discard=off', { devices: { virtio: [{ features: [{ bit: 13, offered: false }] }] } }],
  ])('%s', (text, expected) => expect(configured(text)).toMatchObject(expected));

  it.each([
    ['-action foo', /write reboot=/],
    ['-device {"driver":', /no JSON/],
    ['-device {"driver":["x"]}', /'driver' is neither a text/],
    ['-action reboot=pause', /there are reset, shutdown/],
    ['-fw_cfg opt/a', /write -fw_cfg name=/],
    [`-fw_cfg opt/${'a'.repeat(60)},string=x`, /more than 55 bytes/],
    ['-fw_cfg etc/x,string=y', /begin with opt\//],
  ])('%s', (text, message) => expect(answer(text)).toMatch(message));
});

describe('help', () => {
  it('says what an option takes, and what a device does', () => {
    expect(optionHelp('netdev')).toMatch(/^-netdev user\|socket/);
    expect(optionHelp('nonsense')).toBeUndefined();
    expect(optionHelp('snapshot')).toBeUndefined();
    expect(deviceHelp('virtio-net-pci')).toMatch(/^virtio-net-pci: a network card[^]*\n {2}netdev=\n/);
    expect(deviceHelp('nonsense')).toBeUndefined();
  });
});
