// The Programs port on a unix socket of the node. A request is a line of words, of msgsnd the text after it; an answer
// `ok WORDS`, `text BYTES WORDS` and the bytes, or `error NUMBER NAME`.
import { existsSync } from 'node:fs';
import { errnoNumber, fail, ipcLimits, ok, type Reply } from '@ssi/contracts';
import { serveProgramSocket } from '@ssi/linux';
import type { Clock, Log } from '@ssi/ports';
import type { ProgramReply, Programs } from '../ports.ts';

export const linuxPrograms = (options: {
  readonly socketPath: string;
  readonly clock: Clock;
  readonly log: Log;
}): Programs => ({
  has: (pid) => existsSync(`/proc/${pid}`),
  serve: (answer) =>
    serveProgramSocket({
      ...{ path: options.socketPath, clock: options.clock, log: options.log },
      // Each has one call that waits for its object, at most; a line has 500 operations, or the values of a large set.
      ...{ connectionsMax: 4_096, lineMax: 65_536, told, textBytes },
      answer,
    }),
});

/** The last word of what sends a text is its length. A longer one than may be is refused without it. */
function textBytes(words: readonly string[]): Reply<number> {
  const bytes = words[0] === 'msgsnd' ? Number(words.at(-1)) : 0;
  return bytes >= 0 && bytes <= ipcLimits.msgMax
    ? ok(bytes)
    : fail('EINVAL', 'longer than any message');
}

function told(reply: Reply<ProgramReply>): string | Uint8Array {
  if (!reply.ok) return `error ${errnoNumber[reply.errno]} ${reply.errno}\n`;
  const { words, text } = reply.value;
  if (!text) return `ok ${words}\n`;
  return Buffer.concat([Buffer.from(`text ${text.length} ${words}\n`), text]);
}
