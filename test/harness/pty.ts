// `ssi` on a terminal, as a person would use it: what is typed and what is seen.
import { spawn } from 'node:child_process';
import type { Writable } from 'node:stream';
import { program } from './busy.ts';
import { cli, type TestCluster } from './cluster.ts';
import { waitUntil } from './wait-until.ts';

export interface Terminal {
  type(text: string): void;
  resize(rows: number, cols: number): void;
  /** Waits for something shown since the last such wait; gives its match. */
  sees(pattern: RegExp, deadlineMs?: number): Promise<RegExpExecArray>;
  /** Exit status of `ssi`. */
  readonly ended: Promise<number>;
  /** For a test that failed in between. */
  close(): void;
}

export function openTerminal(
  cluster: TestCluster,
  size: { rows: number; cols: number },
  ...args: string[]
): Terminal {
  const own = [program('on-pty.py'), String(size.rows), String(size.cols)];
  const child = spawn('/usr/bin/python3', [...own, process.execPath, cli, ...args], {
    env: { ...process.env, SSI_CLUSTER: cluster.name, TERM: 'dumb' },
    stdio: ['pipe', 'pipe', 'inherit', 'pipe'],
  });
  let shown = '';
  let seenTo = 0;
  const [typed, screen] = [child.stdin, child.stdout];
  if (!typed || !screen) throw new Error('spawn gave no pipes');
  screen.on('data', (data: Buffer) => {
    shown += data.toString();
  });
  const control = child.stdio[3] as Writable;
  return {
    type: (text) => void typed.write(text),
    resize: (rows, cols) => void control.write(`${rows} ${cols}\n`),
    sees: (pattern, deadlineMs = 20_000) =>
      waitUntil(
        `${pattern} on the terminal`,
        () => {
          const found = pattern.exec(shown.slice(seenTo));
          if (found) seenTo += found.index + found[0].length;
          return found ?? undefined;
        },
        deadlineMs,
        () => JSON.stringify(shown.slice(seenTo)),
      ),
    ended: new Promise((done) => child.once('exit', (code) => done(code ?? -1))),
    close: () => void child.kill('SIGKILL'),
  };
}
