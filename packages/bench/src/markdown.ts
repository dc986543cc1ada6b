/** One line of a table in Markdown. */
const tableRow = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;

/** A table in Markdown, as lines: names on the left, figures on the right. */
export const tableLines = (head: readonly string[], rows: readonly (readonly string[])[]): string[] => [
  tableRow(head),
  tableRow(head.map((_, i) => (i === 0 ? '---' : '---:'))),
  ...rows.map(tableRow),
];
