/** OVMF, the UEFI firmware for virtual machines, from Debian's package. */
import { copyFileSync } from 'node:fs';
import { join } from 'node:path';
import { fetchPackages } from './packages.mjs';

/** Puts OVMF's code and its empty variable store into `output`. */
export function fetchOvmf(output, log) {
  const [tree] = fetchPackages(output, ['ovmf'], log);
  for (const name of ['OVMF_CODE_4M.fd', 'OVMF_VARS_4M.fd']) copyFileSync(join(tree, 'usr/share/OVMF', name), join(output, name));
}
