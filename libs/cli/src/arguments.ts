// Arguments as people type them, turned into what calls need. Each parser throws commander's
// InvalidArgumentError, so that a wrong one is a usage error before anything is asked of the cluster.
import { lockspaceName, resourceName } from '@ssi/contracts';
import { InvalidArgumentError } from 'commander';
import { signalNumber } from './status.ts';

const whole = (text: string, what: string, min: number, max: number): number => {
  const value = Number(text);
  if (!/^\d+$/.test(text) || value < min || value > max)
    throw new InvalidArgumentError(`${what} is a number from ${min} to ${max}.`);
  return value;
};

export const pidArgument = (text: string): number => whole(text, 'A pid', 1, 4_194_303);
export const nodeArgument = (text: string): number => whole(text, 'A node', 1, 1_023);
export const countArgument = (text: string): number => whole(text, 'A count', 1, 1_000_000);

/** One or more pids: commander hands in what it has collected so far. */
export const pidsArgument = (text: string, before: number[] | undefined): number[] => [
  ...(before ?? []),
  pidArgument(text),
];

/** A pid, or minus a process group. */
export function targetsArgument(text: string, before: number[] | undefined): number[] {
  const isGroup = text.startsWith('-');
  const pid = pidArgument(isGroup ? text.slice(1) : text);
  return [...(before ?? []), isGroup ? -pid : pid];
}

export function signalArgument(text: string): number {
  const number = signalNumber(text);
  if (number === undefined)
    throw new InvalidArgumentError('There is no such signal; list them with: ssi kill -l');
  return number;
}

/** Seconds with fraction, as milliseconds. */
export function secondsArgument(text: string): number {
  const value = Number(text);
  if (!/^\d+(\.\d+)?$/.test(text) || value > 86_400 * 365)
    throw new InvalidArgumentError('A time is a number of seconds, like 2.5.');
  return value * 1000;
}

/** 5s, 500ms, 2m, or seconds; as milliseconds. */
export function durationArgument(text: string): number {
  const match = /^(\d+(?:\.\d+)?)(ms|s|m|h)?$/.exec(text);
  if (!match) throw new InvalidArgumentError('A time is a number with ms, s, m or h, like 5s.');
  const unit = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 }[match[2] ?? 's'] ?? 1_000;
  return Math.round(Number(match[1]) * unit);
}

export function resourceArgument(text: string): string {
  if (resourceName.safeParse(text).success) return text;
  throw new InvalidArgumentError('The name of a resource has 1 to 64 bytes.');
}

export function lockspaceArgument(text: string): string {
  if (lockspaceName.safeParse(text).success) return text;
  throw new InvalidArgumentError('The name of a lockspace has 1 to 64 of A-Z a-z 0-9 _ . and -.');
}

export function variableArgument(
  text: string,
  before: Record<string, string> | undefined,
): Record<string, string> {
  const at = text.indexOf('=');
  if (at < 1) throw new InvalidArgumentError('A variable is NAME=VALUE.');
  return { ...before, [text.slice(0, at)]: text.slice(at + 1) };
}

/** `onnode 2 -- cmd`: behind the first argument commander leaves the `--` in. */
export const withoutDashes = (argv: readonly string[]): readonly string[] =>
  argv[0] === '--' ? argv.slice(1) : argv;

/**
 * kill(1) takes the signal as an option of its own name: `-TERM`, `-9`; and groups as negative pids.
 * Rewritten into `--signal TERM` and `-- -PID`, which commander understands. A first `-N` with more behind
 * it is a signal, whatever N is: a mistyped one must not become a group, and what follows it a target.
 */
export function killArguments(args: readonly string[]): string[] {
  const out: string[] = [];
  let hasSignal = false;
  const isFirstOfMany = (i: number): boolean => i === 0 && /^-?\d+$/.test(args[1] ?? '');
  for (const [i, arg] of args.entries()) {
    if (arg === '--') return [...out, ...args.slice(i)];
    const negative = /^-(\d+)$/.exec(arg)?.[1];
    const name = /^-((SIG)?[A-Z][A-Z0-9]+([+-]\d+)?)$/.exec(arg)?.[1];
    if (!hasSignal && (name || (negative && (Number(negative) <= 64 || isFirstOfMany(i))))) {
      out.push('--signal', name ?? negative ?? '');
      hasSignal = true;
    } else if (negative) {
      const rest = args.slice(i);
      return [...out, '--', ...rest.filter((a) => a !== '--')];
    } else {
      hasSignal ||= arg === '-s' || arg === '--signal' || arg.startsWith('--signal=');
      out.push(arg);
    }
  }
  return out;
}

/** `8000-8100`, `8000`. */
export function portsArgument(text: string): { start: number; end: number } {
  const [start = '', end = start, ...more] = text.split('-');
  const number = (word: string): number => (/^\d{1,5}$/.test(word) ? Number(word) : 0);
  const range = { start: number(start), end: number(end) };
  if (more.length > 0 || range.start < 1 || range.end > 65_535 || range.end < range.start)
    throw new InvalidArgumentError('Ports are FIRST-LAST or one, from 1 to 65535, like 8000-8100.');
  return range;
}

export const weightArgument = (text: string): number => {
  if (/^\d{1,5}$/.test(text) && Number(text) <= 65_535) return Number(text);
  throw new InvalidArgumentError('A weight is a number from 0 to 65535.');
};

export function addressArgument(text: string): string {
  const bytes = /^\d{1,3}(\.\d{1,3}){3}$/.test(text) ? text.split('.').map(Number) : [];
  if (bytes.length === 4 && bytes.every((byte) => byte <= 255)) return text;
  throw new InvalidArgumentError('An address is of IPv4, like 198.18.0.200.');
}

/** A System V key: decimal or 0x, not 0. */
export function ipcKeyArgument(text: string): number {
  const value = /^(-?\d+|0x[0-9a-fA-F]+)$/.test(text) ? Number(text) : Number.NaN;
  // 0xffffffff is -1 there: a key is an int.
  if (Number.isInteger(value) && value !== 0 && value >= -(2 ** 31) && value < 2 ** 32)
    return value | 0;
  throw new InvalidArgumentError('A key is a number of 32 bits, not 0, like 4711 or 0x1267.');
}

/** As `ssi ipcs` shows it. */
export const ipcIdArgument = (text: string): number =>
  whole(text, 'An id', 1, Number.MAX_SAFE_INTEGER);

/** 0 or more. */
export const sizeArgument = (text: string): number => whole(text, 'A number', 0, 2 ** 31 - 1);

export function modeArgument(text: string): number {
  if (/^0?[0-7]{3}$/.test(text)) return Number.parseInt(text, 8);
  throw new InvalidArgumentError('A mode has three octal digits, like 600.');
}
