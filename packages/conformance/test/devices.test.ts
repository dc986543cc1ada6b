import type { Device } from '@nestvm/bus';
import {
  AcpiPm,
  ApicBus,
  DebugConsole,
  DebugExit,
  FwCfg,
  Hpet,
  I8042,
  IoApic,
  LocalApic,
  PciHost,
  Pic,
  Pit,
  Port92,
  ResetControl,
  Rtc,
  TestDevice,
  Uart,
} from '@nestvm/devices/platform';
import { describe, expect, it } from 'vitest';
import { type DeviceState, testDevice } from '../src/index.js';

/** Port 0xcf9 is the reset control's, inside of the range that PCI configuration claims: the two are one here. */
function pciWithResetControl(): Device & DeviceState {
  const control = new ResetControl(false);
  const host = new PciHost({ resetControl: control });
  return {
    name: 'pci',
    attach: (wiring) => [control, host].forEach((part) => part.attach(wiring)),
    reset: () => [control, host].forEach((part) => part.reset()),
    save: () => ({ control: control.save(), host: host.save() }),
    load: (saved) => {
      const parts = saved as { control?: unknown; host?: unknown } | null;
      control.load(parts?.control);
      host.load(parts?.host);
    },
  };
}

const devices: readonly (readonly [string, () => Device])[] = [
  ['pic', () => new Pic()],
  ['pit', () => new Pit()],
  ['rtc', () => new Rtc({ epochSeconds: 1_700_000_000 })],
  ['hpet', () => new Hpet({ onLegacyReplacement: () => {} })],
  ['uart', () => new Uart({ name: 'com1', base: 0x3f8, line: 'isa:4' })],
  ['i8042', () => new I8042()],
  ['port92', () => new Port92()],
  ['reset-control', () => new ResetControl(true)],
  ['acpi-pm piix4', () => new AcpiPm({ chip: 'piix4' })],
  ['acpi-pm ich9', () => new AcpiPm({ chip: 'ich9' })],
  ['fw-cfg', () => new FwCfg({ ramBytes: 1 << 20 })],
  ['io-apic', () => new IoApic({ bus: new ApicBus() })],
  ['pci with its reset control', () => pciWithResetControl()],
  ['debug console', () => new DebugConsole({ base: 0xe9, write: () => {} })],
  ['debug exit', () => new DebugExit({ base: 0xf4, size: 4, exit: () => {} })],
  ['test device', () => new TestDevice()],
];
const hasState = (device: Device): boolean => 'save' in device && 'load' in device;

describe('testDevice', () => {
  it.each(devices)('%s', (name, create) => {
    const state = hasState(create()) ? (device: Device) => device as unknown as DeviceState : undefined;
    const report = testDevice(create, state ? { state } : {});
    console.log(`testDevice ${name}: ${report.operations} transactions, ${report.regions.join(' ')}${state ? '' : ', no state'}`);
    expect(report.failures).toEqual([]);
    expect(report.regions.length).toBeGreaterThan(0);
  });

  it('local APICs on their bus', () => {
    const report = testDevice(() => {
      const bus = new ApicBus();
      let apic: LocalApic | undefined;
      return {
        name: 'apic and bus',
        attach: (wiring) => {
          apic = new LocalApic({ id: 0, bsp: true, bus, clock: wiring.clock });
          bus.attach(wiring);
        },
        reset: () => {
          bus.reset();
          apic?.reset();
        },
      };
    });
    expect(report.failures).toEqual([]);
  });
});

describe('testDevice finds', () => {
  /** A register of one byte at port 0x10, with something wrong. */
  const broken = (change: { read?: (value: number) => number; timerNs?: number; forgets?: boolean; accepts?: boolean }) => () => {
    let value = 0;
    const device: Device & DeviceState = {
      name: 'register',
      attach: (wiring) => {
        const { clock } = wiring;
        const timer = clock.createTimer('register', () => timer.arm(clock.nowNs() + (change.timerNs ?? Infinity)));
        if (change.timerNs !== undefined) timer.arm(0);
        wiring.pio({
          name: 'register',
          base: 0x10,
          size: 4,
          read: () => change.read?.(value) ?? value,
          write: (_offset, _width, v) => void (value = v & 0xff),
        });
      },
      reset: () => {
        value = 0;
      },
      save: () => ({ value: change.forgets ? 0 : value }),
      load: (saved) => {
        const next = (saved as { value?: unknown } | null)?.value;
        if (typeof next !== 'number' && !change.accepts) throw new Error('not a register');
        value = Number(next ?? 0);
      },
    };
    return device;
  };
  const failuresOf = (create: () => Device & DeviceState): string =>
    testDevice(create, { operations: 2000, state: (device) => device as Device & DeviceState }).failures.join('\n');

  it.each([
    ['nothing in a good one', broken({}), /^$/],
    [
      'answers that are not the same twice',
      broken({
        read: (() => {
          let n = 0;
          return () => n++ & 0xff;
        })(),
      }),
      /two equal devices: read/,
    ],
    ['timers that never end', broken({ timerNs: 1 }), /timers fire for ever/],
    ['forgotten state', broken({ forgets: true }), /save and load: the loaded one goes on differently|saved differently/],
    ['nonsense that is accepted', broken({ accepts: true }), /load of nonsense: .* is accepted/],
  ])('%s', (_name, create, expected) => {
    expect(failuresOf(create)).toMatch(expected);
  });
});
