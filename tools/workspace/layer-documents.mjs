// @ts-check
/** The parts of the documents that are printed from `layers.json`: they stand between `<!-- layers:NAME -->` and `<!-- /layers:NAME -->`. */
import { layers, readText } from './workspace.mjs';

const FILES = ['README.md', 'docs/reference/packages.md'];

/** Edges that no longer path implies, so that the drawing stays readable; the table lists them all. */
function drawnEdges() {
  const importsOf = (/** @type {string} */ key) => (layers.packages[key] ?? layers.apps[key])?.imports ?? [];
  /** @type {(from: string, to: string) => boolean} */
  const reaches = (from, to) => importsOf(from).some((next) => next === to || reaches(next, to));
  const all = [...Object.keys(layers.packages), ...Object.keys(layers.apps)];
  return all.flatMap((from) => {
    const direct = importsOf(from);
    return direct.filter((to) => !direct.some((other) => other !== to && reaches(other, to))).map((to) => ({ from, to }));
  });
}

/** Members of one layer, highest last. @param {string} layer */
function membersOf(layer) {
  const packages = Object.entries(layers.packages).filter(([, entry]) => entry.layer === layer);
  return [...packages, ...(layer === 'apps' ? Object.entries(layers.apps) : [])];
}

function diagram() {
  const groups = [...layers.layers].reverse().flatMap((layer) => {
    const nodes = membersOf(layer).map(([key, entry]) => `    ${key}${entry.planned ? `(${key}, planned)` : `[${key}]`}`);
    return [`  subgraph ${layer}`, ...nodes, '  end'];
  });
  const edges = drawnEdges().map(({ from, to }) => `  ${from} --> ${to}`);
  return ['```mermaid', 'flowchart TD', ...groups, ...edges, '```'].join('\n');
}

/** The long table: every import. */
function importTable() {
  const rows = [...layers.layers].reverse().flatMap((layer) =>
    membersOf(layer).map(([key, entry]) => {
      const list = (/** @type {string[]} */ names) => (names.length === 0 ? '–' : names.join(', '));
      return `| ${layer} | \`${key}\`${entry.planned ? ' (planned)' : ''} | ${entry.job} | ${list(entry.imports)} | ${list(entry.tests ?? [])} |`;
    }),
  );
  return ['| Layer | Package | Job | May import | Its tests may also import |', '|---|---|---|---|---|', ...rows].join('\n');
}

/** The short table: what is there. */
function packageTable() {
  const rows = Object.entries(layers.packages).filter(([, entry]) => !entry.private && !entry.planned);
  return [
    '| Package | Its one job |',
    '|---|---|',
    ...rows.map(([key, entry]) => `| [\`${layers.scope}/${key}\`](packages/${key}/README.md) | ${entry.job} |`),
  ].join('\n');
}

/** @type {Record<string, () => string>} */
const PARTS = { diagram, imports: importTable, packages: packageTable };

/** @returns {{ file: string, text: string }[]} the documents with their printed parts renewed */
export function renderDocuments() {
  return FILES.map((file) => {
    const text = readText(file).replace(/(<!-- layers:(\w+) -->\n)[\s\S]*?(<!-- \/layers:\2 -->)/g, (_whole, open, name, close) => {
      const print = PARTS[name];
      if (!print) throw new Error(`${file}: <!-- layers:${name} --> is none of ${Object.keys(PARTS).join(', ')}`);
      return `${open}\n${print()}\n\n${close}`;
    });
    return { file, text };
  });
}
