// The Programs port on a unix socket of the node: one request a connection, a line of words and the bytes that some
// tell of; an answer likewise: `ok WORDS`, `text BYTES WORDS` and the bytes, or `error NUMBER NAME`. Who asks is what
// the kernel says, in this pid namespace. [unix(7): SO_PEERCRED]
import { chmodSync, existsSync, rmSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { errnoNumber, fail, ipcLimits, type Reply } from '@ssi/contracts';
import { peerCredentials } from '@ssi/linux';
import type { Log } from '@ssi/ports';
import type { ProgramCall, ProgramReply, Programs } from '../ports.ts';

/** Each has one call that waits for its object, at most. */
const connectionsMax = 4_096;
const lineMax = 65_536;

export function linuxPrograms({
  socketPath,
  log,
}: {
  readonly socketPath: string;
  readonly log: Log;
}): Programs {
  return {
    has: (pid) => existsSync(`/proc/${pid}`),
    serve: (answer) => {
      // Half closed by a program that a signal has woken: it still reads its answer.
      const server = createServer({ allowHalfOpen: true }, (socket) => take(socket, answer));
      server.maxConnections = connectionsMax;
      server.on('error', (error) => log.error('programs cannot ask', { detail: error.message }));
      rmSync(socketPath, { force: true }); // of a predecessor that was killed
      // Whoever is on this node may ask; what for is judged by who he is.
      server.listen(socketPath, () => chmodSync(socketPath, 0o666));
      return { stop: () => void server.close() };
    },
  };
}

function take(socket: Socket, answer: ProgramCall): void {
  const given = new AbortController();
  let bytes = Buffer.alloc(0);
  socket.on('error', () => {}); // it ended: nobody waits for the answer
  socket.on('close', () => given.abort());
  socket.on('end', () => given.abort());
  socket.on('data', (more: Buffer) => {
    bytes = Buffer.concat([bytes, more]);
    const end = bytes.indexOf('\n');
    if (end < 0 && bytes.length < lineMax) return;
    const words = bytes.toString('latin1', 0, Math.max(end, 0)).split(' ');
    // The last word of what sends a text is its length.
    const length = words[0] === 'msgsnd' ? Number(words.at(-1)) : 0;
    if (!(length >= 0 && length <= ipcLimits.msgMax)) return void socket.end(told(tooLong));
    const text = bytes.subarray(end + 1, end + 1 + length);
    if (text.length < length) return;
    socket.removeAllListeners('data').resume();
    const caller = peerCredentials(socket);
    const asked = caller
      ? answer(caller, words, text, given.signal)
      : Promise.resolve(fail('EPERM', 'who asks?'));
    void asked.then((reply) => socket.end(told(reply)));
  });
}

const tooLong = fail('EINVAL', 'longer than any message');

function told(reply: Reply<ProgramReply>): Buffer {
  if (!reply.ok) return Buffer.from(`error ${errnoNumber[reply.errno]} ${reply.errno}\n`);
  const { words, text } = reply.value;
  if (!text) return Buffer.from(`ok ${words}\n`);
  return Buffer.concat([Buffer.from(`text ${text.length} ${words}\n`), text]);
}
