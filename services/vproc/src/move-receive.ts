// Target: takes what the source sends on the out-of-line stream: makes the standard streams, fills their
// logs, writes the images. The tree itself is not touched here.
import { fail, ok, type Reply } from '@ssi/contracts';
import type { BareConnection, Clock, Stream } from '@ssi/ports';
import { decodeMove, type MoveMessage, moveKind, type StreamsOffer } from './move-link.ts';
import type { VprocPorts } from './ports.ts';

type Received = Reply<{ bytes: number }, 'ECANCELED' | 'ENOSPC'>;

/** A stream on which nothing has come for so long, while something must, is broken: half open, for one. */
export const stalledMs = 5_000;

const received = ({ errno, detail }: { errno: string; detail: string }): Received =>
  errno === 'ENOSPC' ? fail(errno, detail) : fail('ECANCELED', `${errno} ${detail}`);

export class Receiver {
  /** All is here and written, or why not. */
  readonly done: Promise<Received>;
  offer: StreamsOffer | undefined;
  /** The source's stream is here. */
  connected = false;
  private readonly ports: VprocPorts;
  private readonly clock: Clock;
  private readonly moveId: string;
  private heardMs = 0;
  private finish: (result: Received) => void = () => {};
  private stream: Stream | undefined;
  /** Memory that is sent ahead, on a connection of its own. */
  private ahead: Promise<Reply<undefined, 'EIO'>> | undefined;

  constructor(deps: { readonly ports: VprocPorts; readonly clock: Clock }, moveId: string) {
    this.ports = deps.ports;
    this.clock = deps.clock;
    this.moveId = moveId;
    this.done = new Promise((done) => {
      this.finish = done;
    });
  }

  takeAhead(connection: BareConnection): void {
    this.ahead = this.ports.ahead?.receive(this.moveId, connection);
  }

  async take(stream: Stream): Promise<void> {
    this.stream = stream;
    this.connected = true;
    try {
      for (let data = await stream.read(); data; data = await stream.read()) {
        this.heardMs = this.clock.nowMs();
        const message = decodeMove(data);
        if (!message) return this.end(fail('ECANCELED', 'the source spoke another protocol'));
        const result = await this.apply(message);
        if (!result.ok) return this.end(received(result));
        if (message[0] === moveKind.end) return this.end(ok({ bytes: message[1] }));
      }
      this.end(fail('ECANCELED', 'the source ended the stream early'));
    } catch (error) {
      this.end(fail('ECANCELED', `the stream from the source broke: ${String(error)}`));
    }
  }

  /** The source has sent all: what is still on its way must keep coming. */
  rest(): Promise<Received> {
    this.heardMs = this.clock.nowMs();
    const watch = (): void => {
      const timer = this.clock.after(stalledMs / 10, () => {
        const silentMs = this.clock.nowMs() - this.heardMs;
        if (silentMs < stalledMs) return watch();
        this.end(fail('ECANCELED', `no more of the images came for ${silentMs} ms`));
      });
      void this.done.then(() => timer.cancel());
    };
    watch();
    return this.done;
  }

  /** Ends it from this side too. */
  close(): void {
    this.end(fail('ECANCELED', 'closed'));
    this.stream?.destroy();
  }

  private end(result: Received): void {
    this.finish(result);
    // A source that still sends learns it by its stream; one that is done waits for nothing.
    if (!result.ok) this.stream?.destroy();
  }

  private apply(message: MoveMessage): Promise<Reply<unknown>> | Reply<unknown> {
    const { streams, images } = this.ports;
    switch (message[0]) {
      case moveKind.streams: {
        this.offer = message[1];
        const { tty, ...rest } = message[1];
        return streams.install({ ...rest, ...(tty ? { tty } : {}) });
      }
      case moveKind.log:
        return streams.fill(message[1], message[2], message[3], message[4]);
      case moveKind.image: {
        const [, name, offset, last, data] = message;
        return images.write(this.moveId, { name, offset, data, last });
      }
      case moveKind.ahead:
        return this.ahead ?? fail('ECANCELED', 'no memory was sent ahead');
      default:
        return ok();
    }
  }
}
