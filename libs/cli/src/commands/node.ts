// ssi node start|stop|kill N: single nodes of a cluster that `ssi up` started on this machine.
import { clusterDir } from '@ssi/client';
import { type Failure, fail, ok, type Reply } from '@ssi/contracts';
import type { Command } from 'commander';
import { nodeArgument } from '../arguments.ts';
import type { Define } from '../command-table.ts';
import { hasAuthority, revokeNode } from '../security/authority.ts';
import type { Shell } from '../shell.ts';
import { localCluster } from '../up/bring-up.ts';
import { killOneNode, startOneNode, stopOneNode } from '../up/cluster.ts';
import { defineToken } from './node-token.ts';

type Act = (name: string, num: number) => Promise<Reply<string>>;

const started: Act = async (name, num) => {
  const reply = await startOneNode(name, num);
  return reply.ok ? ok(`node ${num} starts; it is UP when "ssi nodes" says so`) : reply;
};

const stopped: Act = async (name, num) => {
  const reply = await stopOneNode(name, num);
  return reply.ok ? ok(`node ${num} is stopped`) : reply;
};

const killed: Act = async (name, num) => {
  const reply = await killOneNode(name, num);
  if (!reply.ok) return reply;
  return ok(reply.value.wasRunning ? `node ${num} is killed` : `node ${num} was not running`);
};

const revoked: Act = async (name, num) => {
  const cluster = localCluster(name);
  if (!cluster.ok) return cluster;
  if (!hasAuthority(clusterDir(name)))
    return fail('EOPNOTSUPP', "what this cluster is entered with is its bus's own password");
  const reply = await revokeNode(cluster.value, clusterDir(name), num);
  return reply.ok ? ok(`node ${num} is cut off; it joins again with a new token`) : reply;
};

function subcommand(parent: Command, shell: Shell, verb: string, summary: string, act: Act): void {
  const command = parent
    .command(verb)
    .description(summary)
    .argument('<node>', 'its number', nodeArgument);
  command.action(
    shell.act(async (num: number) => {
      const wanted = command.optsWithGlobals<{ cluster?: string }>().cluster;
      const cluster = localCluster(wanted ?? shell.io.env.SSI_CLUSTER);
      const reply: Reply<string> | Failure = cluster.ok
        ? await shell.progress(`${verb} node ${num}`, act(cluster.value.name, num))
        : cluster;
      if (!reply.ok) return shell.fail(command, num, reply);
      shell.note(`node: ${reply.value}`);
      return 0;
    }),
  );
}

export const define: Define = (command, shell) => {
  command.addHelpText(
    'after',
    `
Examples:
  ssi drain 2 && ssi node stop 2     takes node 2 out with nothing lost
  ssi node start 2                   and back in
  ssi node kill 1                    what a power loss looks like to the others (a test aid)`,
  );
  defineToken(command, shell);
  subcommand(command, shell, 'start', 'start a node again, or one more', started);
  subcommand(
    command,
    shell,
    'stop',
    'end a node in good order: it leaves, then its programs end',
    stopped,
  );
  subcommand(command, shell, 'kill', 'SIGKILL of everything in a node', killed);
  subcommand(
    command,
    shell,
    'revoke',
    'take what a node holds back: nobody hears it any more',
    revoked,
  );
};
