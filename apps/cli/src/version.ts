/** Version of the command line, as `-version` prints it. */
export const VERSION = 'nestvm 0.0.0';
