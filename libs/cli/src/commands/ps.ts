// ssi ps: the one process table, told by every node for what executes on it.
import type { ProcessInfo } from '@ssi/contracts';
import { nodeArgument } from '../arguments.ts';
import type { Define } from '../command-table.ts';
import { bytes, type Column, cpuTime, table } from '../output.ts';

/** As ps(1) writes states, with M for a process between two nodes and F for one whose node is frozen. */
export const stateLetter: Record<ProcessInfo['state'], string> = {
  running: 'R',
  sleeping: 'S',
  disk: 'D',
  stopped: 'T',
  traced: 't',
  zombie: 'Z',
  idle: 'I',
  moving: 'M',
  frozen: 'F',
  exited: 'X',
};

const pid: Column<ProcessInfo> = { title: 'PID', of: (p) => p.pid, align: 'right' };
const ppid: Column<ProcessInfo> = { title: 'PPID', of: (p) => p.ppid, align: 'right' };
const where: Column<ProcessInfo>[] = [
  { title: 'NODE', of: (p) => p.node, align: 'right' },
  { title: 'ORIGIN', of: (p) => p.origin, align: 'right' },
  { title: 'STAT', of: (p) => stateLetter[p.state] },
];
const what: Column<ProcessInfo>[] = [
  { title: 'TIME', of: (p) => cpuTime(p.cpuMs), align: 'right' },
  { title: 'COMMAND', of: (p) => p.command },
];
const long: Column<ProcessInfo>[] = [
  { title: 'UID', of: (p) => p.uid, align: 'right' },
  { title: 'PGID', of: (p) => p.pgid, align: 'right' },
  { title: 'SID', of: (p) => p.sid, align: 'right' },
  { title: 'THR', of: (p) => p.threads, align: 'right' },
  { title: 'RSS', of: (p) => bytes(p.rssBytes), align: 'right' },
  { title: 'HOP', of: (p) => p.hop, align: 'right' },
  { title: 'KIND', of: (p) => p.kind },
];

interface Options {
  readonly node?: number;
  readonly long?: boolean;
  readonly json?: boolean;
}

export const define: Define = (command, shell) => {
  command
    .option('-n, --node <num>', 'only what executes on that node', nodeArgument)
    .option('-l, --long', 'also user, group, session, threads, memory, moves and kind')
    .option('--json', 'as JSON: [{pid,ppid,pgid,node,origin,state,kind,command}]')
    .addHelpText(
      'after',
      `
STAT is ps(1)'s, and M: moving, F: its node is frozen. A node that does not answer is named on standard
error; its processes are missing from the list.

Examples:
  ssi ps
  ssi ps --node 2 --long
  ssi ps --json | jq '.[] | select(.node == 2) | .pid'`,
    )
    .action(
      shell.act((options: Options) =>
        shell.withSsi(command, async (ssi) => {
          const reply = await shell.progress('asking every node', ssi.ps());
          if (!reply.ok) return shell.fail(command, undefined, reply);
          for (const { node, errno } of reply.value.silent)
            shell.note(`ps: node ${node} does not answer (${errno}): its processes are not shown`);
          const shown = reply.value.processes.filter(
            (p) => options.node === undefined || p.node === options.node,
          );
          if (options.json)
            shell.json(
              shown.map((p) => ({
                pid: p.pid,
                ppid: p.ppid,
                pgid: p.pgid,
                node: p.node,
                origin: p.origin,
                state: p.state,
                kind: p.kind,
                command: p.command,
              })),
            );
          else {
            const columns = [pid, ppid, ...where, ...(options.long ? long : []), ...what];
            shell.out(table(columns, shown, { paint: shell.paint, width: shell.width }));
          }
          return 0;
        }),
      ),
    );
};
