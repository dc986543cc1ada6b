/** How an option is taken. */
export interface OptionRow {
  readonly name: string;
  /** What its argument is called in help; absent for a switch. */
  readonly argument?: string;
  /** May be given several times. */
  readonly repeat?: boolean;
  /** Group in `nestvm run -help`. */
  readonly group: 'Machine' | 'Guest' | 'Console' | 'Time' | 'Debugging' | 'Accepted for QEMU’s sake';
  readonly help: string;
  /** Another spelling of this option. */
  readonly alias?: string;
}

/** Every option of `nestvm run`, under QEMU's names. */
export const optionRows: readonly OptionRow[] = [
  {
    name: 'M',
    alias: 'machine',
    argument: 'BOARD[,prop=value]',
    group: 'Machine',
    help: "pc (default), q35, microvm or isapc; properties acpi=, hpet=, pit=, pic=, rtc=, pflash0=ID and pflash1=ID (drives in the flash); 'nestvm machines' lists them",
  },
  {
    name: 'cpu',
    argument: 'MODEL[,±feature][,feature=on|off][,vendor=intel|amd]',
    group: 'Machine',
    help: "CPU model (default max, which is also host); 'nestvm models' lists them",
  },
  {
    name: 'nested',
    group: 'Machine',
    help: 'nested virtualization on: -cpu host has VMX (vendor=amd: SVM), and vmx=on, svm=on may be asked for (default off, as KVM had it)',
  },
  {
    name: 'modprobe',
    argument: 'FILE',
    repeat: true,
    group: 'Machine',
    help: "nested virtualization by modprobe.d lines: 'options kvm-intel nested=Y', 'options kvm-amd nested=1'",
  },
  { name: 'm', argument: 'SIZE', group: 'Machine', help: 'guest memory: 512M, 1G, a plain number is MiB (default 128M)' },
  { name: 'smp', argument: 'N[,sockets=S][,cores=C][,threads=T]', group: 'Machine', help: 'number of virtual CPUs (default 1)' },
  {
    name: 'device',
    argument: 'NAME[,prop=value]',
    repeat: true,
    group: 'Machine',
    help: 'isa-debug-exit, pc-testdev, isa-debugcon, isa-serial, loader, virtio-blk-pci, virtio-serial-pci, virtconsole … (-device help); isa-debug-exit,iobase=0xf4,iosize=0x4',
  },
  {
    name: 'drive',
    argument:
      'file=F[,format=raw|qcow2][,if=virtio|ide|pflash|none][,index=N|unit=N][,media=disk|cdrom][,id=ID][,readonly=on][,snapshot=on][,serial=S][,cache=C]',
    repeat: true,
    group: 'Machine',
    help: 'a disk or CD image, a file or an http:// or https:// address that is read by ranges (also file.driver=http,file.url=…), whose changes stay in memory; if=none leaves it to -device virtio-blk-pci,drive=ID; if=pflash is flash: unit=0 with the firmware, unit=1 with its variables',
  },
  {
    name: 'blockdev',
    argument: 'driver=file|raw|qcow2|null-co|blkdebug,node-name=N[,…] | JSON',
    repeat: true,
    group: 'Machine',
    help: 'a node for -device …,drive=N: file,filename=F; raw and qcow2 with file=NODE or file.driver=…, qcow2 also backing=NODE; blkdebug injects errors',
  },
  {
    name: 'netdev',
    argument: 'user|socket|websocket|hubport,id=ID[,…]',
    repeat: true,
    group: 'Machine',
    help: 'a network for -device virtio-net-pci,netdev=ID: user[,hostfwd=tcp::8080-:80][,guestfwd=tcp:10.0.2.100:7-tcp:127.0.0.1:7000 or -cmd:COMMAND][,net=10.0.2.0/24][,host=A][,dns=A][,dhcpstart=A][,hostname=N][,domainname=N][,tftp=DIR][,bootfile=F][,restrict=on]; socket,listen=:PORT or connect=HOST:PORT or mcast=GROUP:PORT or udp=HOST:PORT,localaddr=HOST:PORT (as QEMU); websocket,url=ws://HOST:PORT/ (a relay for guests in web pages, as `nestvm relay`: a frame in each binary message); hubport,hubid=N[,netdev=ID]',
  },
  { name: 'nic', argument: 'user|socket[,…][,mac=M]|none', repeat: true, group: 'Machine', help: 'a network with its virtio card at once' },
  {
    name: 'object',
    argument: 'filter-dump,id=ID,netdev=ID,file=F[,maxlen=N] | tls-creds-x509,id=ID,dir=D,endpoint=client|server[,verify-peer=off]',
    repeat: true,
    group: 'Machine',
    help: 'writes what passes a network to a file for tcpdump and Wireshark; certificates (ca-cert.pem, client-cert.pem, client-key.pem, server-…) that migrate tls-creds=ID uses',
  },
  {
    name: 'fsdev',
    argument: 'local,id=ID,path=F,security_model=none|passthrough[,readonly=on]',
    repeat: true,
    group: 'Machine',
    help: 'a folder for -device virtio-9p-pci,fsdev=ID,mount_tag=TAG; the guest mounts it with mount -t 9p -o trans=virtio TAG /mnt',
  },
  {
    name: 'virtfs',
    argument: 'local,path=F,mount_tag=TAG,security_model=none|passthrough[,readonly=on][,id=ID]',
    repeat: true,
    group: 'Machine',
    help: 'a folder with its device at once',
  },
  { name: 'hda', argument: 'FILE', group: 'Machine', help: 'the first disk: -drive file=FILE,if=ide,index=0 (microvm: if=virtio)' },
  { name: 'hdb', argument: 'FILE', group: 'Machine', help: 'the second disk' },
  { name: 'hdc', argument: 'FILE', group: 'Machine', help: 'the third disk' },
  { name: 'hdd', argument: 'FILE', group: 'Machine', help: 'the fourth disk' },
  { name: 'cdrom', argument: 'FILE', group: 'Machine', help: 'a CD: -drive file=FILE,if=ide,index=2,media=cdrom' },
  { name: 'snapshot', group: 'Machine', help: 'changes of all disks stay in memory and are gone at the end' },
  { name: 'nodefaults', group: 'Machine', help: 'only the devices that are asked for' },
  { name: 'no-acpi', group: 'Machine', help: 'no ACPI tables (as -M …,acpi=off)' },
  { name: 'no-hpet', group: 'Machine', help: 'no HPET (as -M …,hpet=off)' },
  {
    name: 'bios',
    argument: 'FILE',
    group: 'Machine',
    help: "firmware image, entered at the reset vector (default: Debian's SeaBIOS, when there is a disk and no kernel)",
  },
  { name: 'L', argument: 'FOLDER', repeat: true, group: 'Machine', help: 'where to look for firmware, before the usual places' },
  {
    name: 'boot',
    argument: '[order=]LETTERS[,once=LETTERS][,menu=on][,strict=on][,splash-time=MS][,reboot-timeout=MS]',
    group: 'Machine',
    help: 'what firmware starts from: c disk, d CD, n network; once: the first time only; menu: offer a choice',
  },
  {
    name: 'smbios',
    argument: 'type=0|1|2|3|4|11|17,FIELD=TEXT[,…] | file=FILE',
    repeat: true,
    group: 'Machine',
    help: 'what the SMBIOS tables say (as dmidecode shows it): vendor=, manufacturer=, product=, version=, serial=, uuid=, sku=, family=, asset=, value= …; file: a whole structure',
  },
  { name: 'uuid', argument: 'UUID', group: 'Machine', help: 'of the machine, for guests to see' },
  { name: 'vga', argument: 'std|none', group: 'Machine', help: 'graphics card (default std when firmware runs, else none)' },
  { name: 'kernel', argument: 'FILE', group: 'Guest', help: 'bzImage, ELF with a PVH note, multiboot 1 or 2' },
  { name: 'initrd', argument: "FILE | 'FILE arg,FILE arg'", group: 'Guest', help: 'initial ramdisk; for multiboot a list of modules' },
  { name: 'append', argument: 'TEXT', group: 'Guest', help: 'kernel command line' },
  { name: 'loadvm', argument: 'FILE', group: 'Guest', help: 'start from a snapshot that savevm made; give the options that the machine had' },
  {
    name: 'incoming',
    argument: 'tcp:HOST:PORT|unix:PATH|fd:N|exec:COMMAND|ws://HOST:PORT|file:F[,tls-creds=ID]|defer',
    group: 'Guest',
    help: 'wait for a machine that migrates here (defer: until migrate_incoming says where it comes from)',
  },
  { name: 'no-reboot', group: 'Guest', help: 'end instead of rebooting' },
  { name: 'no-shutdown', group: 'Guest', help: 'stop instead of ending when the guest powers off' },
  { name: 'name', argument: 'TEXT', group: 'Guest', help: 'name of the machine, for messages' },
  {
    name: 'serial',
    argument: 'stdio|mon:stdio|pty|file:F|tcp:HOST:PORT|unix:PATH[,server=on][,wait=off]|null|none|chardev:ID',
    repeat: true,
    group: 'Console',
    help: 'the next serial port; pty: on a new pseudo-terminal, whose name is printed',
  },
  {
    name: 'chardev',
    argument: 'stdio|file|null|pty,id=ID[,path=F][,mux=on] | socket,id=ID,path=P|host=H,port=N[,server=on][,wait=off]',
    repeat: true,
    group: 'Console',
    help: 'a named character device for -serial chardev:ID, -device …,chardev=ID (isa-serial, virtconsole, virtserialport …) and (stdio, pty, socket) -mon chardev=ID',
  },
  { name: 'debugcon', argument: 'stdio|pty|file:F|null|none|chardev:ID', group: 'Console', help: 'debug console at port 0xe9' },
  {
    name: 'monitor',
    argument: 'stdio|none|pty|tcp:HOST:PORT|unix:PATH|chardev:ID[,server=on|off][,wait=on|off]',
    repeat: true,
    group: 'Console',
    help: 'a monitor; it listens unless server=off (Ctrl-A c reaches one on mon:stdio)',
  },
  {
    name: 'qmp',
    argument: 'stdio|pty|tcp:HOST:PORT|unix:PATH|chardev:ID[,server=on|off][,wait=on|off]',
    repeat: true,
    group: 'Console',
    help: 'a monitor for programs, which speaks QMP (JSON)',
  },
  { name: 'mon', argument: 'chardev=ID[,mode=readline|control]', repeat: true, group: 'Console', help: 'a monitor on a -chardev; control: QMP' },
  { name: 'nographic', group: 'Console', help: 'first serial port and monitor on this terminal (what happens anyway)' },
  {
    name: 'display',
    argument: 'none|curses',
    group: 'Console',
    help: "curses: the graphics card's text on this terminal, whose keys are the keyboard's",
  },
  { name: 'echr', argument: 'CODE', group: 'Console', help: 'escape character instead of 1 (Ctrl-A)' },
  {
    name: 'icount',
    argument: 'shift=N|auto[,sleep=on|off]',
    group: 'Time',
    help: "virtual clock: one instruction takes 2^N ns, so that runs repeat exactly (auto: N follows the host's pace, and they do not); sleep=off: halted CPUs jump to the next timer at once",
  },
  {
    name: 'rtc',
    argument: 'base=utc|localtime|DATE[,clock=host|rt|vm]',
    group: 'Time',
    help: "date and time at power-on, and what drives the RTC from there: the host's wall clock (host, the default), its monotonic clock (rt), or guest time (vm, the default with -icount)",
  },
  { name: 'seed', argument: 'N', group: 'Time', help: 'seed of RDRAND, RDSEED and setup_data randomness, for runs that repeat' },
  { name: 'S', group: 'Debugging', help: "wait for 'c' in the monitor before the first instruction" },
  { name: 'levels', group: 'Debugging', help: 'print which level runs (L1, L2 …), and the VM entries and exits by reason at the end' },
  {
    name: 'tlb',
    argument: 'evict=SEED|sanitize',
    group: 'Debugging',
    help: 'test address translation: forget translations at random; compare each use of one with a fresh walk and print stale ones (slow)',
  },
  { name: 'd', argument: 'ITEM[,ITEM]', group: 'Debugging', help: "log items; '-d help' lists them" },
  { name: 'D', argument: 'FILE', group: 'Debugging', help: 'log file (default: standard error)' },
  { name: 'version', alias: 'V', group: 'Debugging', help: 'print the version' },
  { name: 'help', alias: 'h', group: 'Debugging', help: 'this text' },
  {
    name: 'accel',
    argument: 'tcg[,jit=on|off|force|mixed][,tb-size=MiB]',
    repeat: true,
    group: 'Machine',
    help: 'jit: compile hot guest code to WebAssembly (on, but for -tlb; force: all of it, mixed: drop caches at random, both for tests); tb-size: most memory for that (128)',
  },
  { name: 'net', argument: 'none', repeat: true, group: 'Accepted for QEMU’s sake', help: 'networks are made with -netdev or -nic' },
  { name: 'parallel', argument: 'none', repeat: true, group: 'Accepted for QEMU’s sake', help: 'there is no parallel port' },
  { name: 'no-user-config', group: 'Accepted for QEMU’s sake', help: 'there is none' },
  { name: 'enable-kvm', group: 'Accepted for QEMU’s sake', help: 'ignored with a warning: everything is emulated' },
];
