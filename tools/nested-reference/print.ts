/** Writes docs/reference/vm-entry-checks.md and nested-features.md from the tables: `pnpm fix:nested-reference`. */
import { writeFileSync } from 'node:fs';
import { pages } from './pages.js';

for (const [file, page] of Object.entries(pages)) writeFileSync(file, page());
