// Every command: its name, one line about it, and where its code is. Only the module of the command that
// was asked for is loaded, so that `ssi --help` is quick however much a command needs.
import type { Command } from 'commander';
import type { Shell } from './shell.ts';

/** Adds arguments, options, examples and the action to an empty command. */
export type Define = (command: Command, shell: Shell) => void;

export interface CommandEntry {
  readonly name: string;
  readonly summary: string;
  readonly group: 'Cluster' | 'Processes' | 'Seeing it' | "OpenSSI's names" | 'Other';
  /** Not in help or completion: run by other parts of ssi. */
  readonly hidden?: boolean;
  readonly load: () => Promise<{ define: Define }>;
}

const entry =
  (group: CommandEntry['group']) =>
  (name: string, summary: string, load: CommandEntry['load']): CommandEntry => ({
    name,
    summary,
    group,
    load,
  });

const cluster = entry('Cluster');
const processes = entry('Processes');
const seeing = entry('Seeing it');
const openssi = entry("OpenSSI's names");

/** In the order of `ssi --help`. */
export const commandTable: readonly CommandEntry[] = [
  cluster('up', 'start a cluster on this machine', () => import('./commands/up.ts')),
  cluster('down', 'take a cluster of this machine down', () => import('./commands/down.ts')),
  cluster('join', 'make this machine a node of a cluster', () => import('./commands/join.ts')),
  cluster(
    'node',
    'start, stop or kill one node of this machine',
    () => import('./commands/node.ts'),
  ),
  cluster(
    'nodes',
    'nodes of the cluster, their states and services',
    () => import('./commands/nodes.ts'),
  ),
  cluster(
    'view',
    'the numbered membership as a node has applied it',
    () => import('./commands/view.ts'),
  ),
  cluster('events', 'membership transitions, as they happen', () => import('./commands/events.ts')),
  cluster(
    'user',
    'give people credentials, and take them back',
    () => import('./commands/user.ts'),
  ),
  cluster('drain', 'move every process off a node', () => import('./commands/drain.ts')),
  cluster(
    'lvs',
    "the cluster's address and the services behind it",
    () => import('./commands/lvs.ts'),
  ),
  cluster('ipvsadm', 'the same by ipvsadm’s own words', () => import('./commands/ipvsadm.ts')),
  cluster(
    'doctor',
    'check this machine and say what to do about what is missing',
    () => import('./commands/doctor.ts'),
  ),

  processes('run', 'start a program on a node', () => import('./commands/run.ts')),
  processes('ps', 'processes of all nodes', () => import('./commands/ps.ts')),
  processes(
    'top',
    'processes of all nodes by CPU use, refreshed',
    () => import('./commands/top.ts'),
  ),
  processes(
    'kill',
    'send a signal to a process or group, wherever it is',
    () => import('./commands/kill.ts'),
  ),
  processes(
    'migrate',
    'move a running process to another node',
    () => import('./commands/migrate.ts'),
  ),
  processes(
    'rexec',
    'put another program in the place of a process, on another node',
    () => import('./commands/rexec.ts'),
  ),
  processes(
    'why-not',
    'say what keeps a process from moving',
    () => import('./commands/why-not.ts'),
  ),
  processes('where', 'the node a process executes on', () => import('./commands/where.ts')),
  processes(
    'wait',
    'wait for the end of a process and take its status',
    () => import('./commands/wait.ts'),
  ),
  processes(
    'logs',
    'what a process started by `ssi run` has written',
    () => import('./commands/logs.ts'),
  ),
  processes(
    'attach',
    'connect this terminal to a process started by `ssi run`',
    () => import('./commands/attach.ts'),
  ),

  processes('lock', 'run a command under a lock', () => import('./commands/lock.ts')),
  processes('mq', 'send to and receive from a message queue', () => import('./commands/mq.ts')),
  processes('sem', 'wait for, post and look at a semaphore', () => import('./commands/sem.ts')),
  processes('fifo', 'make, read and write a fifo', () => import('./commands/fifo.ts')),
  processes('ipcrm', 'remove IPC objects', () => import('./commands/ipcrm.ts')),

  seeing('ipcs', 'IPC objects of the cluster, where each is', () => import('./commands/ipcs.ts')),
  seeing(
    'locks',
    'locks of the cluster, who holds them and who waits',
    () => import('./commands/locks.ts'),
  ),
  seeing(
    'trace',
    'a trace as a waterfall, or the recent ones',
    () => import('./commands/trace.ts'),
  ),

  seeing(
    'collect',
    'take spans of other programs in, by OTLP',
    () => import('./commands/collect.ts'),
  ),

  openssi('onnode', 'run a command on a node', () => import('./commands/onnode.ts')),
  openssi('onall', 'run a command on every node that is UP', () => import('./commands/onall.ts')),
  openssi(
    'onclass',
    'run a command on every node of a class',
    () => import('./commands/onclass.ts'),
  ),
  openssi('fast', 'run a command on the least loaded node', () => import('./commands/fast.ts')),
  openssi(
    'where_pid',
    'number of the node a process executes on',
    () => import('./commands/where-pid.ts'),
  ),
  openssi(
    'node_self',
    'number of the node this command runs on',
    () => import('./commands/node-self.ts'),
  ),
  openssi(
    'cluster',
    'states of the nodes; start a cluster without a majority',
    () => import('./commands/cluster.ts'),
  ),

  {
    name: 'demo',
    summary: 'the main job, shown: what npm start runs',
    group: 'Other',
    load: () => import('./commands/demo.ts'),
  },
  {
    name: 'node-services',
    summary: 'the supervisor of a node',
    group: 'Other',
    hidden: true,
    load: () => import('./commands/node-services.ts'),
  },
  {
    name: 'embedded-nodes',
    summary: 'all nodes of a cluster in one process',
    group: 'Other',
    hidden: true,
    load: () => import('./commands/embedded-nodes.ts'),
  },
  {
    name: 'enrolment',
    summary: 'takes joining machines in',
    group: 'Other',
    hidden: true,
    load: () => import('./commands/enrolment.ts'),
  },
  {
    name: 'container',
    summary: 'first program of the containers of compose.yaml',
    group: 'Other',
    hidden: true,
    load: () => import('./commands/container.ts'),
  },
  {
    name: 'completion',
    summary: 'shell completion for bash, zsh or fish',
    group: 'Other',
    load: () => import('./commands/completion.ts'),
  },
];
