// ssi mq send, ssi mq recv: POSIX queues by name (/jobs) and System V queues by key. [mq_overview(7), msgop(2)]
import type { Ipc } from '@ssi/client';
import { ok, type Reply } from '@ssi/contracts';
import {
  countArgument,
  durationArgument,
  ipcKeyArgument,
  modeArgument,
  nodeArgument,
  sizeArgument,
} from '../arguments.ts';
import type { Define } from '../command-table.ts';
import { exitCode } from '../status.ts';
import { readInput, withIpc, writeOutput } from '../with-ipc.ts';

interface Options {
  readonly priority: number;
  readonly type?: number;
  readonly create?: boolean;
  readonly mode: number;
  readonly maxMessages?: number;
  readonly messageBytes?: number;
  readonly noWait?: boolean;
  readonly timeout?: number;
  readonly count?: number;
  readonly node?: number;
}

const isPosix = (name: string): boolean => name.startsWith('/');

async function sendTo(
  ipc: Ipc,
  name: string,
  text: Uint8Array,
  o: Options,
): Promise<Reply<unknown>> {
  const get = { create: o.create ?? false, mode: o.mode };
  const wait = o.timeout === undefined ? {} : { timeoutMs: o.timeout };
  const nowait = o.noWait ?? false;
  if (!isPosix(name)) {
    const id = await ipc.msgget(ipcKeyArgument(name), get);
    return id.ok ? ipc.msgsnd(id.value, o.type ?? 1, text, { nowait, ...wait }) : id;
  }
  const sizes = { maxMessages: o.maxMessages, messageBytes: o.messageBytes };
  const attributes = Object.fromEntries(Object.entries(sizes).filter(([, v]) => v !== undefined));
  const queue = await ipc.mqOpen(
    name,
    { write: true, nonblock: nowait },
    { ...get, ...attributes },
  );
  return queue.ok ? queue.value.send(text, o.priority, wait) : queue;
}

async function receiver(
  ipc: Ipc,
  name: string,
  o: Options,
): Promise<Reply<() => Promise<Reply<{ text: Uint8Array }>>>> {
  const get = { create: o.create ?? false, mode: o.mode };
  const wait = o.timeout === undefined ? {} : { timeoutMs: o.timeout };
  const nowait = o.noWait ?? false;
  if (!isPosix(name)) {
    const id = await ipc.msgget(ipcKeyArgument(name), get);
    return id.ok ? ok(() => ipc.msgrcv(id.value, 8_192, o.type ?? 0, { nowait, ...wait })) : id;
  }
  const queue = await ipc.mqOpen(name, { read: true, nonblock: nowait }, get);
  return queue.ok ? ok(() => queue.value.receive(wait)) : queue;
}

export const define: Define = (command, shell) => {
  const shared = (name: string, summary: string) =>
    command
      .command(name)
      .description(summary)
      .argument('<queue>', 'a POSIX queue like /jobs, or the key of a System V queue')
      .option('-c, --create', 'make it where there is none')
      .option('--mode <mode>', 'of a new one', modeArgument, 0o600)
      .option('--max-messages <n>', 'of a new POSIX queue', sizeArgument)
      .option('--message-bytes <n>', 'of a new POSIX queue', sizeArgument)
      .option('-n, --no-wait', 'EAGAIN or ENOMSG instead of waiting')
      .option(
        '-t, --timeout <time>',
        'ETIMEDOUT after waiting that long, like 5s',
        durationArgument,
      )
      .option(
        '--type <n>',
        'System V: its type; of what is received 0 any, -n the lowest up to n',
        Number,
      )
      .option('--node <num>', "the node that is asked; default: this one's", nodeArgument);
  // commander makes `--no-wait` a `wait` that is false.
  const optionsOf = (o: Options & { wait?: boolean }): Options => ({
    ...o,
    noWait: o.wait === false,
  });

  const send = shared('send', 'one message; without a text it is standard input');
  send
    .argument('[text]', 'the message')
    .option('-p, --priority <n>', 'POSIX: higher ones are received first', sizeArgument, 0)
    .addHelpText(
      'after',
      '\nExamples:\n  ssi mq send --create /jobs "first"\n  ssi mq send 4711 < message',
    )
    .action(
      shell.act((name: string, text: string | undefined, options: Options) =>
        withIpc(shell, send, options, async (ipc) => {
          const bytes = text === undefined ? await readInput(shell) : Buffer.from(text);
          const asked = sendTo(ipc, name, bytes, optionsOf(options));
          const reply = await shell.progress(`waiting for room in ${name}`, asked);
          return reply.ok ? exitCode.ok : shell.fail(send, name, reply);
        }),
      ),
    );

  const recv = shared('recv', 'one message, as it is, to standard output');
  recv
    .option('--count <n>', 'so many, each with a newline behind it', countArgument)
    .addHelpText(
      'after',
      '\nExamples:\n  ssi mq recv /jobs\n  ssi mq recv --count 10 --timeout 5s /jobs',
    )
    .action(
      shell.act((name: string, options: Options) =>
        withIpc(shell, recv, options, async (ipc) => {
          const next = await receiver(ipc, name, optionsOf(options));
          if (!next.ok) return shell.fail(recv, name, next);
          for (let n = 0; n < (options.count ?? 1); n++) {
            const reply = await shell.progress(`waiting for ${name}`, next.value());
            if (!reply.ok) return shell.fail(recv, name, reply);
            await writeOutput(shell, reply.value.text);
            if (options.count !== undefined || shell.io.stdout.isTTY) shell.out('\n');
          }
          return exitCode.ok;
        }),
      ),
    );
};
