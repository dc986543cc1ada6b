import type { Machine } from '@nestvm/machine';

type Shadow = ReturnType<Machine['inspector']['shadow']>;

/** A run of linear addresses that is mapped as one piece. */
interface Mapped {
  readonly start: bigint;
  end: bigint;
  readonly physical: number;
  readonly rights: string;
  readonly sizeShift: number;
}

const PAGE_SHIFT = 12;
const PAGE_SIZE_FLAG = 1n << 7n;
/** Pages looked at before a listing is cut off: a guest may map the same table everywhere. */
const MOST_PAGES = 200_000;
const LONGEST_TLB_LISTING = 4096;

/** End of the addresses that there are, by their width. */
const LAST = { 32: 2n ** 32n, 48: 2n ** 48n, 57: 2n ** 57n } as const;

/** The canonical form of an address of this width. */
const signExtend = (address: bigint, bits: number): bigint => (bits < 48 ? address : BigInt.asUintN(64, BigInt.asIntN(bits, address)));

/** log2 of the bytes that an entry of this level stands for. */
const shiftOf = (level: number, legacy: boolean): number => PAGE_SHIFT + (legacy ? 10 : 9) * (level - 1);

/** How far the walk of an unmapped address may be skipped: what the last entry of the guest's own tables that was read stands for. */
function gapShift({ steps, outcome }: Shadow, legacy: boolean): number | undefined {
  const last = steps.findLast((step) => step.stage === 'guest');
  if (last === undefined) return undefined;
  const leaf = last.level === 1 || (outcome.startsWith('nested') && (last.entry & 1n) !== 0n && (last.entry & PAGE_SIZE_FLAG) !== 0n);
  return leaf && outcome.startsWith('nested') ? PAGE_SHIFT : shiftOf(last.level, legacy);
}

const rightsOf = ({ user, supervisor }: NonNullable<Shadow['entry']>): string =>
  `${user.read || user.execute ? 'u' : '-'}${supervisor.read ? 'r' : '-'}${supervisor.write ? 'w' : '-'}${supervisor.execute ? 'x' : '-'}`;

/** Every mapped page of a vCPU in the order of addresses, found by walks that skip what is not there. */
function* pages(machine: Machine, cpu: number): Generator<Mapped> {
  const paging = machine.inspector.paging(cpu);
  if (paging === 'none') return;
  const bits = paging === '4-level' ? 48 : paging === '5-level' ? 57 : 32;
  for (let address = 0n; address < LAST[bits]; ) {
    const start = signExtend(address, bits);
    const shadow = machine.inspector.shadow(cpu, start);
    const { entry } = shadow;
    const shift = entry ? entry.sizeShift : gapShift(shadow, paging === '32-bit');
    if (shift === undefined) return;
    const next = ((address >> BigInt(shift)) + 1n) << BigInt(shift);
    if (entry) yield { start, end: signExtend(next - 1n, bits), physical: entry.physical, rights: rightsOf(entry), sizeShift: entry.sizeShift };
    address = next;
  }
}

const hex = (value: bigint | number, digits = 16): string => value.toString(16).padStart(digits, '0');

const noPages = (machine: Machine, cpu: number): string => (machine.inspector.paging(cpu) === 'none' ? 'paging is off' : 'nothing is mapped');

/** `info mem`: runs of linear addresses with the same rights (u: user mode may; r w x: what the kernel may), whatever lies under them. */
export function mappedRanges(machine: Machine, cpu: number): string[] {
  const runs: Mapped[] = [];
  let left = MOST_PAGES;
  for (const page of pages(machine, cpu)) {
    if (left-- === 0) break;
    const run = runs.at(-1);
    if (run && run.end + 1n === page.start && run.rights === page.rights) run.end = page.end;
    else runs.push({ ...page });
  }
  const lines = runs.map(({ start, end, rights }) => `${hex(start)}-${hex(end)} ${hex(end - start + 1n)} ${rights}`);
  if (left < 0) lines.push(`… (the first ${MOST_PAGES} pages)`);
  return lines.length === 0 ? [noPages(machine, cpu)] : lines;
}

/** `info tlb`: every mapped page with the physical address that it leads to through all stages, as a TLB may hold it. */
export function mappedPages(machine: Machine, cpu: number): string[] {
  const lines: string[] = [];
  for (const { start, physical, rights, sizeShift } of pages(machine, cpu)) {
    if (lines.length === LONGEST_TLB_LISTING) return [...lines, `… (the first ${LONGEST_TLB_LISTING} pages)`];
    lines.push(`${hex(start)}: ${hex(physical)} ${rights} ${sizeShift >= 30 ? '1G' : sizeShift > 20 ? `${2 ** (sizeShift - 20)}M` : '4K'}`);
  }
  return lines.length === 0 ? [noPages(machine, cpu)] : lines;
}
