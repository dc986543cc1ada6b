import { nearestName } from '@nestvm/isa/models';

/** Options of QEMU that Nestvm does not have: what to write instead, or why there is nothing to write. */
const ABSENT_OPTIONS: Readonly<Record<string, string>> = {
  usb: 'there is no USB; leave it out (-device virtio-tablet-pci is a pointer)',
  usbdevice: 'there is no USB; a pointer is -device virtio-tablet-pci, a keyboard -device virtio-keyboard-pci',
  vnc: "there is no VNC; -display curses shows the text on this terminal, 'screendump FILE' in the monitor saves what the display shows",
  spice: "there is no SPICE; -display curses shows the text on this terminal, 'screendump FILE' in the monitor saves what the display shows",
  curses: 'write -display curses',
  sdl: "there are no windows; -display curses shows the text on this terminal, 'screendump FILE' in the monitor saves what the display shows",
  'full-screen': 'there are no windows; leave it out',
  gdb: "there is no GDB server; -S, -d in_asm,int and the monitor's 'x', 'info registers' and 'info mem' are for debugging",
  s: "there is no GDB server; -S, -d in_asm,int and the monitor's 'x', 'info registers' and 'info mem' are for debugging",
  singlestep: 'leave it out; -d in_asm logs each instruction as it is decoded, -accel tcg,jit=off interprets them all',
  audio: 'there is no sound; leave it out',
  audiodev: 'there is no sound; leave it out',
  soundhw: 'there is no sound; leave it out',
  fda: 'there are no floppies; give the image as a disk with -hda FILE or as a CD with -cdrom FILE',
  fdb: 'there are no floppies; give the image as a disk with -hda FILE or as a CD with -cdrom FILE',
  sd: 'there are no SD cards; write -drive file=FILE,if=virtio',
  mtdblock: 'there is no such flash; write -drive file=FILE,if=pflash for that of the firmware',
  daemonize: "start it with '&' of your shell, with -serial, -monitor or -qmp on sockets or files",
  k: 'keys come from the terminal as characters; leave it out',
  set: 'give the property to the -device or -drive itself',
  readconfig: 'write the options on the command line',
  writeconfig: 'there are no such files; keep the command line',
  nodefconfig: 'there is no such file to leave out; leave it out',
  trace: "there are no trace points; 'nestvm run -d help' lists what can be logged",
  plugin: "there are no plugins; 'nestvm run -d help' lists what can be logged",
  dfilter: 'what -d logs is not filtered; leave it out',
  watchdog: 'there is no watchdog; leave it out',
  'watchdog-action': 'there is no watchdog; leave it out',
  tpmdev: 'there is no TPM; leave it out',
  numa: 'all memory is one node; leave it out',
  'mem-path': 'memory is a WebAssembly memory of this process; leave it out',
  iscsi: 'images are files or addresses of web servers: -drive file=FILE or file=http://…',
  'option-rom': 'there are no option ROMs but those of the firmware; leave it out',
  acpitable: 'tables are those of the board; leave it out',
  semihosting: 'that is not of x86; write -device isa-debug-exit or -debugcon',
  'add-fd': 'files are named by their paths',
  runas: 'start nestvm as the user that it is to be',
  chroot: 'start nestvm where it is to be',
  'enable-fips': 'leave it out',
  localtime: 'write -rtc base=localtime',
  startdate: 'write -rtc base=DATE',
  'rtc-td-hack': 'leave it out',
  tdf: 'leave it out',
  'no-kvm': 'everything is emulated; leave it out',
  'no-kvm-irqchip': 'everything is emulated; leave it out',
  'no-kvm-pit': 'everything is emulated; leave it out',
  'machine-type': 'write -M BOARD',
  redir: 'write -nic user,hostfwd=tcp::HOSTPORT-:GUESTPORT',
  tftp: 'write -nic user,tftp=FOLDER',
  bootp: 'write -nic user,bootfile=FILE',
  smb: 'there is no SMB server; -virtfs local,path=F,mount_tag=TAG,security_model=none shares a folder',
};

/** What to do about an option of QEMU that there is not; undefined for what QEMU does not have either. */
export const adviceOnOption = (name: string): string | undefined => (Object.hasOwn(ABSENT_OPTIONS, name) ? ABSENT_OPTIONS[name] : undefined);

/** Devices of QEMU that Nestvm does not have, by their names, and what does their work here. */
const ABSENT_DEVICES: readonly (readonly [names: RegExp, advice: string])[] = [
  [
    /^(e1000e?|igb|i8255\w+|rtl8139|ne2k_(pci|isa)|pcnet|tulip|vmxnet3|usb-net)(-.*)?$/,
    'the network card is virtio-net-pci: -device virtio-net-pci,netdev=ID',
  ],
  [/^(usb-tablet|usb-mouse|usb-wacom-tablet)$/, 'there is no USB; write -device virtio-tablet-pci or virtio-mouse-pci'],
  [/^usb-kbd$/, 'there is no USB; write -device virtio-keyboard-pci'],
  [/^(usb-storage|usb-bot|usb-uas)$/, 'there is no USB; write -device virtio-blk-pci,drive=ID'],
  [/^(usb-.*|.*-?(xhci|ehci|uhci|ohci).*)$/, 'there is no USB; leave it out'],
  [/^(VGA|isa-vga|secondary-vga|cirrus-vga|isa-cirrus-vga|bochs-display|ramfb)$/, 'the graphics card is that of -vga std, or -device virtio-gpu-pci'],
  [/^(virtio-vga.*|virtio-gpu-gl.*|qxl.*|vmware-svga|ati-vga|vhost-user-(gpu|vga).*)$/, 'write -vga std, or -device virtio-gpu-pci'],
  [/^(AC97|ES1370|sb16|adlib|gus|cs4231a|intel-hda|ich9-intel-hda|hda-.*|virtio-sound.*)$/, 'there is no sound; leave it out'],
  [/^(nvme(-.*)?|sd-card|sdhci-pci|emmc)$/, 'write -device virtio-blk-pci,drive=ID, or ide-hd for guests without its driver'],
  [/^(lsi53c\w+|megasas.*|mptsas1068|am53c974|dc390|pvscsi)$/, 'the SCSI controller is virtio-scsi-pci'],
  [/^scsi-(block|generic|disk)$/, 'write scsi-hd or scsi-cd with a drive= of an image'],
  [/^(isa-fdc|floppy)$/, 'there are no floppies; give the image as a disk or a CD'],
  [/^(ide-drive|ide-disk)$/, 'write ide-hd, or ide-cd for a CD'],
  [/^(ich9-ahci|piix[34]-ide.*|isa-ide)$/, 'the boards have theirs; a further controller is ahci'],
  [
    /^(pcie-root-port|ioh3420|pcie-pci-bridge|pci-bridge|i82801b11-bridge|pxb.*|x3130.*|xio3130.*)$/,
    'all devices are on the one bus of the board, where they are plugged in as well; leave it out',
  ],
  [/^(intel-iommu|amd-iommu|virtio-iommu.*)$/, 'there is no IOMMU; leave it out'],
  [/^(i6300esb|ib700)$/, 'there is no watchdog; leave it out'],
  [/^(pvpanic.*|vmcoreinfo|vmgenid|pc-dimm|nvdimm|virtio-(mem|pmem).*|ivshmem.*|edu|tpm-.*|isa-ipmi.*|ipmi-.*)$/, 'there is none; leave it out'],
  [/^vfio-.*$/, 'devices of the host cannot be passed through; everything is emulated'],
  [/^(isa-parallel|pci-parallel)$/, 'there is no parallel port; leave it out'],
  [/^(pci-serial.*|usb-serial|usb-braille)$/, 'write -device isa-serial,chardev=ID, or virtserialport'],
  [
    /^vhost-(user-blk|scsi|user-scsi|user-fs|user-net).*$/,
    'there is no vhost; the virtio device of the same work is emulated: virtio-blk-pci, virtio-scsi-pci, virtio-9p-pci',
  ],
];

/** What to write in place of a device that there is not: what does its work here, the nearest name, or where the list is. */
export function adviceOnDevice(name: string, known: readonly string[]): string {
  const advice = ABSENT_DEVICES.find(([names]) => names.test(name))?.[1];
  if (advice !== undefined) return advice;
  const near = nearestName(name, known);
  return near ? `the nearest is '${near}'` : "'-device help' lists them";
}
