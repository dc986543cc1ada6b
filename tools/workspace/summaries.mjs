// @ts-check
/** What a run of checks, suites or guests came to: `build/reports/summary-LABEL.json`, and how it is told at the end of a log. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { stripVTControlCharacters } from 'node:util';

/** `name` says which check, test or guest; `message` is what it said. @typedef {{ name: string, message: string }} Failure */
/** `note` says what another run of it did. @typedef {Failure & { note: string }} Flaky */
/** @typedef {{ passed: number, failed: number, failures: Failure[], flaky: Flaky[] }} Summary */

/** Of what failed first and passed then. */
export const PASSED_AGAIN = 'passed when run again alone';

/** Of a message, so many lines say enough, and lines no longer than this. */
const LINES = 15;
const COLUMNS = 300;
/** More failures than these have one cause, which the first of them tell. */
const DETAILED = 20;
const NAMED = 60;

/** @param {string} text */
const linesOf = (text) =>
  stripVTControlCharacters(text)
    .trim()
    .split(/\r*\n/)
    // Where a stack goes through the libraries tells nothing about a failure.
    .filter((line) => !/^\s*at .*(node_modules|new Promise|node:internal)/.test(line))
    .map((line) => line.slice(0, COLUMNS));

/** The first lines of a message. @param {string} text */
export const headOf = (text) => linesOf(text).slice(0, LINES).join('\n');
/** The last lines of a program's output. @param {string} text */
export const tailOf = (text) => linesOf(text).slice(-LINES).join('\n');

/** @param {string} label */
const fileOf = (label) => fileURLToPath(new URL(`../../build/reports/summary-${label}.json`, import.meta.url));

/** @param {string} label @param {Summary} summary */
export function writeSummary(label, summary) {
  mkdirSync(dirname(fileOf(label)), { recursive: true });
  writeFileSync(fileOf(label), JSON.stringify(summary));
}

/** The summary of a label; a run that wrote none has failed. @param {string} label @returns {Summary} */
export function readSummary(label) {
  if (existsSync(fileOf(label))) return { failures: [], flaky: [], ...JSON.parse(readFileSync(fileOf(label), 'utf8')) };
  return { passed: 0, failed: 1, failures: [{ name: label, message: 'it ended before its summary' }], flaky: [] };
}

/** @param {Summary[]} summaries @returns {Summary} */
export function addUp(summaries) {
  const sum = (/** @type {'passed' | 'failed'} */ key) => summaries.reduce((total, summary) => total + summary[key], 0);
  return {
    passed: sum('passed'),
    failed: sum('failed'),
    failures: summaries.flatMap(({ failures }) => failures),
    flaky: summaries.flatMap(({ flaky }) => flaky),
  };
}

/** @param {string} message */
const indented = (message) => message.replace(/^/gm, '    ');

/** What failed and what is flaky, for the end of a log; empty when nothing did. @param {Summary} summary */
export function tell({ failures, flaky }) {
  const lines = flaky.map(({ name, note, message }) => `flaky: ${name} (${note})\n${indented(message)}`);
  lines.push(...failures.slice(0, DETAILED).map(({ name, message }) => `✗ ${name}\n${indented(message)}`));
  // The names once more below the long messages: of a log that is cut, its end is left.
  if (failures.length > 1) lines.push(...failures.slice(0, NAMED).map(({ name }) => `failed: ${name}`));
  if (failures.length > NAMED) lines.push(`failed: ${failures.length - NAMED} more`);
  return lines.map((line) => `${line}\n`).join('');
}
