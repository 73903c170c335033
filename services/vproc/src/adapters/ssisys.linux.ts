// The Ssisys port on a unix socket of the node: one line each way, `ok WORDS` or `error NUMBER NAME: text`.
import { errnoNumber, type Reply } from '@ssi/contracts';
import { serveProgramSocket } from '@ssi/linux';
import type { Clock, Log } from '@ssi/ports';
import type { Ssisys } from '../ports.ts';

export const linuxSsisys = (options: {
  readonly socketPath: string;
  readonly clock: Clock;
  readonly log: Log;
}): Ssisys => ({
  serve: (answer) =>
    serveProgramSocket({
      ...{ path: options.socketPath, clock: options.clock, log: options.log },
      ...{ connectionsMax: 256, lineMax: 128, told: line },
      answer: (caller, { words }) => answer(caller, words),
    }),
});

const line = (reply: Reply<string>): string =>
  reply.ok
    ? `ok ${reply.value}\n`
    : `error ${errnoNumber[reply.errno]} ${reply.errno}: ${reply.detail.replaceAll('\n', ' ').slice(0, 1024)}\n`;
