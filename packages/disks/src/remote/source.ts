/** Bytes that are far away and do not change. */
export interface ByteSource {
  /** For messages. */
  readonly name: string;
  readonly sizeBytes: number;
  /** All bytes of a range that lies inside. Rejects with `DiskError` (`unreachable`, `changed`, `no-ranges`). */
  read(offset: number, lengthBytes: number): Promise<Uint8Array>;
}
