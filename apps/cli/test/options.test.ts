import { describe, expect, it } from 'vitest';
import { UsageError } from '../src/errors.js';
import { configure, type RunOptions } from '../src/options/config.js';
import { parseOptions } from '../src/options/parse.js';
import { optionRows } from '../src/options/table.js';

const files: Record<string, string> = {
  intel: '# a comment\noptions kvm-intel nested=Y\nblacklist nouveau\n',
  amd: 'options kvm_amd \\\n  nested=1 avic=1\n',
  off: 'options kvm_intel nested=n\n',
  bare: 'options kvm-intel nested\n',
  bad: '\noptions kvm-amd nested=maybe\n',
  typo: 'options kvm_intel nestd=1\n',
};
/** Options that some test has given. */
const given = new Set<string>();
const parse = (text: string): RunOptions => {
  const words = (text.match(/"[^"]*"|\S+/g) ?? []).map((word) => word.replaceAll('"', ''));
  const raw = parseOptions(words);
  for (const name of raw.keys()) given.add(name);
  return configure(raw, (_option, path) => files[path]!);
};
const run = (text: string): RunOptions => parse(`-kernel k ${text}`);
/** The message of the `UsageError` that a command line gets. */
const complaint = (text: string): string => {
  try {
    parse(text);
  } catch (error) {
    if (error instanceof UsageError) return error.message;
    throw error;
  }
  return 'accepted';
};

describe('defaults', () => {
  it('are a PC with one CPU, 128 MiB, and the first serial port on the terminal', () => {
    expect(run('')).toMatchObject({
      board: 'pc',
      boardProperties: {},
      topology: { sockets: 1, cores: 1, threads: 1 },
      memoryBytes: 128 << 20,
      serial: [{ kind: 'stdio', monitor: true }],
      clock: { kind: 'host' },
      rtc: { base: 'utc', clock: 'host' },
      reboot: true,
      shutdown: true,
      paused: false,
      escape: 1,
      log: [],
      levels: false,
      nesting: { intel: false, amd: false },
      warnings: [],
    });
    expect(run('').cpu.name).toBe('max');
  });
});

describe('every option', () => {
  it.each<[string, object]>([
    ['-M q35', { board: 'q35' }],
    ['-machine type=microvm,acpi=off,accel=tcg', { board: 'microvm', boardProperties: { acpi: false } }],
    ['-M pc-i440fx-7.2', { board: 'pc' }],
    ['-M isapc', { board: 'isapc' }],
    ['-no-acpi -no-hpet', { boardProperties: { acpi: false, hpet: false } }],
    ['-m 1G', { memoryBytes: 2 ** 30 }],
    ['-m size=512M', { memoryBytes: 2 ** 29 }],
    ['-m 300', { memoryBytes: 300 * 2 ** 20 }],
    ['-smp 4', { topology: { sockets: 1, cores: 4, threads: 1 } }],
    ['-smp 8,sockets=2,cores=2,threads=2', { topology: { sockets: 2, cores: 2, threads: 2 } }],
    ['-smp cpus=2,maxcpus=2', { topology: { sockets: 1, cores: 2, threads: 1 } }],
    ['-initrd f', { modules: [{ path: 'f' }] }],
    ['-initrd "a x=1,b"', { modules: [{ path: 'a', commandLine: 'a x=1' }, { path: 'b' }] }],
    ['-append "console=ttyS0 quiet"', { commandLine: 'console=ttyS0 quiet' }],
    ['-bios f -L d', { firmware: { bios: 'f', wanted: false, folders: ['d'] } }],
    [
      '-hdc a -hdd b',
      {
        drives: [
          { path: 'a', ata: 2, cd: false },
          { path: 'b', ata: 3 },
        ],
      },
    ],
    [
      '-cdrom c -boot order=dc,once=c,menu=on',
      { drives: [{ path: 'c', ata: 2, cd: true, readOnly: true }], firmware: { boot: { order: 'dc', once: 'c', menu: true } } },
    ],
    ['-vga std -display curses', { firmware: { vga: 'std', display: 'curses', wanted: true, serialConsole: false }, serial: [{ kind: 'null' }] }],
    [
      '-device ahci,id=a -drive file=f,if=none,id=d -device ide-hd,drive=d,bus=a.1,bootindex=2 -device ide-cd',
      { devices: { ahci: ['a'], ata: [{ drive: 'd', bus: 'a.1', bootIndex: 2, cd: false }, { cd: true }] } },
    ],
    ['-serial stdio', { serial: [{ kind: 'stdio', monitor: false }] }],
    ['-serial file:a -serial null -serial none', { serial: [{ kind: 'file', path: 'a' }, { kind: 'null' }, { kind: 'none' }] }],
    ['-chardev file,id=c,path=p -serial chardev:c', { serial: [{ kind: 'file', path: 'p' }] }],
    ['-chardev stdio,id=c,mux=on -device isa-serial,chardev=c', { serial: [{ kind: 'stdio', monitor: true }] }],
    ['-nodefaults', { serial: [] }],
    ['-nodefaults -nographic', { serial: [{ kind: 'stdio', monitor: true }] }],
    ['-debugcon file:d', { debugConsole: { port: 0xe9, to: { kind: 'file', path: 'd' } } }],
    ['-chardev null,id=n -device isa-debugcon,iobase=0x402,chardev=n', { debugConsole: { port: 0x402, to: { kind: 'null' } } }],
    ['-device isa-debug-exit,iobase=0xf4,iosize=0x4', { devices: { debugExit: { iobase: 0xf4, iosize: 4 } } }],
    ['-device pc-testdev', { devices: { testDevice: true } }],
    ['-device loader,file=f,addr=0x7c00,cpu-num=0,mode=real', { devices: { images: [{ path: 'f', address: 0x7c00, entry: true, mode: 'real' }] } }],
    ['-no-reboot -no-shutdown -S', { reboot: false, shutdown: false, paused: true }],
    ['-echr 2', { escape: 2 }],
    ['-icount 4', { clock: { kind: 'virtual', shift: 4, sleep: true } }],
    ['-icount shift=auto', { clock: { kind: 'adaptive' } }],
    ['-icount auto', { clock: { kind: 'adaptive' } }],
    ['-icount shift=auto,sleep=off', { clock: { kind: 'virtual', shift: 3, sleep: false } }],
    ['-rtc base=2006-06-17T16:01:21,clock=vm', { rtc: { base: Date.UTC(2006, 5, 17, 16, 1, 21), clock: 'vm' } }],
    ['-rtc base=localtime,clock=rt', { rtc: { base: 'localtime', clock: 'rt' } }],
    ['-rtc clock=host -icount 0', { rtc: { base: 'utc', clock: 'host' } }],
    ['-rtc utc,driftfix=none -icount 0', { rtc: { base: 'utc', clock: 'vm' } }],
    [
      '-chardev null,id=a -chardev file,id=b,path=p,append=on -serial stdio -device isa-serial,chardev=a -device isa-serial,chardev=b,index=3',
      { serial: [{ kind: 'stdio' }, { kind: 'null' }, { kind: 'none' }, { kind: 'file', path: 'p', append: true }] },
    ],
    ['-chardev stdio,id=s,mux=on,signal=off -serial chardev:s', { serial: [{ kind: 'stdio', monitor: true }] }],
    ['-chardev null,id=n -device isa-debugcon,chardev=n,readback=0x55', { debugConsole: { port: 0xe9, readback: 0x55 } }],
    ['-M q35,smm=auto,vmport=off,kernel-irqchip=split -smp 2,dies=1 -m 1G,maxmem=1G', { board: 'q35', boardProperties: {} }],
    ['-accel tcg,jit=on,tb-size=64', { jit: true, codeBytes: 64 << 20 }],
    ['-accel tcg,jit=off -accel tcg,tb-size=0', { jit: false }],
    ['-seed 7', { seed: 7 }],
    ['-d int,unimp -D log', { log: ['int', 'unimp'], logFile: 'log' }],
    ['-levels', { levels: true }],
    ['--tlb evict=7', { tlb: { evictSeed: 7, sanitize: false } }],
    ['--tlb sanitize', { tlb: { sanitize: true } }],
    ['--tlb sanitize,evict=1', { tlb: { evictSeed: 1, sanitize: true } }],
    ['-name guest,process=x', { name: 'guest' }],
    ['-pidfile run/pid', { pidFile: 'run/pid' }],
    ['-display none -vga none -net none -nic none -parallel none -monitor none -boot c -no-user-config -accel tcg', { warnings: [] }],
    ['-enable-kvm', { warnings: [expect.stringContaining('-enable-kvm')] }],
    [
      '-netdev user,id=n0,hostfwd=tcp::8080-:80,hostfwd=udp:127.0.0.1:53-10.0.2.15:53,net=10.1.0.0/16 -device virtio-net-pci,netdev=n0,mac=52:54:00:00:00:01,mq=on',
      {
        networks: {
          networks: [
            {
              kind: 'user',
              id: 'n0',
              net: '10.1.0.0/16',
              forwards: [
                { protocol: 'tcp', hostPort: 8080, guestPort: 80 },
                { protocol: 'udp', hostAddress: '127.0.0.1', hostPort: 53, guestAddress: '10.0.2.15', guestPort: 53 },
              ],
            },
          ],
        },
        devices: { virtio: [{ kind: 'network', netdev: 'n0', mac: '52:54:00:00:00:01', multiqueue: true }] },
      },
    ],
    [
      '-nic socket,listen=:1234,mac=52:54:00:00:00:02',
      { networks: { networks: [{ kind: 'socket', end: 'listen', address: '127.0.0.1', port: 1234 }], nics: [{ netdev: 'nic0' }] } },
    ],
    [
      '-device virtio-gpu-pci,xres=800,yres=600 -device virtio-keyboard-device,serial=k -device virtio-mouse-pci,packed=on -device virtio-tablet-pci',
      {
        devices: {
          virtio: [
            { kind: 'graphics', width: 800, height: 600, bus: 'pci' },
            { kind: 'input', input: 'keyboard', serial: 'k', bus: 'mmio' },
            { kind: 'input', input: 'mouse', packed: true },
            { kind: 'input', input: 'tablet' },
          ],
        },
      },
    ],
    [
      '-fsdev local,id=f0,path=/srv,security_model=none,readonly=on -device virtio-9p-pci,fsdev=f0,mount_tag=share',
      {
        folders: [{ id: 'f0', path: '/srv', ownership: 'none', readOnly: true }],
        devices: { virtio: [{ kind: 'files', fsdev: 'f0', tag: 'share', bus: 'pci' }] },
      },
    ],
    [
      '-virtfs local,path=/srv,mount_tag=share,security_model=passthrough',
      { folders: [{ id: 'virtfs0', path: '/srv', tag: 'share', ownership: 'passthrough', readOnly: false }] },
    ],
    [
      '-netdev socket,id=n0,mcast=230.0.0.1:1234 -netdev socket,id=n1,udp=127.0.0.1:5,localaddr=127.0.0.1:6',
      {
        networks: {
          networks: [
            { kind: 'datagrams', datagrams: { kind: 'group', address: '230.0.0.1', port: 1234 } },
            { kind: 'datagrams', datagrams: { kind: 'peer', address: '127.0.0.1', port: 5, localAddress: '127.0.0.1', localPort: 6 } },
          ],
        },
      },
    ],
    ['-nic user -object filter-dump,id=f,netdev=nic0,file=x.pcap', { networks: { dumps: [{ netdev: 'nic0', path: 'x.pcap', mostBytes: 65_536 }] } }],
    ['-global virtio-rng-pci.packed=on', { globals: new Map([['virtio-rng-pci', new Map([['packed', 'on']])]]) }],
    ['-loadvm f', { loadSnapshot: 'f' }],
    ['-drive file=d,,1,if=virtio,serial=S,snapshot=on', { drives: [{ path: 'd,1', plugged: true, serial: 'S', snapshot: true, readOnly: false }] }],
    [
      '-smbios type=1,product=P,uuid=00112233-4455-6677-8899-aabbccddeeff -smbios type=1,serial=S',
      { smbios: { facts: { texts: { 1: { product: 'P', serial: 'S' } } } } },
    ],
    ['-smbios type=11,value=a,value=b -smbios file=x', { smbios: { facts: { oemStrings: ['a', 'b'] }, files: ['x'] } }],
    [
      '-uuid 00112233-4455-6677-8899-aabbccddeeff',
      { smbios: { facts: { uuid: Uint8Array.of(0, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff) } } },
    ],
    ['-hda d -boot order=dc,strict=on', { firmware: { boot: { order: 'dc', strict: true } } }],
    [
      '-blockdev file,node-name=n,filename=f,read-only=on -M q35,pflash0=n',
      { drives: [{ id: 'n', flash: 0, readOnly: true }], firmware: { flash: true } },
    ],
    ['-blockdev raw,node-name=n,file.driver=file,file.filename=f', { drives: [{ id: 'n', plugged: false, path: 'f', format: 'raw' }] }],
    ['-drive file=v,if=pflash,unit=1,readonly=on', { drives: [{ flash: 1, readOnly: true }], firmware: { flash: true } }],
    ['-drive file=d,werror=stop,rerror=ignore', { drives: [{ errors: { write: 'stop', read: 'ignore' } }] }],
    ['-drive file=d,if=none,id=x,readonly=on,cache=writethrough', { drives: [{ id: 'x', plugged: false, readOnly: true, writeCache: false }] }],
    [
      '-hda a -hdb b -snapshot',
      {
        drives: [
          { path: 'a', ata: 0, plugged: false, snapshot: true },
          { path: 'b', ata: 1 },
        ],
      },
    ],
    [
      '-device virtio-blk-pci,drive=x,packed=on,num-queues=4,disable-legacy=on,addr=5',
      { devices: { virtio: [{ kind: 'block', bus: 'pci', drive: 'x', packed: true, queues: 4, mode: 'modern', slot: 5 }] } },
    ],
    [
      '-device virtio-blk-pci,drive=x,logical_block_size=4k,physical_block_size=16384',
      { devices: { virtio: [{ kind: 'block', drive: 'x', logicalBlockBytes: 4096, physicalBlockBytes: 16384 }] } },
    ],
    [
      '-device virtio-rng-pci,iommu_platform=on,event_idx=off',
      {
        devices: {
          virtio: [
            {
              features: [
                { bit: 33, offered: true },
                { bit: 29, offered: false },
              ],
            },
          ],
        },
      },
    ],
    [
      '-netdev user,id=n0 -device virtio-net-pci,netdev=n0,mrg_rxbuf=off,csum=on,gso=off',
      { devices: { virtio: [{ features: [15, 11, 13].map((bit) => ({ bit, offered: false })) }] } },
    ],
    ['-device virtio-rng-device', { devices: { virtio: [{ kind: 'entropy', bus: 'mmio', packed: false }] } }],
    ['-incoming tcp:0:4444', { incoming: 'tcp:0:4444' }],
    [
      '-monitor unix:m,server,nowait',
      { monitors: [{ protocol: 'monitor', place: { kind: 'socket', address: { path: 'm' }, server: true, wait: false } }] },
    ],
    ['-monitor tcp:h:1,server', { monitors: [{ place: { address: { host: 'h', port: 1 }, server: true, wait: true } }] }],
    [
      '-qmp tcp::4444 -monitor stdio',
      { monitors: [{ protocol: 'monitor' }, { protocol: 'qmp', place: { wait: false } }], serial: [{ kind: 'null' }] },
    ],
    [
      '-chardev socket,id=c,path=p -mon chardev=c,mode=control',
      { monitors: [{ protocol: 'qmp', place: { kind: 'socket', address: { path: 'p' }, server: false, wait: false } }] },
    ],
    ['-pflash f', { drives: [{ path: 'f', flash: -1 }] }],
    ['-action reboot=shutdown', { reboot: false }],
    ['-fw_cfg name=opt/a,string=x', { firmwareFiles: [{ name: 'opt/a', text: 'x' }] }],
    ['-msg timestamp=on -overcommit cpu-pm=off -mem-prealloc -no-fd-bootchk', { warnings: [] }],
    ['--nested', { nesting: { intel: true, amd: true } }],
  ])('%s', (text, expected) => {
    expect(run(text)).toMatchObject(expected);
  });
});

describe('consoles of virtio', () => {
  it('take the numbers that they are given, and keep port 0 for a console', () => {
    const [device] = run(
      '-chardev null,id=n -device virtio-serial-pci,id=s,packed=on -device virtserialport,chardev=n,name=a -device virtconsole,chardev=n -device virtserialport,bus=s.0,chardev=n,nr=7',
    ).devices.virtio;
    expect(device).toMatchObject({ kind: 'console', id: 's', packed: true, bus: 'pci' });
    expect(device?.kind === 'console' && device.ports.map(({ number, console, name }) => [number, console, name])).toEqual([
      [1, false, 'a'],
      [0, true, undefined],
      [7, false, undefined],
    ]);
  });

  it('take the terminal away from the serial port', () => {
    const { serial, terminal } = run('-chardev stdio,id=t,mux=on -device virtio-serial-device -device virtconsole,chardev=t');
    expect(serial).toEqual([{ kind: 'null' }]);
    expect(terminal).toEqual({ kind: 'stdio', monitor: true });
  });
});

describe('SCSI, balloons and sockets of virtio', () => {
  it('give units that say nothing the next target', () => {
    const [scsi] = run(
      '-device virtio-scsi-pci,id=s,num_queues=2 -device scsi-hd,drive=a -device scsi-cd -device scsi-hd,drive=b,scsi-id=9,lun=1,bus=s.0',
    ).devices.virtio;
    expect(scsi).toMatchObject({
      queues: 2,
      units: [
        { kind: 'disk', drive: 'a', target: 0, unit: 0 },
        { kind: 'cd', target: 1, unit: 0 },
        { kind: 'disk', drive: 'b', target: 9, unit: 1 },
      ],
    });
  });

  it('are told what they may do', () => {
    const [balloon, vsock] = run('-device virtio-balloon,deflate-on-oom=on,free-page-hint=off -device vhost-vsock-device,guest-cid=7,path=p').devices
      .virtio;
    expect(balloon).toMatchObject({ bus: 'pci', deflateOnOom: true, freePageHint: false, freePageReporting: true });
    expect(vsock).toMatchObject({ bus: 'mmio', guestCid: 7, path: 'p' });
  });
});

describe('nesting', () => {
  const cpu = (text: string): string => {
    const { cpu: model } = run(text);
    return `${model.vendor} ${['vmx', 'svm'].filter((feature) => model.has(feature)).join(' ')}`.trim();
  };

  it('comes from --nested or modprobe lines', () => {
    expect(cpu('-cpu host')).toBe('intel');
    expect(cpu('--nested -cpu host')).toBe('intel vmx');
    expect(cpu('--nested -cpu host,vendor=amd')).toBe('amd svm');
    expect(cpu('--modprobe intel -cpu host')).toBe('intel vmx');
    expect(cpu('--modprobe amd')).toBe('amd svm');
    expect(cpu('--modprobe amd -cpu EPYC,svm=on')).toBe('amd svm');
    expect(cpu('--modprobe intel --modprobe off -cpu host')).toBe('intel');
    expect(cpu('--modprobe off --nested')).toBe('intel vmx');
    expect(cpu('--modprobe bare')).toBe('intel vmx');
    expect(run('--modprobe amd').warnings).toEqual([expect.stringMatching(/^--modprobe amd:1: avic has no effect/)]);
  });

  it('that is asked for while it is off gets told how to have it', () => {
    expect(complaint('-kernel k -cpu Haswell-noTSX-IBRS,vmx=on')).toMatch(
      /add --nested, or --modprobe FILE with the line 'options kvm-intel nested=Y'/,
    );
    expect(complaint('-kernel k -cpu EPYC,svm=on --modprobe intel')).toMatch(/'options kvm-amd nested=1'/);
    expect(complaint('-kernel k --modprobe bad')).toBe('--modprobe bad:2: nested=maybe is neither yes nor no; write nested=Y or nested=N');
    expect(complaint('-kernel k --modprobe typo')).toMatch(/typo:1: kvm_intel has no parameter 'nestd'; the nearest is 'nested'/);
  });
});

describe('what cannot be followed', () => {
  it.each([
    ['-kernel k -virtfs local,path=/srv,mount_tag=x', /security_model=: say whose the guest's files are/],
    ['-kernel k -virtfs local,path=/srv,mount_tag=x,security_model=mapped-xattr', /security_model=mapped-xattr: say whose/],
    ['-kernel k -virtfs local,path=/srv,security_model=none', /mount_tag= is missing/],
    ['-kernel k -fsdev proxy,id=f', /there is -fsdev local,path=F,security_model=none/],
    ['-kernel k -fsdev local,id=f,security_model=none', /path= is missing/],
    ['-kernel k -device virtio-9p-pci,fsdev=f', /mount_tag= is missing/],
    ['-kernel k -netdev user', /an id is missing; write -netdev user,id=n0/],
    ['-kernel k -netdev tap,id=n0', /no such network; there are user, socket, websocket, hubport/],
    ['-kernel k -netdev user,id=n0,hostfwd=8080:80', /hostfwd=8080:80: not a rule/],
    ['-kernel k -netdev user,id=n0 -netdev user,id=n0', /two networks have this name/],
    ['-kernel k -netdev socket,id=n0,mcast=10.0.0.1:1234', /not a group; use an address from 224/],
    ['-kernel k -netdev socket,id=n0,udp=127.0.0.1:1', /localaddr=: write localaddr=ADDRESS:PORT/],
    ['-kernel k -netdev socket,id=n0', /write listen=:1234 or connect=/],
    ['-kernel k -device virtio-net-pci', /netdev= is missing/],
    ['-kernel k -nic user,model=e1000', /there is virtio-net-pci/],
    ['-kernel k -object filter-dump,id=f,netdev=n9,file=x', /no -netdev has the id 'n9'/],
    ['-kernel k -drive file=x,format=vmdk', /there are raw and qcow2/],
    ['-kernal k', /no such option; the nearest is '-kernel'/],
    ['--kernel=k', /write '-kernel k'/],
    ['k', /options start with a dash/],
    ['-kernel', /an argument is missing/],
    ['-M pcc -kernel k', /no such machine; the nearest is 'pc'/],
    ['-M q35,acpy=off -kernel k', /no such property 'acpy'; the nearest is 'acpi'/],
    ['-M q35,acpi=maybe -kernel k', /neither on nor off/],
    ['-M isapc,acpi=on -kernel k', /no such property 'acpi'/],
    ['-cpu Hasswell -kernel k', /the nearest is 'Haswell'/],
    ['-cpu max,+avx22 -kernel k', /the nearest is 'avx2'/],
    ['-m 12Q -kernel k', /not a size/],
    ['-m 512K -kernel k', /too little memory/],
    ['-m 8G -kernel k', /too much memory/],
    ['-smp 0 -kernel k', /between 1 and 255/],
    ['-smp 64 -kernel k', /up to 16/],
    ['-smp 3,cores=2,sockets=1 -kernel k', /are not 3 CPUs/],
    ['-serial stdio -serial mon:stdio -kernel k', /only one port or console can be on the terminal/],
    ['-serial braille -kernel k', /not one of stdio/],
    ['-serial chardev:x -kernel k', /no -chardev has the id 'x'/],
    ['-device isa-debug-exitt -kernel k', /the nearest is 'isa-debug-exit'/],
    ['-device isa-debug-exit,iobas=1 -kernel k', /the nearest is 'iobase'/],
    ['-device loader,addr=0 -kernel k', /file= is missing/],
    ['-device virtio-blk-pci -kernel k', /drive= is missing/],
    ['-device virtio-rng-pci,disable-legacy=on,disable-modern=on -kernel k', /leave one on/],
    ['-device virtconsole,chardev=c -chardev null,id=c -kernel k', /nothing to plug it into; write -device virtio-serial-pci before it/],
    ['-device virtio-serial,id=a -device virtconsole,bus=b.0 -kernel k', /no virtio-serial-pci has the id 'b'/],
    ['-device virtio-serial -device virtserialport -kernel k', /chardev= is missing/],
    ['-device virtio-serial,max_ports=1 -chardev null,id=c -device virtserialport,chardev=c -kernel k', /has 1 ports at most/],
    ['-device virtio-serial -chardev null,id=c -device virtconsole,chardev=c -device virtserialport,chardev=c,nr=0 -kernel k', /another port has/],
    ['-device virtio-serial -chardev stdio,id=c -device virtconsole,chardev=c -serial stdio -kernel k', /only one port or console/],
    ['-device scsi-hd,drive=d -kernel k', /write -device virtio-scsi-pci before it/],
    ['-device virtio-scsi -device scsi-hd -kernel k', /drive= is missing/],
    ['-device virtio-scsi -device scsi-cd,lun=256 -kernel k', /between 0 and 255/],
    ['-device vhost-vsock-pci -kernel k', /guest-cid= is missing/],
    ['-device vhost-vsock-pci,guest-cid=2 -kernel k', /between 3 and 4294967294/],
    ['-device virtio-balloon-pci,deflate-on-oom=maybe -kernel k', /neither on nor off/],
    ['-drive if=virtio -kernel k', /a file is missing/],
    ['-M q35,pflash0=n -kernel k', /no such drive/],
    ['-smbios type=5 -kernel k', /one of 0, 1, 2, 3, 4, 11, 17/],
    ['-smbios type=1,prodct=x -kernel k', /nearest is 'product'/],
    ['-uuid 1 -kernel k', /no UUID/],
    ['-drive file=a,werror=panic -kernel k', /werror=panic: there are report, ignore, stop, enospc/],
    ['-drive file=a,format=vdi -kernel k', /format vdi/],
    ['-drive file=a,if=floppy -kernel k', /there are virtio, ide, sata, pflash, none/],
    ['-drive file=a,id=x -drive file=b,id=x -kernel k', /two disks have this name/],
    ['-icount shift=11 -kernel k', /between 0 and 10/],
    ['-icount rr=record -kernel k', /repeat exactly/],
    ['-rtc clock=hots -kernel k', /there are host, rt, vm/],
    ['-rtc driftfix=slew -kernel k', /write driftfix=none/],
    ['-rtc base=yesterday -kernel k', /write utc, localtime/],
    ['-M q35,usb=on -kernel k', /there is no USB/],
    ['-M microvm,isa-serial=off -kernel k', /-serial none/],
    ['-smp 4,dies=2 -kernel k', /one die/],
    ['-m 1G,slots=2,maxmem=4G -kernel k', /cannot be plugged in later/],
    ['-icount shift=1,align=on -kernel k', /leave it out/],
    ['-chardev stdio,id=s,signal=off -serial chardev:s -kernel k', /write signal=on/],
    ['-chardev fil,id=s -kernel k', /the nearest is 'file'/],
    ['-chardev null,id=s,logfile=x -kernel k', /no such property 'logfile'/],
    ['-chardev null,id=s -device isa-serial,chardev=s,index=0 -serial null -kernel k', /taken already/],
    ['-chardev null,id=s -device isa-serial,chardev=s,index=4 -kernel k', /between 0 and 3/],
    ['-device loader,file=f,addr=0,force-raw=off -kernel k', /ELF is for -kernel/],
    ['-d intt -kernel k', /the nearest is 'int'/],
    ['-display gtk -kernel k', /there are none and curses/],
    ['-kernel k -monitor pipe:x', /not one of stdio, pty, tcp/],
    ['-kernel k -monitor stdio -qmp stdio', /only one monitor can be on the terminal/],
    ['-kernel k -monitor stdio -serial stdio', /the terminal belongs to a serial port/],
    ['-kernel k -mon chardev=c', /no -chardev socket, pty or stdio has the id 'c'/],
    ['-kernel k -chardev socket,id=c -mon c', /write path=PATH/],
    ['-kernel k -chardev socket,id=c,path=p -mon c,mode=x', /there are readline, control/],
    ['-kernel k --tlb evikt=1', /the nearest is 'evict'/],
    ['-kernel k --tlb fast', /write evict=SEED, sanitize/],
    ['-append x', /without a kernel/],
    ['-initrd x', /without a kernel/],
    ['-m 64M', /nothing to run/],
  ])('%s', (text, message) => {
    expect(complaint(text)).toMatch(message);
    expect(complaint(text)).not.toContain('\n');
  });
});

it('every option of the table has been given above', () => {
  const missing = optionRows.map(({ name }) => name).filter((name) => !given.has(name));
  // These two print and end; test/system.test.ts has them.
  expect(missing).toEqual(['version', 'help']);
});
