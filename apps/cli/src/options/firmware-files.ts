import { UsageError } from '../errors.js';
import type { RawOptions } from './parse.js';
import { assertKeys, parseProperties } from './text.js';

/** A file that firmware and guests find in the firmware configuration device. */
export type FirmwareFileSpec = { readonly name: string } & ({ readonly path: string } | { readonly text: string });

/** Room for a name in the device's directory, without the zero behind it ("QEMU Firmware Configuration (fw_cfg) Device"). */
const NAME_BYTES = 55;

/** Parses `-fw_cfg`; throws `UsageError`. */
export function parseFirmwareFiles(raw: RawOptions, warnings: string[]): FirmwareFileSpec[] {
  return (raw.get('fw_cfg') ?? []).map((text) => {
    const option = `-fw_cfg ${text}`;
    const { head, values } = parseProperties(text);
    assertKeys('-fw_cfg', values, ['name', 'file', 'string']);
    const name = values.get('name') ?? head;
    const [path, content] = [values.get('file'), values.get('string')];
    if (name === '' || (path === undefined) === (content === undefined))
      throw new UsageError(`${option}: write -fw_cfg name=opt/NAME,file=FILE or -fw_cfg name=opt/NAME,string=TEXT`);
    if (Buffer.byteLength(name) > NAME_BYTES) throw new UsageError(`${option}: the name has more than ${NAME_BYTES} bytes; choose a shorter one`);
    if (!name.startsWith('opt/')) warnings.push(`${option}: names of yours begin with opt/; others may be the firmware's own`);
    return path === undefined ? { name, text: content! } : { name, path };
  });
}
