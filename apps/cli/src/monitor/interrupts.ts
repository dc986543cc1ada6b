import { IoApic, type LocalApic } from '@nestvm/devices/platform';
import type { Machine } from '@nestvm/machine';
import { UsageError } from '../errors.js';

const hex = (value: number, digits: number): string => (value >>> 0).toString(16).padStart(digits, '0');
const DELIVERY = ['fixed', 'lowest', 'SMI', 'reserved', 'NMI', 'INIT', 'SIPI', 'ExtINT'] as const;
/** The sources of a local APIC in the order of its registers ("SDM", Advanced Programmable Interrupt Controller: Local Vector Table). */
const SOURCES = ['timer', 'thermal', 'performance', 'LINT0', 'LINT1', 'error'] as const;
const TIMER_MODES = ['one-shot', 'periodic', 'TSC-deadline', 'reserved'] as const;

/** What the low half of a redirection entry and a vector of a local APIC have in common. */
function route(word: number): string {
  const delivery = DELIVERY[(word >> 8) & 7]!;
  const polarity = word & 0x2000 ? 'active-low' : 'active-high';
  const trigger = word & 0x8000 ? 'level' : 'edge';
  const rest = [word & 0x1_0000 ? 'masked' : '', word & 0x4000 ? 'remote-IRR' : '', word & 0x1000 ? 'pending' : ''].filter(Boolean);
  return [delivery, `vector ${word & 0xff}`, polarity, trigger, ...rest].join(', ');
}

/** Numbers of the bits that are set in these words. */
function setBits(words: readonly number[]): string {
  const set = words.flatMap((word, i) => Array.from({ length: 32 }, (_, bit) => 32 * i + bit).filter((vector) => (word >>> (vector % 32)) & 1));
  return set.length === 0 ? '(none)' : set.join(' ');
}

function sourceLine(lvt: number, i: number): string {
  const name = `LVT ${SOURCES[i]!}`.padEnd(16);
  const words = i === 0 ? `${route(lvt & ~0x2000)}, ${TIMER_MODES[(lvt >> 17) & 3]!}` : route(lvt);
  return `${name} 0x${hex(lvt, 8)} ${words}`;
}

/** `info lapic`: the local APIC of a vCPU. Throws `UsageError` on a machine without. */
export function localApicLines({ platform, clock }: Machine, cpu: number): string[] {
  const apic: LocalApic | undefined = platform.localApics[cpu];
  if (apic === undefined) throw new UsageError('info lapic: this machine has no local APIC');
  const state = apic.save();
  const { timer } = state;
  const [seconds, running] = [(clock.nowNs() - timer.startNs) / 1e9, timer.initial !== 0 && !timer.expired];
  return [
    `local APIC of CPU ${cpu}: id ${state.id}, base 0x${hex(state.baseLow & ~0xfff, 8)}, ${state.svr & 0x100 ? 'on' : 'off by software'}`,
    ...state.lvt.map(sourceLine),
    `timer            divide 0x${hex(timer.divide, 1)}, initial count ${timer.initial}${running ? `, started ${seconds.toFixed(6)} s ago` : ', at rest'}`,
    `SVR 0x${hex(state.svr, 8)}  ESR 0x${hex(state.esr, 8)}  ICR 0x${hex(state.icrHigh, 8)}_${hex(state.icrLow, 8)}`,
    `TPR 0x${hex(state.tpr, 2)}  LDR 0x${hex(state.ldr, 8)}  DFR 0x${hex(state.dfr, 8)}`,
    `ISR ${setBits(state.service)}`,
    `IRR ${setBits(state.request)}`,
  ];
}

/** `info pic`: both 8259A, and the I/O APIC with its redirection table. */
export function interruptControllerLines({ platform }: Machine): string[] {
  const ioApic = platform.devices.find((device) => device instanceof IoApic)?.save();
  const table = ioApic?.low.map((low, pin) => `  pin ${String(pin).padEnd(2)} 0x${hex(ioApic.high[pin]!, 8)}${hex(low, 8)} ${route(low)}`) ?? [];
  const chips = platform.pic?.save().chips ?? [];
  const lines = [
    ...(ioApic ? [`io-apic: id=0x${hex(ioApic.id, 2)} sel=0x${hex(ioApic.select, 2)} levels ${setBits([ioApic.levels])}`, ...table] : []),
    ...chips.map(
      (chip, i) =>
        `pic${i}: irr=${hex(chip.request, 2)} imr=${hex(chip.mask, 2)} isr=${hex(chip.service, 2)} irq_base=${hex(chip.vectorBase, 2)} elcr=${hex(chip.elcr, 2)}`,
    ),
  ];
  if (lines.length === 0) throw new UsageError('info pic: this machine has neither a PIC nor an I/O APIC');
  return lines;
}

const countLines = (name: string, counts: Iterable<number>): string[] => [
  `IRQ statistics for ${name}:`,
  ...Array.from(counts, (count, line) => ({ count, line }))
    .filter(({ count }) => count > 0)
    .map(({ count, line }) => `${String(line).padStart(2)}: ${count}`),
];

/** `info irq`: how often each line has interrupted. */
export function interruptCountLines({ platform }: Machine): string[] {
  const ioApic = platform.devices.find((device) => device instanceof IoApic);
  const lines = [...(platform.pic ? countLines('pic', platform.pic.raised) : []), ...(ioApic ? countLines(ioApic.name, ioApic.taken) : [])];
  if (lines.length === 0) throw new UsageError('info irq: this machine has neither a PIC nor an I/O APIC');
  return lines;
}
