// ssi container: first program of the containers of compose.yaml. Not for people.
import { readClusterFile } from '@ssi/client';
import type { Reply } from '@ssi/contracts';
import type { Command } from 'commander';
import { nodeArgument } from '../arguments.ts';
import type { Define } from '../command-table.ts';
import { exitCode } from '../status.ts';
import {
  containerServices,
  type Exec,
  initContainers,
  nodeExec,
  serviceExec,
} from '../up/container.ts';

export const define: Define = (command, shell) => {
  const name = shell.io.env.SSI_CLUSTER ?? 'ssi';
  const own = Number(shell.io.env.SSI_NODE);

  /** Becomes the program: the same pid, so that Docker's signals reach it. Returns only where it fails. */
  const become = (sub: Command, exec: Reply<Exec>): number => {
    if (!exec.ok) return shell.fail(sub, name, exec);
    const { file, args, env } = exec.value;
    process.removeAllListeners('warning');
    process.execve?.(file, [file, ...args], env);
    return exitCode.failed;
  };
  const withCluster = (sub: Command, exec: (c: ReturnType<typeof cluster>) => number): number => {
    const found = cluster();
    return found.ok ? exec(found) : shell.fail(sub, name, found);
  };
  const cluster = () => readClusterFile(name);

  const init = command
    .command('init')
    .description('make the secrets and the cluster file, once')
    .argument('<nodes>', 'how many', nodeArgument);
  init.action(
    shell.act(async (nodes: number) => {
      const made = await initContainers(name, nodes);
      return made.ok ? exitCode.ok : shell.fail(init, name, made);
    }),
  );

  const node = command.command('node').description('the node itself: its guard');
  node.action(
    shell.act(async () =>
      withCluster(node, (c) => become(node, c.ok ? nodeExec(c.value, own) : c)),
    ),
  );

  for (const service of containerServices) {
    const sub = command.command(service).description('this service of the node');
    sub.action(
      shell.act(async () =>
        withCluster(sub, (c) => become(sub, c.ok ? serviceExec(c.value, own, service) : c)),
      ),
    );
  }
};
