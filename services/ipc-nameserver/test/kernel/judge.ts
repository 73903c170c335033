// The kernel as a judge: kernel.c, compiled here, running the programs it is given.
import { type ChildProcessWithoutNullStreams, execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { Program } from './program.ts';

export class Judge {
  readonly #dir = mkdtempSync(join(tmpdir(), 'ssi-ipc-'));
  readonly #process: ChildProcessWithoutNullStreams;
  #lines: string[] = [];
  #wanted = 0;
  #deliver: ((lines: string[]) => void) | undefined;
  #fail: ((error: Error) => void) | undefined;

  constructor() {
    const program = join(this.#dir, 'kernel');
    const source = fileURLToPath(new URL('kernel.c', import.meta.url));
    execFileSync('gcc', ['-O1', '-o', program, source, '-lrt']);
    this.#process = spawn(program, [join(this.#dir, 'fifo')]);
    createInterface(this.#process.stdout).on('line', (line) => {
      this.#lines.push(line);
      if (this.#lines.length < this.#wanted) return;
      this.#deliver?.(this.#lines.splice(0));
    });
    const broken = (why: string) => this.#fail?.(new Error(`the judge: ${why}`));
    this.#process.stderr.on('data', (text) => broken(String(text)));
    this.#process.on('exit', (code) => broken(`ended with ${code}`));
  }

  /** What each step ended, one line each: worker:return:errno:what else, by worker. */
  run({ nsems, maxMessages, messageBytes, steps }: Program): Promise<string[]> {
    const lines = steps.map(({ worker, op, args }) => [worker, op, ...args].join(' '));
    this.#wanted = steps.length;
    return new Promise((done, failed) => {
      this.#deliver = done;
      this.#fail = failed;
      const begin = `begin ${nsems} ${maxMessages} ${messageBytes}`;
      this.#process.stdin.write([begin, ...lines, 'end', ''].join('\n'));
      if (steps.length === 0) done([]);
    });
  }

  stop(): void {
    this.#fail = undefined;
    this.#process.stdin.end();
    this.#process.kill();
    rmSync(this.#dir, { recursive: true, force: true });
  }
}
