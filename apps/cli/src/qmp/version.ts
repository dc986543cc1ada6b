import { VERSION } from '../version.js';

/** The version of QEMU whose QMP this follows, for clients that ask. */
export const qmpVersion = { qemu: { micro: 0, minor: 2, major: 7 }, package: VERSION };
