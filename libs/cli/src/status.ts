// Exit codes of `ssi`, stable: scripts rely on them. Also shown by `ssi --help`.
import { constants } from 'node:os';
import type { Errno, ExitStatus } from '@ssi/contracts';

export const exitCode = {
  ok: 0,
  /** The operation failed; its errno is on standard error. */
  failed: 1,
  /** Unknown command, option or argument: nothing was done. */
  usage: 2,
  /** A bug of ours. [sysexits.h EX_SOFTWARE] */
  bug: 70,
  /** `run`, `onnode`, `wait`...: the cluster failed, not the program. [docker run] */
  runFailed: 125,
  /** The program is there but cannot be executed. [env(1)] */
  cannotExecute: 126,
  /** No such program. */
  notFound: 127,
  /** Ended by SIGINT (128 + 2). */
  interrupted: 130,
  /** Nobody reads our output any more (128 + SIGPIPE). */
  brokenPipe: 141,
} as const;

/** As a shell gives it: the program's code, or 128 + the signal's number. */
export function statusOf(status: ExitStatus): number {
  if (status.code !== null) return status.code;
  const number = status.signal ? signalNumber(status.signal) : undefined;
  return 128 + (number ?? 0);
}

/** What `run` ends with when there never was a program. */
export const runFailure = (errno: Errno): number =>
  errno === 'ENOENT' || errno === 'ENOTDIR'
    ? exitCode.notFound
    : errno === 'EACCES' || errno === 'ENOEXEC'
      ? exitCode.cannotExecute
      : exitCode.runFailed;

/** Realtime signals as Linux numbers them: SIGRTMIN is 34 to programs. */
const rtMin = 34;
const rtMax = 64;

/** `TERM`, `SIGTERM`, `15`, `RTMIN+3`; undefined: there is none. 0 is `0`: only asks. */
export function signalNumber(text: string): number | undefined {
  if (/^\d+$/.test(text)) return Number(text) <= rtMax ? Number(text) : undefined;
  const name = text.toUpperCase().replace(/^SIG/, '');
  const rt = /^RT(MIN|MAX)([+-]\d+)?$/.exec(name);
  if (rt) {
    const number = (rt[1] === 'MIN' ? rtMin : rtMax) + Number(rt[2] ?? 0);
    return number >= rtMin && number <= rtMax ? number : undefined;
  }
  return (constants.signals as Record<string, number>)[`SIG${name}`];
}

/** Names by number, without SIG, as kill -l gives them. */
export function signalNames(): { number: number; name: string }[] {
  const names = new Map<number, string>();
  for (const [name, number] of Object.entries(constants.signals))
    if (!names.has(number)) names.set(number, name.slice(3));
  return [...names].map(([number, name]) => ({ number, name })).sort((a, b) => a.number - b.number);
}
