// ssi demo: what `npm start` runs. Shows the main job, then stays up on a terminal, else cleans up.
import { connect } from '@ssi/client';
import { fail, type Reply } from '@ssi/contracts';
import type { Define } from '../command-table.ts';
import { demoEmbedded } from '../demo-embedded.ts';
import { type DemoOutput, demoNative } from '../demo-native.ts';
import type { Shell } from '../shell.ts';
import { exitCode } from '../status.ts';
import { bringUp } from '../up/bring-up.ts';
import { canRunNative, down } from '../up/cluster.ts';
import { waterfall } from '../waterfall.ts';

const name = 'default';

const hint = (pid: number) => `
The cluster stays up until Ctrl-C. In another terminal, in this folder, try:
  npx ssi nodes                      npx ssi ps
  npx ssi logs -f ${String(pid).padEnd(6)}             npx ssi migrate ${pid} 2
  npx ssi run -t --node 2 -- bash    npx ssi node start 1
  npx ssi top                        npx ssi --help
`;

const output = (shell: Shell): DemoOutput => ({
  say: (text) => shell.out(`${text}\n`),
  write: (text) => shell.out(text),
  waterfall: (spans) => waterfall(spans, { width: shell.width ?? 110, paint: shell.paint }),
});

async function native(shell: Shell): Promise<Reply<{ pid: number }>> {
  shell.out('1  Three nodes on this machine, each in namespaces of its own.\n');
  const started = await bringUp({
    name,
    nodes: 3,
    pidBits: 16,
    signal: shell.interrupted,
    onProgress: () => {},
  });
  if (!started.ok) return started;
  const ssi = await connect({ cluster: name });
  if (!ssi.ok) return ssi;
  try {
    return await demoNative(ssi.value, started.value, output(shell));
  } finally {
    await ssi.value.close();
  }
}

const interrupted = (shell: Shell): Promise<Reply<never>> =>
  shell.untilInterrupted().then(() => fail('EINTR', 'interrupted'));

export const define: Define = (command, shell) => {
  command.action(
    shell.act(async () => {
      if (!canRunNative()) {
        shell.note('demo: native programs need Linux, root and criu (ssi doctor); this is without');
        const told = await Promise.race([demoEmbedded(output(shell)), interrupted(shell)]);
        if (told.ok) await told.value.cluster.close();
        else if (told.errno !== 'EINTR') shell.fail(command, undefined, told);
        if (told.ok) return exitCode.ok;
        return told.errno === 'EINTR' ? exitCode.interrupted : exitCode.failed;
      }
      const done = await Promise.race([native(shell), interrupted(shell)]);
      if (!done.ok && done.errno !== 'EINTR') shell.fail(command, undefined, done);
      const stays = done.ok && shell.io.stdin.isTTY && shell.io.stdout.isTTY;
      if (stays) {
        shell.out(hint(done.value.pid));
        await shell.untilInterrupted();
      }
      // A cluster that was there before is not ours to end.
      if (!done.ok && done.errno === 'EEXIST') return exitCode.failed;
      await down(name);
      if (done.ok) return exitCode.ok;
      return done.errno === 'EINTR' ? exitCode.interrupted : exitCode.failed;
    }),
  );
};
