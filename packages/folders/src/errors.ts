/** Numbers of errors as Linux has them (`errno(3)`), which 9P2000.L sends. */
export const errorNumbers = {
  EPERM: 1,
  ENOENT: 2,
  EIO: 5,
  ENXIO: 6,
  E2BIG: 7,
  EBADF: 9,
  EAGAIN: 11,
  ENOMEM: 12,
  EACCES: 13,
  EBUSY: 16,
  EEXIST: 17,
  EXDEV: 18,
  ENODEV: 19,
  ENOTDIR: 20,
  EISDIR: 21,
  EINVAL: 22,
  ENFILE: 23,
  EMFILE: 24,
  ETXTBSY: 26,
  EFBIG: 27,
  ENOSPC: 28,
  EROFS: 30,
  EMLINK: 31,
  ERANGE: 34,
  ENAMETOOLONG: 36,
  ENOSYS: 38,
  ENOTEMPTY: 39,
  ELOOP: 40,
  ENODATA: 61,
  EPROTO: 71,
  EOVERFLOW: 75,
  EMSGSIZE: 90,
  EOPNOTSUPP: 95,
  ESTALE: 116,
  EDQUOT: 122,
} as const;

/** Name of an error. */
export type ErrorName = keyof typeof errorNumbers;

/** What a tree throws when it cannot do what it was asked to: the guest gets `code` as its `errno`. */
export class FileError extends Error {
  override readonly name = 'FileError';

  constructor(
    readonly code: ErrorName,
    message: string = code,
  ) {
    super(message);
  }
}

/** The name under which a guest hears of anything that a tree throws; a host's own errors keep theirs, what is unknown is `EIO`. */
export function errorName(error: unknown): ErrorName {
  const code = (error as { code?: unknown } | null)?.code;
  return typeof code === 'string' && Object.hasOwn(errorNumbers, code) ? (code as ErrorName) : code === 'ENOTSUP' ? 'EOPNOTSUPP' : 'EIO';
}
