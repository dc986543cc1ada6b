/** Types of requests; an answer's type is one more ("9P2000.L Protocol"). */
export const Message = {
  LERROR: 6,
  STATFS: 8,
  LOPEN: 12,
  LCREATE: 14,
  SYMLINK: 16,
  MKNOD: 18,
  RENAME: 20,
  READLINK: 22,
  GETATTR: 24,
  SETATTR: 26,
  XATTRWALK: 30,
  XATTRCREATE: 32,
  READDIR: 40,
  FSYNC: 50,
  LOCK: 52,
  GETLOCK: 54,
  LINK: 70,
  MKDIR: 72,
  RENAMEAT: 74,
  UNLINKAT: 76,
  VERSION: 100,
  AUTH: 102,
  ATTACH: 104,
  FLUSH: 108,
  WALK: 110,
  READ: 116,
  WRITE: 118,
  CLUNK: 120,
  REMOVE: 122,
} as const;

export const VERSION = '9P2000.L';
/** Bytes of size, type and tag. */
export const HEADER_BYTES = 7;
/** Bytes of an answer to READ or READDIR before the data, and of a WRITE before its data. */
export const READ_HEADER_BYTES = 11;
export const WRITE_HEADER_BYTES = 23;
/** Smallest size of messages that can be agreed on. */
export const LEAST_MESSAGE_BYTES = 4096;
/** No fid. */
export const NO_FID = 0xffffffff;
/** Most names of one WALK. */
export const MOST_NAMES = 16;
/** Longest name in a folder, and longest path, in bytes. */
export const MOST_NAME_BYTES = 255;
export const MOST_PATH_BYTES = 4095;

/** Kinds of files in a qid. */
export const QidType = { DIRECTORY: 0x80, LINK: 0x02, FILE: 0 } as const;

/** Flags of LOPEN and LCREATE, as Linux has them on x86. */
export const OpenFlag = { ACCESS: 3, WRITE_ONLY: 1, READ_WRITE: 2, EXCLUSIVE: 0o200, TRUNCATE: 0o1000, APPEND: 0o2000, DIRECTORY: 0o200000 } as const;

/** Which fields of a SETATTR count. */
export const SetAttribute = {
  MODE: 1,
  UID: 2,
  GID: 4,
  SIZE: 8,
  ATIME: 0x10,
  MTIME: 0x20,
  CTIME: 0x40,
  ATIME_SET: 0x80,
  MTIME_SET: 0x100,
} as const;

/** The fields that answers to GETATTR fill: all but creation time, generation and data version. */
export const BASIC_ATTRIBUTES = 0x7ff;

/** Flag of UNLINKAT: the name is that of a directory. */
export const REMOVE_DIRECTORY = 0x200;

/** Flags of XATTRCREATE. */
export const ExtendedFlag = { CREATE: 1, REPLACE: 2 } as const;

/** Kinds of locks, and answers to LOCK. */
export const LockType = { READ: 0, WRITE: 1, UNLOCK: 2 } as const;
export const LockStatus = { SUCCESS: 0, BLOCKED: 1, ERROR: 2, GRACE: 3 } as const;

/** Type of the file system in answers to STATFS (V9FS_MAGIC of Linux). */
export const MAGIC = 0x01021997;
