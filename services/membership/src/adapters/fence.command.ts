// A fence agent as a command, and the user's nodedown script: run by sh, told by environment whom it is
// about. Exit status 0 is success; it has 30 s. [fence agents; OpenSSI: nodedown script]
import { spawn } from 'node:child_process';
import { fail, type MemberId, ok, type Reply } from '@ssi/contracts';
import type { Clock } from '@ssi/ports';
import type { Fence, NodedownScript } from '../ports.ts';

const commandMs = 30_000;

/** `command` sees SSI_FENCE_NODE and SSI_FENCE_BOOT. */
export const commandFence = (q: { command: string; clock: Clock }): Fence => ({
  fence: (node) =>
    run(q, {
      SSI_FENCE_NODE: String(node.num),
      SSI_FENCE_BOOT: String(node.incarnation.bootCount),
    }),
});

/** `command` sees SSI_DEAD (node numbers, comma between) and SSI_TRANSID. */
export const commandScript = (q: { command: string; clock: Clock }): NodedownScript => ({
  run: (dead: readonly MemberId[], transid: number) =>
    run(q, { SSI_DEAD: dead.map((d) => d.num).join(','), SSI_TRANSID: String(transid) }),
});

function run(
  q: { command: string; clock: Clock },
  env: Record<string, string>,
): Promise<Reply<undefined, 'EIO' | 'ETIMEDOUT'>> {
  return new Promise((done) => {
    const child = spawn('/bin/sh', ['-c', q.command], {
      stdio: 'ignore',
      detached: true,
      env: { PATH: process.env.PATH ?? '/usr/sbin:/usr/bin:/sbin:/bin', ...env },
    });
    const timer = q.clock.after(commandMs, () => {
      // The whole group: a shell's child may hang, not the shell.
      if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL');
      done(fail('ETIMEDOUT', `no end of it in ${commandMs} ms: ${q.command}`));
    });
    child.on('error', (error) => {
      timer.cancel();
      done(fail('EIO', error.message));
    });
    child.on('exit', (code, signal) => {
      timer.cancel();
      done(code === 0 ? ok() : fail('EIO', `${q.command}: ${signal ?? `exit ${code}`}`));
    });
  });
}
