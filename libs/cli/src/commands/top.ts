// ssi top: the processes of all nodes by CPU use between two looks.

import type { ProcessInfo } from '@ssi/contracts';
import { Option } from 'commander';
import { countArgument, secondsArgument } from '../arguments.ts';
import type { Define } from '../command-table.ts';
import { bytes, cpuTime, table } from '../output.ts';
import { exitCode } from '../status.ts';
import { stateLetter } from './ps.ts';

export interface Usage extends ProcessInfo {
  /** Per cent of one CPU over the last interval. */
  readonly cpu: number;
}

/** By use, then by time used, then by pid. */
export function usage(
  before: readonly ProcessInfo[],
  now: readonly ProcessInfo[],
  intervalMs: number,
): Usage[] {
  const used = new Map(before.map((p) => [p.pid, p.cpuMs]));
  return now
    .map((p) => {
      // A process that moved may count its time anew on the other node: never below 0.
      const ms = Math.max(0, p.cpuMs - (used.get(p.pid) ?? p.cpuMs));
      return { ...p, cpu: intervalMs > 0 ? (100 * ms) / intervalMs : 0 };
    })
    .sort((a, b) => b.cpu - a.cpu || b.cpuMs - a.cpuMs || a.pid - b.pid);
}

interface Options {
  readonly delay: number;
  readonly count?: number;
  readonly batch?: boolean;
  readonly json?: boolean;
}

const home = '\u001b[H';
const clearBelow = '\u001b[J';
const clearLine = '\u001b[K';
const alternate = { on: '\u001b[?1049h\u001b[?25l', off: '\u001b[?25h\u001b[?1049l' };

export const define: Define = (command, shell) => {
  const { io } = shell;
  command
    .addOption(
      new Option('-d, --delay <seconds>', 'between two looks')
        .argParser(secondsArgument)
        .default(1_000, '1'),
    )
    .option('-n, --count <count>', 'end after that many', countArgument)
    .option('-b, --batch', 'print one table after the other, as where there is no terminal')
    .option('--json', 'as JSON, once: [{pid,node,origin,state,cpu,cpuMs,rssBytes,command}]')
    .addHelpText('after', '\nq or Ctrl-C ends it.\n\nExamples:\n  ssi top\n  ssi top -b -n 1')
    .action(
      shell.act((options: Options) =>
        shell.withSsi(command, async (ssi) => {
          const live = io.stdout.isTTY && io.stdin.isTTY && !options.batch && !options.json;
          const rounds = options.json ? 1 : (options.count ?? (live ? Infinity : 1));
          const stop = new AbortController();
          const end = (): void => stop.abort();
          shell.interrupted.addEventListener('abort', end, { once: true });
          const onKey = (key: Buffer): void => {
            if (key.includes('q') || key.includes(3)) end();
          };
          if (live) {
            io.stdin.setRawMode?.(true);
            io.stdin.on('data', onKey);
            shell.out(alternate.on);
          }
          try {
            let before: readonly ProcessInfo[] = [];
            let at = performance.now();
            for (let round = 0; round <= rounds && !stop.signal.aborted; round++) {
              const reply = await ssi.ps();
              if (stop.signal.aborted) break;
              if (!reply.ok) return shell.fail(command, undefined, reply);
              const now = performance.now();
              const rows = usage(before, reply.value.processes, now - at);
              before = reply.value.processes;
              at = now;
              // The first look only gives what the second is compared with; a person sees it at once.
              if (round > 0 || live) show(rows);
              if (round < rounds) await pause(options.delay, stop.signal);
            }
            return exitCode.ok;
          } finally {
            shell.interrupted.removeEventListener('abort', end);
            if (live) {
              io.stdin.off('data', onKey);
              io.stdin.setRawMode?.(false);
              io.stdin.pause();
              shell.out(alternate.off);
            }
          }

          function show(rows: readonly Usage[]): void {
            if (options.json) {
              shell.json(
                rows.map(({ pid, node, origin, state, cpu, cpuMs, rssBytes, command: text }) => ({
                  pid,
                  node,
                  origin,
                  state,
                  cpu: Math.round(cpu * 10) / 10,
                  cpuMs,
                  rssBytes,
                  command: text,
                })),
              );
              return;
            }
            const text = table(columns, live ? rows.slice(0, (io.stdout.rows ?? 24) - 2) : rows, {
              paint: shell.paint,
              width: shell.width,
            });
            shell.out(
              live ? `${home}${text.replaceAll('\n', `${clearLine}\n`)}${clearBelow}` : text,
            );
          }
        }),
      ),
    );
};

const columns = [
  { title: 'PID', of: (p: Usage) => p.pid, align: 'right' as const },
  { title: 'NODE', of: (p: Usage) => p.node, align: 'right' as const },
  { title: 'STAT', of: (p: Usage) => stateLetter[p.state] },
  { title: '%CPU', of: (p: Usage) => p.cpu.toFixed(1), align: 'right' as const },
  { title: 'RSS', of: (p: Usage) => bytes(p.rssBytes), align: 'right' as const },
  { title: 'TIME', of: (p: Usage) => cpuTime(p.cpuMs), align: 'right' as const },
  { title: 'COMMAND', of: (p: Usage) => p.command },
];

const pause = (ms: number, signal: AbortSignal): Promise<void> =>
  new Promise((done) => {
    const timer = setTimeout(finish, ms);
    function finish(): void {
      clearTimeout(timer);
      signal.removeEventListener('abort', finish);
      done();
    }
    signal.addEventListener('abort', finish);
  });
