import { UsageError } from '../../errors.js';
import type { NamedCharacters } from '../character.js';
import type { Values } from './transport.js';

/** A device that is plugged into a virtio device: a port of a console, a disk of a SCSI controller. */
export interface ChildRow<Spec, Owner> {
  readonly properties: readonly string[];
  readonly help: string;
  /** Adds itself as the last to one of the `devices` that were named before it, and gives that one; throws `UsageError`, and adds nothing then. */
  readonly attach: (devices: readonly Spec[], option: string, values: Values, characters: NamedCharacters) => Owner;
}

/** The device that `bus=ID.0` names, or the last one of a kind; throws `UsageError`. */
export function parentOf<Spec extends { readonly kind: string; readonly id?: string }, Kind extends Spec['kind']>(
  devices: readonly Spec[],
  { kind, controller }: { readonly kind: Kind; readonly controller: string },
  option: string,
  bus: string | undefined,
): Extract<Spec, { kind: Kind }> {
  const candidates = devices.filter((spec): spec is Extract<Spec, { kind: Kind }> => spec.kind === kind);
  const wanted = bus?.replace(/\.0$/, '');
  const parent = wanted === undefined ? candidates.at(-1) : candidates.find(({ id }) => id === wanted);
  if (parent) return parent;
  const what = wanted === undefined ? 'nothing to plug it into' : `no ${controller} has the id '${wanted}'`;
  throw new UsageError(`${option}: ${what}; write -device ${controller}${wanted === undefined ? '' : `,id=${wanted}`} before it`);
}
