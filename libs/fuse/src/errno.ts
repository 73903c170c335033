// Errnos by name, as this system numbers them, and what Node threw as one. Handlers answer with the
// negative number, as the kernel itself does: `return -errno.ENOENT`. [errno(3)]
import { constants } from 'node:os';

/** ENOTSUP's number and ENODATA included; ENOTTY and the like too. */
export const errno = constants.errno;

const names = new Map<number, string>(Object.entries(errno).map(([name, n]) => [n, name]));
/** `ENOENT` of 2 or -2. */
export const errnoName = (n: number): string => names.get(Math.abs(n)) ?? `errno ${Math.abs(n)}`;

/** The negative errno of an error that a function of node:fs threw; -EIO of any other. */
export function errnoOf(error: unknown): number {
  const code = (error as { code?: unknown } | undefined)?.code;
  const number = typeof code === 'string' ? (errno as Record<string, number>)[code] : undefined;
  return -(number ?? errno.EIO);
}
