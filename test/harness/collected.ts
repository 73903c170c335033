// The output of a program on the cluster, collected as it comes, and its end.
import type { Attachment, Ssi } from '@ssi/client';
import type { ExitStatus } from '@ssi/contracts';
import { waitUntil } from './wait-until.ts';

export interface Collected {
  readonly pid: number;
  /** Its input is written here. */
  readonly attachment: Attachment;
  /** Its status; rejects where its streams end without one. */
  readonly ended: Promise<ExitStatus>;
  /** So far. */
  output(): string;
  /** Resolves once its output has this. */
  shows(text: string): Promise<unknown>;
}

export function collect(ssi: Ssi, pid: number): Collected {
  const attachment = ssi.attach(pid, { input: true });
  let output = '';
  const ended = (async () => {
    for await (const event of attachment.events()) {
      if (event.type === 'data') output += Buffer.from(event.bytes).toString();
      if (event.type === 'exit') return event.status;
    }
    throw new Error('the streams ended without a status');
  })();
  // A failure is reported where it is waited for, not as an unhandled one.
  ended.catch(() => {});
  const quoted = (): string => JSON.stringify(output);
  return {
    pid,
    attachment,
    ended,
    output: () => output,
    shows: (text) => waitUntil(`"${text}"`, () => output.includes(text), 20_000, quoted),
  };
}
