/** What a second stage (EPT, NPT) leaves of an access: bits of `SecondStage.rights`. */
export const StageRights = { READ: 1, WRITE: 2, EXECUTE: 4 } as const;

/**
 * The second stage of translation, guest-physical to physical, as the first stage sees it. Every access to a guest table and the final access
 * pass through it; without one the two spaces are the same. A method that returns -1 has noted why (violation, misconfiguration).
 */
export interface SecondStage {
  /** After `access`: what may be cached for that page (`StageRights`). */
  readonly rights: number;
  /** A new translation begins. */
  begin(): void;
  /** Physical address of a guest table entry that is read, or updated (`write`). */
  table(address: number, write: boolean): number;
  /** Physical address of the final access of type `READ`, `WRITE` or `EXECUTE`; `linear` are the `Rights` that the first stage grants. */
  access(address: number, type: number, linear: number): number;
  /** Physical address whatever the rights, leaving no trace; -1 when unmapped. */
  peek(address: number): number;
}
