// The Ssisys port on a unix socket of the node: one request a connection, one line each way, `ok WORDS` or
// `error NUMBER NAME: text`. Who asks is what the kernel says, in this pid namespace. [unix(7): SO_PEERCRED]
import { chmodSync, rmSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { errnoNumber, fail, type Reply } from '@ssi/contracts';
import { peerCredentials } from '@ssi/linux';
import type { Clock, Log } from '@ssi/ports';
import type { ProgramCaller, Ssisys } from '../ports.ts';

const connectionsMax = 256;
const requestMax = 128;
/** libssi sends its line at once. */
const requestMs = 5_000;

export function linuxSsisys(options: {
  readonly socketPath: string;
  readonly clock: Clock;
  readonly log: Log;
}): Ssisys {
  const { socketPath, clock, log } = options;
  return {
    serve: (answer) => {
      const server = createServer((socket) => take(socket, clock, answer));
      server.maxConnections = connectionsMax;
      server.on('error', (error) => log.error('programs cannot ask', { detail: error.message }));
      rmSync(socketPath, { force: true }); // of a predecessor that was killed
      // Whoever is on this node may ask; what for is judged by who he is.
      server.listen(socketPath, () => chmodSync(socketPath, 0o666));
      return { stop: () => void server.close() };
    },
  };
}

function take(
  socket: Socket,
  clock: Clock,
  answer: (caller: ProgramCaller, words: readonly string[]) => Promise<Reply<string>>,
): void {
  let text = '';
  const late = clock.after(requestMs, () => socket.destroy());
  socket.on('error', () => {}); // it ended: nobody waits for the answer
  socket.on('close', () => late.cancel());
  socket.on('data', (bytes: Buffer) => {
    text += bytes.toString('latin1');
    const end = text.indexOf('\n');
    if (end < 0 && text.length < requestMax) return;
    late.cancel();
    socket.removeAllListeners('data').resume();
    const caller = peerCredentials(socket);
    const words = text.slice(0, Math.max(0, end)).split(' ');
    const asked = caller ? answer(caller, words) : Promise.resolve(fail('EPERM', 'who asks?'));
    void asked.then((reply) => socket.end(line(reply)));
  });
}

const line = (reply: Reply<string>): string =>
  reply.ok
    ? `ok ${reply.value}\n`
    : `error ${errnoNumber[reply.errno]} ${reply.errno}: ${reply.detail.replaceAll('\n', ' ').slice(0, 1024)}\n`;
