// A program of the system (nft, ip, ipvsadm): what goes in, what comes out, and never for ever.
import { spawn } from 'node:child_process';

export interface Run {
  readonly code: number | undefined;
  readonly out: string;
  readonly err: string;
}

const runMs = 10_000;

/** SIGKILL after `withinMs`; then `code` is undefined, as where it cannot be started. */
export function run(argv: readonly string[], input = '', withinMs: number = runMs): Promise<Run> {
  return new Promise((done) => {
    const [path = '', ...args] = argv;
    const child = spawn(path, args, { timeout: withinMs, killSignal: 'SIGKILL' });
    let [out, err] = ['', ''];
    child.stdout.on('data', (bytes: Buffer) => {
      out += bytes.toString();
    });
    child.stderr.on('data', (bytes: Buffer) => {
      err += bytes.toString();
    });
    // It may end before it has read all.
    child.stdin.on('error', () => {});
    child.on('error', (error) => done({ code: undefined, out, err: error.message }));
    child.on('close', (code) => done({ code: code ?? undefined, out, err }));
    child.stdin.end(input);
  });
}

/** What it says, without the lines that show where. */
export const reason = (r: Run, program: string): string =>
  r.err.trim().split('\n')[0] || `${program} ended with ${r.code}`;
