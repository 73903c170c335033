// The way any helper program is run: to its end, with what it said.
import { type ChildProcess, spawn } from 'node:child_process';

export interface RunResult {
  /** undefined: ended by a signal, or it did not start. */
  readonly code: number | undefined;
  readonly out: string;
  readonly err: string;
}

/** Runs a program to its end; never rejects. */
export function runProgram(
  path: string,
  args: readonly string[],
  options: {
    readonly env?: Readonly<Record<string, string>>;
    readonly timeoutMs?: number;
    readonly extraFds?: readonly number[];
    /** Characters kept of each stream. */
    readonly outputMax?: number;
  } = {},
): Promise<RunResult> {
  return endOf(
    spawn(path, args, {
      stdio: ['ignore', 'pipe', 'pipe', ...(options.extraFds ?? [])],
      ...(options.env ? { env: { ...options.env } } : {}),
      ...(options.timeoutMs ? { timeout: options.timeoutMs, killSignal: 'SIGKILL' } : {}),
    }),
    options.outputMax,
  );
}

/** Its output is collected from now on. */
export function endOf(child: ChildProcess, outputMax = 64 * 1024): Promise<RunResult> {
  return new Promise((done) => {
    let out = '';
    let err = '';
    child.stdout?.on('data', (bytes: Buffer) => {
      if (out.length < outputMax) out += bytes.toString();
    });
    child.stderr?.on('data', (bytes: Buffer) => {
      if (err.length < outputMax) err += bytes.toString();
    });
    child.on('error', (error) => done({ code: undefined, out, err: error.message }));
    child.on('close', (code) => done({ code: code ?? undefined, out, err }));
  });
}
