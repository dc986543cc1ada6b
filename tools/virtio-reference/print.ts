/** Writes docs/reference/virtio.md from the tables: `pnpm fix:virtio-reference`. */
import { writeFileSync } from 'node:fs';
import { page } from './page.js';

writeFileSync('docs/reference/virtio.md', page());
