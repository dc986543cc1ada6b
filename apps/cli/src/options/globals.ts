import { UsageError } from '../errors.js';
import { adviceOnDevice } from './absent.js';
import { assertKeys, parseProperties } from './text.js';

/** Properties that every device of a name has unless it says otherwise: name → property → value. */
export type Globals = ReadonlyMap<string, ReadonlyMap<string, string>>;

/** Parses `-global`; `known` has the properties of each device. Throws `UsageError`. */
export function parseGlobals(texts: readonly string[], known: Readonly<Record<string, { readonly properties: readonly string[] }>>): Globals {
  const globals = new Map<string, Map<string, string>>();
  for (const text of texts) {
    const { values } = parseProperties(text);
    const [, dotted, name, plain] = /^([^.=,]+)\.([^=]+)=(.*)$/s.exec(text) ?? [];
    const [driver, property, value] = [dotted ?? values.get('driver'), name ?? values.get('property'), plain ?? values.get('value')];
    if (driver === undefined || property === undefined || value === undefined)
      throw new UsageError(`-global ${text}: write -global DEVICE.PROPERTY=VALUE`);
    const row = Object.hasOwn(known, driver) ? known[driver] : undefined;
    if (row === undefined) throw new UsageError(`-global ${text}: no such device; ${adviceOnDevice(driver, Object.keys(known))}`);
    assertKeys(`-global ${driver}`, new Map([[property, value]]), row.properties);
    globals.set(driver, (globals.get(driver) ?? new Map<string, string>()).set(property, value));
  }
  return globals;
}

/** What a device is told: what `-global` says of its name, and what is said of itself. `virtio-blk` is another name of `virtio-blk-pci`. */
export const withGlobals = (globals: Globals, name: string, values: ReadonlyMap<string, string>): Map<string, string> =>
  new Map([...(globals.get(name) ?? []), ...(globals.get(`${name}-pci`) ?? []), ...values]);
