// Names of signals by number, as this machine counts them. [signal(7)]
import { constants } from 'node:os';

const names = new Map(Object.entries(constants.signals).map(([name, n]) => [n as number, name]));
// Two names for one number: the one that kill -l prints.
names.set(6, 'SIGABRT').set(29, 'SIGIO');

/** `SIGTERM`; a real-time signal by its distance from the first, `SIGRTMIN+2`. */
export const signalName = (n: number): string =>
  names.get(n) ?? (n >= 34 ? (n === 34 ? 'SIGRTMIN' : `SIGRTMIN+${n - 34}`) : `SIG${n}`);
