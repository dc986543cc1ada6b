/** Where the machine comes from, said after the start; `open` and `fail` tell whoever said it. */
export interface LateAddress {
  readonly uri: string;
  readonly open: () => void;
  readonly fail: (error: unknown) => void;
}
