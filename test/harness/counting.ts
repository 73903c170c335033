// A program that says `ok <n>`, one more each time, or why it is not: heard from its start to its end.
import type { Ssi } from '@ssi/client';
import { value } from './busy.ts';

/** What a program has said so far. */
export function listen(ssi: Ssi, pid: number) {
  const heard = { last: -1, bad: [] as string[] };
  let rest = '';
  const attachment = ssi.attach(pid);
  const done = (async () => {
    for await (const event of attachment.events()) {
      if (event.type === 'gap') heard.bad.push(`${event.bytes} bytes gone`);
      if (event.type === 'failed') heard.bad.push(`${event.failure.errno} ${event.failure.detail}`);
      if (event.type !== 'data') continue;
      const lines = (rest + Buffer.from(event.bytes).toString('latin1')).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines.map((l) => l.trim()).filter(Boolean)) {
        const n = Number(/^ok (\d+)$/.exec(line)?.[1] ?? Number.NaN);
        if (Number.isNaN(n)) heard.bad.push(line);
        else if (n !== 0 && n !== heard.last + 1) heard.bad.push(`${n} after ${heard.last}`);
        else heard.last = n;
      }
    }
  })();
  const close = (): Promise<void> => {
    attachment.close();
    return done;
  };
  return { heard, close };
}

/** It, and all of its session. */
export async function endSession(ssi: Ssi, pid: number): Promise<void> {
  for (const entry of value(await ssi.ps()).processes)
    if (entry.pid === pid || entry.sid === pid) await ssi.kill(entry.pid, 9);
  await ssi.wait(pid, { timeoutMs: 10_000 });
}
