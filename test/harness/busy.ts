// busy.py on a cluster, fed with numbered, checksummed lines for as long as a test wants, its output
// checked as it comes. What a fault test puts under load.
import { fileURLToPath } from 'node:url';
import { crc32 } from 'node:zlib';
import type { Ssi } from '@ssi/client';
import type { ExitStatus, Reply } from '@ssi/contracts';
import { numberedOutput } from './numbered.ts';
import { waitUntil } from './wait-until.ts';

export const program = (name: string): string =>
  fileURLToPath(new URL(`../programs/${name}`, import.meta.url));

export const value = <T>(reply: Reply<T>): T => {
  if (!reply.ok) throw new Error(`${reply.errno} ${reply.detail}`);
  return reply.value;
};

export interface Busy {
  readonly pid: number;
  /** `NAME=value` in the environment of every process of it. */
  readonly mark: string;
  report(): ReturnType<ReturnType<typeof numberedOutput>['report']>;
  /** Resolves when so many more lines of thread 0 and of checked input have come, and a fresh gap report. */
  more(lines: number, deadlineMs?: number): Promise<void>;
  /** Ends its input and gives what was sent and how it ended. */
  finish(): Promise<{ sent: number; status: ExitStatus }>;
}

let counter = 0;

export async function startBusy(ssi: Ssi, node: number): Promise<Busy> {
  const name = 'SSI_TEST_MARK';
  const mark = `busy${process.pid}x${counter++}`;
  const { pid } = value(
    await ssi.run({
      argv: ['/usr/bin/python3', program('busy.py')],
      env: { PATH: '/usr/bin:/bin', [name]: mark },
      cwd: '/',
      node,
    }),
  );
  const output = numberedOutput();
  const attachment = ssi.attach(pid, { input: true });
  const ended = (async () => {
    for await (const event of attachment.events()) {
      if (event.type === 'data') output.feed(event.bytes);
      if (event.type === 'gap') output.feed(`BAD ${event.bytes} bytes gone\n`);
      if (event.type === 'failed')
        throw new Error(`${event.failure.errno} ${event.failure.detail}`);
      if (event.type === 'exit') return event.status;
    }
    throw new Error('the streams ended without a status');
  })();
  let feeding = true;
  const fed = (async () => {
    for (let n = 0; ; ) {
      if (!feeding) return n;
      let block = '';
      for (const end = n + 20; n < end; n++) block += `${n} ${crc32(String(n)).toString(16)}\n`;
      value(await attachment.write(Buffer.from(block)));
      await new Promise((done) => setTimeout(done, 5));
    }
  })();
  // A failure is reported where it is waited for, not as an unhandled one.
  ended.catch(() => {});
  fed.catch(() => {});
  return {
    pid,
    mark: `${name}=${mark}`,
    report: output.report,
    more: async (lines, deadlineMs = 15_000) => {
      const { next, checkedInput } = output.report();
      const t0 = next.get('t0') ?? 0;
      await waitUntil(
        `${lines} more lines of ${pid}`,
        () => {
          const now = output.report();
          const isFresh = (now.gaps.at(-1)?.at ?? 0) > Date.now() / 1000 - 0.3;
          return (
            (now.next.get('t0') ?? 0) >= t0 + lines &&
            now.checkedInput >= checkedInput + lines &&
            isFresh
          );
        },
        deadlineMs,
        () => JSON.stringify(output.report().wrong),
      );
    },
    finish: async () => {
      feeding = false;
      const sent = await fed;
      value(await attachment.endInput());
      const status = await ended;
      await ssi.wait(pid);
      return { sent, status };
    },
  };
}
