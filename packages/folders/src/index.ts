/**
 * Trees of files for virtual machines: a 9P2000.L server, and a tree in memory.
 * @packageDocumentation
 */
export { FileServer, type FileServerOptions } from './server/server.js';
export type { SavedSession } from './server/saved-session.js';
export { BytesExchange, type Exchange } from './exchange.js';
export {
  childPath,
  type ExtendedAttributes,
  type FileAttributes,
  type FileChange,
  type FileTree,
  FileType,
  isDirectory,
  lastName,
  type NewFile,
  type OpenFile,
  type OpenMode,
  parentPath,
  toByteString,
  type TreePath,
  type TreeStatistics,
} from './tree.js';
export { MemoryTree, type MemoryTreeOptions } from './memory/memory-tree.js';
export { errorName, errorNumbers, FileError, type ErrorName } from './errors.js';
