// The guard's lease and kill over its socket (infra/native/guard.c: one line a command, one a reply).
// A lease that can't be told is not told later: the guard counts down by itself meanwhile.
import { connect, type Socket } from 'node:net';
import { type Errno, errnoNumber, fail, ok, type Reply } from '@ssi/contracts';
import type { Clock, Log } from '@ssi/ports';
import type { NodeGuard } from '../ports.ts';

const reconnectMs = 50;
const killTimeoutMs = 30_000;
/** Commands whose replies are owed; a guard that is this far behind is told nothing more. */
const owedMax = 64;

export function openGuardSocket(q: { path: string; clock: Clock; log: Log }): NodeGuard {
  const { clock, log } = q;
  let socket: Socket | undefined;
  let closed = false;
  let owed: ((line: string | undefined) => void)[] = [];

  function open(): void {
    if (closed) return;
    let rest = '';
    const s = connect(q.path);
    s.setEncoding('utf8');
    s.on('connect', () => {
      socket = s;
    });
    s.on('data', (text: string) => {
      const lines = (rest + text).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) owed.shift()?.(line);
    });
    s.on('error', (error) => log.debug('guard socket', { error: error.message }));
    s.on('close', () => {
      socket = undefined;
      for (const lost of owed) lost(undefined);
      owed = [];
      clock.after(reconnectMs, open);
    });
  }

  const parse = (line: string | undefined): Reply<undefined, 'EIO' | 'ETIMEDOUT'> => {
    if (line?.startsWith('ok')) return ok();
    const [, errno = 'EIO', ...text] = (line ?? 'error EIO the guard did not answer').split(' ');
    const known = errno in errnoNumber ? (errno as Errno) : 'EIO';
    return fail('EIO', `${known} ${text.join(' ')}`);
  };

  open();
  return {
    lease(ms) {
      if (!socket || owed.length >= owedMax) return;
      // Rounded down: the right ends no later than it should.
      socket.write(`lease ${Math.max(0, Math.floor(ms))}\n`);
      owed.push((line) => {
        if (line !== undefined && !line.startsWith('ok'))
          log.error('guard refused a lease', { line });
      });
    },
    kill: () =>
      new Promise((done) => {
        if (!socket) return done(fail('EIO', 'the guard is not connected'));
        const timer = clock.after(killTimeoutMs, () =>
          done(fail('ETIMEDOUT', 'programs are still there')),
        );
        socket.write('kill\n');
        owed.push((line) => {
          timer.cancel();
          done(parse(line));
        });
      }),
    close() {
      closed = true;
      socket?.destroy();
    },
  };
}

/** A node without a guard of its own runs actors only: nothing to freeze, nothing to kill. */
export const noGuard: NodeGuard = {
  lease: () => {},
  kill: async () => ok(),
  close: () => {},
};
