// A program that answers each line with a line, on the cluster or plainly on this machine.
import { spawn } from 'node:child_process';
import type { Ssi } from '@ssi/client';
import { value } from './busy.ts';
import { waitUntil } from './wait-until.ts';

export interface Conversation {
  readonly pid: number;
  /** Sends a line and gives the answer. */
  ask(line: string, deadlineMs?: number): Promise<string>;
  /** Gives the next line that it says by itself. */
  next(deadlineMs?: number): Promise<string>;
  close(): void;
}

function lines(send: (line: string) => Promise<unknown>, pid: number, close: () => void) {
  const said: string[] = [];
  let rest = '';
  let taken = 0;
  const next = async (deadlineMs = 15_000): Promise<string> => {
    await waitUntil(`line ${taken} of ${pid}`, () => said.length > taken, deadlineMs);
    return said[taken++] ?? '';
  };
  return {
    feed: (bytes: Uint8Array) => {
      const parts = (rest + Buffer.from(bytes).toString()).split('\n');
      rest = parts.pop() ?? '';
      said.push(...parts);
    },
    talk: {
      pid,
      next,
      close,
      ask: async (line: string, deadlineMs?: number) => {
        await send(`${line}\n`);
        return next(deadlineMs);
      },
    } satisfies Conversation,
  };
}

export async function talkOnCluster(
  ssi: Ssi,
  node: number,
  argv: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<Conversation> {
  const { pid } = value(
    await ssi.run({ argv: [...argv], env: { PATH: '/usr/bin:/bin', ...env }, cwd: '/', node }),
  );
  const attached = ssi.attach(pid, { input: true });
  const send = async (line: string) => value(await attached.write(Buffer.from(line)));
  const { feed, talk } = lines(send, pid, () => attached.close());
  void (async () => {
    for await (const event of attached.events()) if (event.type === 'data') feed(event.bytes);
  })();
  return talk;
}

export function talkHere(argv: readonly string[]): Conversation {
  const child = spawn(argv[0] ?? '', argv.slice(1), {
    detached: true, // a session of its own, as on the cluster
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const send = async (line: string) => child.stdin.write(line);
  const { feed, talk } = lines(send, child.pid ?? 0, () => child.stdin.end());
  child.stdout.on('data', feed);
  return talk;
}
