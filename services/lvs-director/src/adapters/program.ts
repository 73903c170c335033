// A program of the system (nft, ipvsadm): what goes in, what comes out, and never for ever.
import { spawn } from 'node:child_process';

export interface Run {
  readonly code: number | undefined;
  readonly out: string;
  readonly err: string;
}

/** On a machine with other work, 65,521 places have taken more than 10 s. */
const runMs = 60_000;

export function run(argv: readonly string[], input = ''): Promise<Run> {
  return new Promise((done) => {
    const [path = '', ...args] = argv;
    const child = spawn(path, args, { timeout: runMs, killSignal: 'SIGKILL' });
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
export const reason = (r: Run): string => r.err.trim().split('\n')[0] || `ended with ${r.code}`;
