// From the kernel's numbers and Node's error codes to the contracts' errnos.
import { type Errno, errnoNumber } from '@ssi/contracts';

const byNumber = new Map<number, Errno>(
  Object.entries(errnoNumber).map(([name, number]) => [number, name as Errno]),
);

/** Of a result of `syscalls.ts` (negative) or a plain errno; EIO for what the contracts don't list. */
export const errnoName = (number: number): Errno => byNumber.get(Math.abs(number)) ?? 'EIO';

/** `code` of an error that Node threw; EIO for what the contracts don't list. */
export function errnoOf(error: unknown): Errno {
  const code = (error as { code?: unknown } | undefined)?.code;
  return typeof code === 'string' && code in errnoNumber ? (code as Errno) : 'EIO';
}
