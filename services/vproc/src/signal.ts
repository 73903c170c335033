// Signals: names and numbers as kill(1) spells them, who may send one, and how the answers of several
// nodes to a group's signal become one. [signal(7), kill(2)]
import { type Errno, fail, ok, type Reply } from '@ssi/contracts';

const names = [
  'SIGHUP SIGINT SIGQUIT SIGILL SIGTRAP SIGABRT SIGBUS SIGFPE SIGKILL SIGUSR1 SIGSEGV SIGUSR2',
  'SIGPIPE SIGALRM SIGTERM SIGSTKFLT SIGCHLD SIGCONT SIGSTOP SIGTSTP SIGTTIN SIGTTOU SIGURG',
  'SIGXCPU SIGXFSZ SIGVTALRM SIGPROF SIGWINCH SIGIO SIGPWR SIGSYS',
]
  .join(' ')
  .split(' ');

/** `SIGTERM` for 15; real-time signals as kill -l: SIGRTMIN+n, numbers from 34. 0 has no name. */
export function signalName(signal: number): string {
  const name = names[signal - 1];
  if (name) return name;
  if (signal === 34) return 'SIGRTMIN';
  return signal > 34 && signal <= 64 ? `SIGRTMIN+${signal - 34}` : `SIG${signal}`;
}

/** 0 asks only. 32 and 33 are the C library's own. */
export const validSignal = (signal: number): boolean =>
  Number.isInteger(signal) && signal >= 0 && signal <= 64 && signal !== 32 && signal !== 33;

/** Root may signal anyone, others their own. SIGCONT within a session is judged by the kernel's rule only where it runs. */
export const maySignal = (senderUid: number, targetUid: number): boolean =>
  senderUid === 0 || senderUid === targetUid;

export interface Delivery {
  readonly delivered: number;
}
type DeliveryReply = Reply<Delivery, Errno>;

/**
 * One answer for a group over several nodes: delivered if anyone got it; otherwise the refusal that says
 * most. EPERM means somebody was there but was not ours to signal. [kill(2): EPERM and ESRCH for groups]
 */
export function mergeDeliveries(replies: readonly DeliveryReply[]): DeliveryReply {
  let delivered = 0;
  let worst: Errno | undefined;
  const rank: Errno[] = ['EAGAIN', 'EPERM', 'EINVAL', 'ESRCH'];
  for (const reply of replies) {
    if (reply.ok) delivered += reply.value.delivered;
    else if (worst === undefined || rank.indexOf(reply.errno) + 1 < rank.indexOf(worst) + 1)
      worst = reply.errno;
  }
  if (delivered > 0) return ok({ delivered });
  return fail(worst ?? 'ESRCH', worst === 'EPERM' ? 'not yours to signal' : 'no such process');
}
