/** The document that the tables are written into, section by section. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';

/** Renews what stands before the first section, and these sections; the others stay as they were measured. */
export function writeDocument(path: string, head: string, sections: readonly string[]): void {
  const old = existsSync(path) ? readFileSync(path, 'utf8') : '';
  const start = old.search(/^## /m);
  writeFileSync(path, `${head.trim()}\n\n${start < 0 ? '' : old.slice(start)}`);
  for (const section of sections) replaceSection(path, section);
}

/** Puts a section into the document, in the place of the old one or at its end. */
export function replaceSection(path: string, text: string): void {
  const heading = text.slice(0, text.indexOf('\n'));
  const sections = readFileSync(path, 'utf8').split(/^(?=## )/m);
  const at = sections.findIndex((section) => section.startsWith(heading));
  const place = at >= 0 ? at : sections.findIndex((section) => section.startsWith('## Packages'));
  sections.splice(place >= 0 ? place : sections.length, at >= 0 ? 1 : 0, `${text.trim()}\n\n`);
  writeFileSync(path, `${sections.join('').trim()}\n`);
}
