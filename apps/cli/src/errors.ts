/** Something on the command line that cannot be followed: one line, what, where, and what to do. The process ends with status 2. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}
