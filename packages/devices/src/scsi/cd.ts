import { SENSE } from './codes.js';
import { answerWith, failed, type ScsiAnswer, type ScsiCommand } from './command.js';
import { configurationData, discInformation, eventData, MmcInterface, tocData } from './mmc.js';

const answer = (command: ScsiCommand, data: Uint8Array | undefined): ScsiAnswer =>
  data ? answerWith(command, data, command.cdb.getUint16(7)) : failed(SENSE.INVALID_FIELD_IN_CDB);

/** READ TOC/PMA/ATIP. */
export const readToc = (command: ScsiCommand, blocks: number): ScsiAnswer => answer(command, tocData(command.cdb, blocks));

/** GET CONFIGURATION. */
export const getConfiguration = (command: ScsiCommand, blocks: number): ScsiAnswer =>
  answer(command, configurationData(command.cdb, blocks, MmcInterface.SCSI));

/** GET EVENT STATUS NOTIFICATION, polled: whether there is a medium. */
export const getEventStatus = (command: ScsiCommand, hasMedium: boolean): ScsiAnswer =>
  answer(command, eventData(command.cdb, { event: 0, present: hasMedium, open: false }));

/** READ DISC INFORMATION. */
export const readDiscInformation = (command: ScsiCommand): ScsiAnswer => answer(command, discInformation());
