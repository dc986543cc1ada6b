/** The views of linear memory that records are read through; `Arena` of `@nestvm/memory` has this shape. */
export interface ArenaViews {
  readonly u8: Uint8Array;
  readonly u16: Uint16Array;
  readonly i32: Int32Array;
}
