import { defineFunction, type FunctionDefinition, type FunctionRef, importedFunction, type Val } from '@nestvm/emit';
import { Mode, vcpuState } from '@nestvm/isa';
import { PageFlag, WRITE_TRAP } from '@nestvm/memory';
import { TlbEntry, TlbTable, TRAPPING } from '@nestvm/mmu';
import { LINE_BITS, WRITTEN_PAGE_BITS, WRITTEN_PAGES, WrittenPage } from '../blocks/written-pages.js';
import { secondEntry } from './page-walk.js';

const at = vcpuState.offset;
const PAGE = 4096;
/** Bytes of the largest access that is looked at. */
const MOST = 64;
const NAME = 'codeWrite';
const SIGNATURE = { params: ['i32', 'i64', 'i32', 'i32'], results: ['i32'] } as const;

/** Says that bytes of a page of code are about to be written: (arena offset, bytes). */
const hostCodeWrite: FunctionRef = importedFunction('hostCodeWrite', { params: ['i32', 'i32'], results: [] });

/**
 * The host address of an access that writes to a page of code, 0 where that is not known: (cpu, linear, bytes, whether it may be to decoded bytes, which then go; compiled code must leave
 * first).
 */
export const codeWrite: FunctionRef = importedFunction(NAME, SIGNATURE);

/** Where `codeWrite` looks: arena offsets of the entries of `WrittenPages` and of the flags of all pages. */
export interface CodePlaces {
  readonly writtenPages: number;
  readonly pageFlags: number;
}

/** `codeWrite` itself. */
export const codeWriteIn = ({ writtenPages, pageFlags }: CodePlaces): FunctionDefinition =>
  defineFunction(NAME, SIGNATURE, (c) => {
    const [cpu, linear, bytes, tells] = [c.param(0, 32), c.param(1, 64), c.param(2, 32), c.param(3, 32)];
    const low = linear.trunc(32);
    const giveUpIf = (condition: Val<32>): void => c.if(condition, () => c.return(c.constant(32, 0)));
    const entry = secondEntry(TlbTable.WRITE, c.load('i32.load', 32, cpu, at.tlbWrite), low);
    const addend = c.load('i32.load', 32, entry, TlbEntry.ADDEND);
    giveUpIf(c.load('i64.load', 64, entry, TlbEntry.TAG).ne(linear.and(~0xfffn)).or(addend.and(TRAPPING).isZero()));
    const end = low.and(PAGE - 1).add(bytes);
    giveUpIf(c.load('i32.load', 32, cpu, at.mode).and(Mode.ALIGN).or(bytes.gtU(MOST)).or(end.gtU(PAGE)));
    const host = low.add(addend).sub(TRAPPING);
    const page = host.shrU(12);
    giveUpIf(c.load('i32.load8_u', 32, page, pageFlags).and(WRITE_TRAP).ne(PageFlag.CODE));
    const written = page
      .and(WRITTEN_PAGES - 1)
      .shl(WRITTEN_PAGE_BITS)
      .add(writtenPages);
    const left = c.load('i32.load', 32, written, WrittenPage.LEFT);
    c.if(c.load('i32.load', 32, written, WrittenPage.PAGE).eq(page).and(left.isNonzero()), () => {
      const line = low.and(PAGE - 1).shrU(LINE_BITS);
      const others = end.sub(1).shrU(LINE_BITS).sub(line);
      const lines = c
        .load('i64.load', 64, written.add(line.shrU(3)), WrittenPage.LINES)
        .shrU(line.and(7))
        .trunc(32);
      c.if(lines.and(c.constant(32, 2).shl(others).sub(1)).isZero(), () => {
        c.store('i32.store', written, left.sub(1), WrittenPage.LEFT);
        c.return(host);
      });
    });
    giveUpIf(tells.isZero());
    c.run(hostCodeWrite, host, bytes);
    c.return(host);
  });
