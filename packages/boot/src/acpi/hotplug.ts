import {
  type Aml,
  and,
  argument,
  call,
  device,
  dwordFields,
  eisaId,
  ifTerm,
  integer,
  method,
  name,
  notify,
  operationRegion,
  RegionSpace,
  reference,
  resources,
  resourceTemplate,
  scope,
  store,
} from './aml.js';
import type { HotplugConfig } from './config.js';

/** What `Notify` says: look at the slot; let go of what is in it ("ACPI Specification", Device Object Notifications). */
const Notification = { DEVICE_CHECK: 1, EJECT_REQUEST: 3 } as const;
/** Places of the controller's registers: filled slots, slots to be emptied; slots that are let go of. */
const EJECT = 8;

const slotName = (slot: number): string => `S${(slot * 8).toString(16).toUpperCase().padStart(2, '0')}_`;

/** In the scope of the host bridge: the registers of hot plug, a device for each slot, and what looks which have changed. */
export function hotplugSlots({ base, bytes, slots }: HotplugConfig): Aml[] {
  const ofSlot = (slot: number): Aml =>
    device(
      slotName(slot),
      name('_ADR', integer(slot * 0x10000)),
      name('_SUN', integer(slot)),
      method('_EJ0', 1, store(integer(2 ** slot), reference('SEJ_'))),
    );
  const check = (slot: number): Aml => ifTerm(and(argument(0), integer(2 ** slot)), notify(slotName(slot), argument(1)));
  return [
    device('PHPR', name('_HID', eisaId('PNP0A06')), name('_CRS', resourceTemplate(resources.io(base, bytes)))),
    operationRegion('PCST', RegionSpace.IO, base, EJECT),
    dwordFields('PCST', [
      ['PCIU', 32],
      ['PCID', 32],
    ]),
    operationRegion('SEJR', RegionSpace.IO, base + EJECT, 4),
    dwordFields('SEJR', [['SEJ_', 32]]),
    ...slots.map(ofSlot),
    method('DVNT', 2, ...slots.map(check)),
    method(
      'PCNT',
      0,
      call('DVNT', reference('PCIU'), integer(Notification.DEVICE_CHECK)),
      call('DVNT', reference('PCID'), integer(Notification.EJECT_REQUEST)),
    ),
  ];
}

/** The event by which the controller is heard. */
export const hotplugEvent = ({ gpe }: HotplugConfig): Aml =>
  scope('\\_GPE', method(`_E${gpe.toString(16).toUpperCase().padStart(2, '0')}`, 0, call('\\_SB.PCI0.PCNT')));
