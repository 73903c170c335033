// A world of servers and scripts in memory, on a clock: the twin of prober.host.ts for tests and simulation.
import { createHash } from 'node:crypto';
import type { Clock } from '@ssi/ports';
import type { Probe, ProbeResult, Prober } from '../ports.ts';

/** What is there at ADDRESS:PORT; 'silent': connects to nothing that answers. Absent: refused. */
export type FakeServer = 'silent' | 'listens' | { readonly status: number; readonly body: string };
/** What a program does; a number: its exit status; 'hangs': until it is killed. */
export type FakeScript = number | 'hangs';

export class FakeProber implements Prober {
  readonly servers = new Map<string, FakeServer>();
  /** By its first word. */
  readonly scripts = new Map<string, FakeScript>();
  /** What was asked for, in its order. */
  readonly asked: Probe[] = [];
  readonly #clock: Clock;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  probe(what: Probe, signal: AbortSignal): Promise<ProbeResult> {
    this.asked.push(what);
    const now = signal.aborted ? failed('ended') : this.#answer(what);
    if (now) return Promise.resolve(now);
    return new Promise((done) => {
      const reason =
        what.kind === 'script'
          ? `timed out after ${what.timeoutMs} ms`
          : what.kind === 'tcp'
            ? 'connection timed out'
            : 'no answer in time';
      const timer = this.#clock.after(what.timeoutMs, () => done(failed(reason)));
      signal.addEventListener('abort', () => {
        timer.cancel();
        done(failed('ended'));
      });
    });
  }

  /** undefined: none in time. */
  #answer(what: Probe): ProbeResult | undefined {
    if (what.kind === 'script') {
      const does = this.scripts.get(what.argv[0] ?? '');
      if (does === undefined) return failed('ENOENT');
      return does === 'hangs' ? undefined : { ok: true, kind: 'script', exitCode: does };
    }
    const server = this.servers.get(`${what.address}:${what.port}`);
    if (server === undefined) return failed('ECONNREFUSED');
    if (server === 'silent') return undefined;
    if (what.kind === 'tcp') return { ok: true, kind: 'tcp' };
    if (server === 'listens') return undefined;
    const md5 = createHash('md5').update(server.body).digest('hex');
    return { ok: true, kind: 'http', status: server.status, md5, text: server.body };
  }
}

const failed = (reason: string): ProbeResult => ({ ok: false, reason });
