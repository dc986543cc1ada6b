import { Access } from './access.js';
import { Context } from './context.js';
import { Rights } from './guest/walk.js';

/** Answers of `denies`: granted, refused, refused by a protection key too. */
export const Denied = { NO: 0, YES: 1, BY_KEY: 2 } as const;

/** What protection keys say: true when data access of this kind is disabled for `key` in PKRU or PKRS. */
function keyDenies(rights: number, key: number, write: boolean, enforceWrite: boolean): boolean {
  const bits = (rights >>> (key * 2)) & 3;
  return (bits & 1) !== 0 || ((bits & 2) !== 0 && write && enforceWrite);
}

/**
 * Decides whether the rights of a completed walk allow an access (SDM Vol. 3, "Access Rights" and "Protection Keys").
 * `access` is an `Access` value, `user` says whether it is a user-mode access; the answer is a `Denied` value.
 */
export function denies(context: number, rights: number, key: number, access: number, user: boolean, pkru: number, pkrs: number): number {
  const type = access & Access.TYPE;
  const userPage = (rights & Rights.USER) !== 0;
  if (type === Access.EXECUTE) {
    if ((rights & Rights.NO_EXECUTE) !== 0) return Denied.YES;
    if (user) return userPage ? Denied.NO : Denied.YES;
    return userPage && (context & Context.SMEP) !== 0 ? Denied.YES : Denied.NO;
  }
  const write = type === Access.WRITE;
  const enforceWrite = user || (context & Context.WP) !== 0;
  if ((context & (userPage ? Context.PKE : Context.PKS)) !== 0 && keyDenies(userPage ? pkru : pkrs, key, write, enforceWrite)) return Denied.BY_KEY;
  // Accesses of a shadow stack are for pages of their kind alone (SDM Vol. 3, "Shadow-Stack Access Rights"). CET comes with CR0.WP.
  if ((access & Access.SHADOW_STACK) !== 0) return userPage === user && (rights & Rights.SHADOW_STACK) !== 0 ? Denied.NO : Denied.YES;
  if (write && enforceWrite && (rights & Rights.WRITE) === 0) return Denied.YES;
  if (user) return userPage ? Denied.NO : Denied.YES;
  if (!userPage || (context & Context.SMAP) === 0) return Denied.NO;
  const lifted = (context & Context.AC) !== 0 && (access & Access.IMPLICIT) === 0;
  return lifted ? Denied.NO : Denied.YES;
}
