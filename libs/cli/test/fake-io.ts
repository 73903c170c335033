// A terminal, signals and a cluster for tests of commands: what was written is text, signals are sent by
// the test, the cluster is whatever calls the test gives it.
import { PassThrough, Writable } from 'node:stream';
import type { Io } from '@ssi/cli';
import type { AttachEvent, Attachment, Ssi } from '@ssi/client';
import { ok, type Reply } from '@ssi/contracts';

class Sink extends Writable {
  text = '';
  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.text += chunk.toString();
    done();
  }
}

export interface FakeIo extends Io {
  readonly out: () => string;
  readonly err: () => string;
  readonly input: PassThrough;
  signal(name: NodeJS.Signals): void;
  /** Clusters asked for, in order. */
  readonly asked: (string | undefined)[];
  readonly closed: () => number;
}

export function fakeIo(
  calls: Partial<Ssi>,
  options: { env?: NodeJS.ProcessEnv; connect?: Reply<never> } = {},
): FakeIo {
  const stdout = new Sink();
  const stderr = new Sink();
  const stdin = new PassThrough();
  const handlers: { names: readonly string[]; fn: (name: NodeJS.Signals) => void }[] = [];
  const asked: (string | undefined)[] = [];
  let closed = 0;
  const ssi = {
    close: async () => {
      closed++;
    },
    ...calls,
  } as Ssi;
  return {
    stdin,
    stdout,
    stderr,
    input: stdin,
    env: options.env ?? {},
    cwd: '/work',
    asked,
    closed: () => closed,
    connect: async ({ cluster }) => {
      asked.push(cluster);
      return options.connect ?? ok(ssi);
    },
    onSignals: (names, fn) => {
      const handler = { names, fn };
      handlers.push(handler);
      return { stop: () => void handlers.splice(handlers.indexOf(handler), 1) };
    },
    onReaderGone: () => ({ stop: () => {} }),
    onResize: () => ({ stop: () => {} }),
    signal: (name) => {
      for (const h of [...handlers]) if (h.names.includes(name)) h.fn(name);
    },
    out: () => stdout.text,
    err: () => stderr.text,
  };
}

export interface FakeAttachment extends Attachment {
  readonly written: Buffer[];
  inputEnded: boolean;
  closed: boolean;
  push(event: AttachEvent): void;
}

/** Its events are what the test pushes; it ends after `exit` or `failed`, or when closed. */
export function fakeAttachment(): FakeAttachment {
  const queue: AttachEvent[] = [];
  let wake = (): void => {};
  const attachment: FakeAttachment = {
    written: [],
    inputEnded: false,
    closed: false,
    push: (event) => {
      queue.push(event);
      wake();
    },
    write: async (bytes) => {
      attachment.written.push(Buffer.from(bytes));
      return ok();
    },
    endInput: async () => {
      attachment.inputEnded = true;
      wake();
      return ok();
    },
    close: () => {
      attachment.closed = true;
      wake();
    },
    async *events() {
      for (;;) {
        const event = queue.shift();
        if (event) {
          yield event;
          if (event.type === 'exit' || event.type === 'failed') return;
        } else if (attachment.closed) return;
        else
          await new Promise<void>((done) => {
            wake = done;
          });
      }
    },
  };
  return attachment;
}
