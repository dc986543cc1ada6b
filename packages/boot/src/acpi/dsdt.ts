import {
  type Aml,
  and,
  argument,
  buffer,
  byteFields,
  createDwordField,
  device,
  eisaId,
  elseTerm,
  ifTerm,
  integer,
  local,
  logicalEqual,
  method,
  name,
  operationRegion,
  or,
  packageOf,
  RegionSpace,
  reference,
  resources,
  resourceTemplate,
  returnTerm,
  scope,
  store,
  string,
} from './aml.js';
import type { AcpiConfig } from './config.js';
import { hotplugEvent, hotplugSlots } from './hotplug.js';

const SLOTS = 32;
/** Interrupts that link devices may use. */
const LINK_IRQS = [5, 10, 11];

const crs = (...descriptors: Aml[]): Aml => name('_CRS', resourceTemplate(...descriptors));
const hid = (id: string): Aml => name('_HID', eisaId(id));

/** Devices on the ISA bus. */
function legacyDevices({ legacy }: AcpiConfig): Aml[] {
  return [
    ...(legacy.rtc ? [device('RTC_', hid('PNP0B00'), crs(resources.io(0x70, 8), resources.irq(8)))] : []),
    ...(legacy.pit ? [device('TIMR', hid('PNP0100'), crs(resources.io(0x40, 4), resources.irq(0)))] : []),
    ...(legacy.keyboard
      ? [
          device('KBD_', hid('PNP0303'), crs(resources.io(0x60, 1), resources.io(0x64, 1), resources.irq(1))),
          device('MOU_', hid('PNP0F13'), crs(resources.irq(12))),
        ]
      : []),
    // By the name that QEMU's has ("QEMU Firmware Configuration (fw_cfg) Device"), which is no EISA id.
    ...(legacy.firmwareConfig === undefined
      ? []
      : [device('FWCF', name('_HID', string('QEMU0002')), name('_STA', integer(0x0b)), crs(resources.io(legacy.firmwareConfig, 12)))]),
    ...legacy.serial.map(({ base, irq }, i) =>
      device(`COM${i + 1}`, hid('PNP0501'), name('_UID', integer(i + 1)), crs(resources.io(base, 8, 8), resources.irq(irq))),
    ),
  ];
}

/** A PCI interrupt link: the route register `field` of the ISA bridge holds an interrupt, or bit 7 for none. */
const link = (path: string, uid: number, field: string): Aml =>
  device(
    path,
    hid('PNP0C0F'),
    name('_UID', integer(uid)),
    name('_PRS', resourceTemplate(resources.interrupt(...LINK_IRQS))),
    method('_STA', 0, ifTerm(and(reference(field), integer(0x80)), returnTerm(integer(0x09))), returnTerm(integer(0x0b))),
    method('_DIS', 0, or(reference(field), integer(0x80), reference(field))),
    method(
      '_CRS',
      0,
      store(buffer([...resources.interrupt(0), 0x79, 0]), local(0)),
      createDwordField(local(0), 5, 'IRQN'),
      ifTerm(and(reference(field), integer(0x80)), store(integer(0), reference('IRQN'))),
      elseTerm(store(reference(field), reference('IRQN'))),
      returnTerm(local(0)),
    ),
    method('_SRS', 1, createDwordField(argument(0), 5, 'IRQN'), store(reference('IRQN'), reference(field))),
  );

/** One row of _PRT: a slot's pin, and the link device or global interrupt it reaches. */
const routeToLink = (slot: number, pin: number, path: string): Aml =>
  packageOf(integer(slot * 0x10000 + 0xffff), integer(pin), reference(path), integer(0));
const routeToGsi = (slot: number, pin: number, gsi: number): Aml =>
  packageOf(integer(slot * 0x10000 + 0xffff), integer(pin), integer(0), integer(gsi));

const allPins = (route: (slot: number, pin: number) => Aml): Aml[] => Array.from({ length: SLOTS * 4 }, (_, i) => route(i >> 2, i & 3));

const LINKS_PIIX = ['LNKA', 'LNKB', 'LNKC', 'LNKD'];
const LINKS_ICH = ['LNKA', 'LNKB', 'LNKC', 'LNKD', 'LNKE', 'LNKF', 'LNKG', 'LNKH'];
/** PIRQ that a slot's pin drives: PIIX3's swizzle, and ICH9's as our bridge has them. */
const piixPirq = (slot: number, pin: number): number => (slot + pin + 3) & 3;
const ichPirq = (slot: number, pin: number): number => (slot < 25 ? 4 + ((slot + pin) & 3) : pin);

function hostBridge(config: AcpiConfig): Aml[] {
  const q35 = config.chipset === 'q35';
  const { base, end } = config.pciHole;
  const windows = crs(
    resources.busNumbers(0, 255),
    resources.io(0xcf8, 8),
    resources.ioWindow(0, 0xcf7),
    resources.ioWindow(0xd00, 0xffff),
    resources.memoryWindow(0xa0000, 0xbffff, true),
    resources.memoryWindow(base, end - 1),
  );
  const identity = q35 ? [hid('PNP0A08'), name('_CID', eisaId('PNP0A03'))] : [hid('PNP0A03')];
  const bridge = q35
    ? device(
        'ISA_',
        name('_ADR', integer(0x1f0000)),
        operationRegion('PIRQ', RegionSpace.PCI_CONFIG, 0x60, 0x0c),
        byteFields('PIRQ', [
          ['PRQA', 8],
          ['PRQB', 8],
          ['PRQC', 8],
          ['PRQD', 8],
          ['', 32],
          ['PRQE', 8],
          ['PRQF', 8],
          ['PRQG', 8],
          ['PRQH', 8],
        ]),
        ...legacyDevices(config),
      )
    : device(
        'ISA_',
        name('_ADR', integer(0x10000)),
        operationRegion('PIRQ', RegionSpace.PCI_CONFIG, 0x60, 4),
        byteFields('PIRQ', [
          ['PRQA', 8],
          ['PRQB', 8],
          ['PRQC', 8],
          ['PRQD', 8],
        ]),
        ...legacyDevices(config),
      );
  const names = q35 ? LINKS_ICH : LINKS_PIIX;
  const links = names.map((path, i) => link(path, i, `\\_SB.PCI0.ISA_.PRQ${path[3]!}`));
  const pirq = q35 ? ichPirq : piixPirq;
  const byLinks = packageOf(...allPins((slot, pin) => routeToLink(slot, pin, `\\_SB.${names[pirq(slot, pin)]!}`)));
  const prt = q35
    ? [
        name('PRTP', byLinks),
        name('PRTA', packageOf(...allPins((slot, pin) => routeToGsi(slot, pin, 16 + ichPirq(slot, pin))))),
        method('_PRT', 0, ifTerm(logicalEqual(reference('\\PICF'), integer(0)), returnTerm(reference('PRTP'))), returnTerm(reference('PRTA'))),
      ]
    : [name('_PRT', byLinks)];
  const ecam = config.ecam ? [device('DRAC', hid('PNP0C01'), crs(resources.memory32(config.ecam.address, config.ecam.buses * 0x100000)))] : [];
  return [
    device(
      'PCI0',
      ...identity,
      name('_UID', integer(0)),
      name('_BBN', integer(0)),
      windows,
      bridge,
      ...prt,
      ...(config.hotplug ? hotplugSlots(config.hotplug) : []),
    ),
    ...links,
    ...ecam,
  ];
}

function sleepStates({ pm }: AcpiConfig): Aml[] {
  if (pm === undefined) return [];
  const state = (path: string, type: number | undefined): Aml[] =>
    type === undefined ? [] : [name(path, packageOf(integer(type), integer(type), integer(0), integer(0)))];
  return [...state('\\_S5', pm.sleepTypes.s5), ...state('\\_S4', pm.sleepTypes.s4), ...state('\\_S3', pm.sleepTypes.s3)];
}

/** Body of the DSDT: what cannot be enumerated, and how interrupts are routed. */
export function dsdtBody(config: AcpiConfig): Uint8Array {
  const hpet = config.hpet
    ? [device('HPET', hid('PNP0103'), name('_UID', integer(0)), crs(resources.memory32(config.hpet.address, 0x400, false)))]
    : [];
  const cpus = config.apicIds.map((_, i) =>
    device(`C${i.toString(16).toUpperCase().padStart(3, '0')}`, name('_HID', string('ACPI0007')), name('_UID', integer(i))),
  );
  const virtio = (config.virtioMmio ?? []).map(({ base, gsi }, i) =>
    device(
      `VR${i.toString(16).toUpperCase().padStart(2, '0')}`,
      name('_HID', string('LNRO0005')),
      name('_UID', integer(i)),
      crs(resources.memory32(base, 0x200), resources.interrupt(gsi)),
    ),
  );
  const system = scope('\\_SB', ...(config.chipset === 'none' ? legacyDevices(config) : hostBridge(config)), ...hpet, ...cpus, ...virtio);
  return Uint8Array.from([
    ...name('\\PICF', integer(0)),
    ...method('\\_PIC', 1, store(argument(0), reference('\\PICF'))),
    ...system,
    ...sleepStates(config).flat(),
    ...(config.pm ? scope('\\_GPE', name('_HID', string('ACPI0006'))) : []),
    ...(config.hotplug ? hotplugEvent(config.hotplug) : []),
  ]);
}
