// Looks at real servers from this process: connections by node:net and node:http, scripts as process groups of
// their own. [keepalived: check_tcp.c, check_http.c, check_misc.c]
import { type ChildProcess, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { type IncomingMessage, request as plainRequest } from 'node:http';
import { request as tlsRequest } from 'node:https';
import { connect } from 'node:net';
import type { Clock } from '@ssi/ports';
import type { Probe, ProbeResult, Prober } from '../ports.ts';

type Of<K extends Probe['kind']> = Extract<Probe, { kind: K }>;

const textMax = 64 * 1_024;
const bodyMax = 64 * 2 ** 20;
/** From SIGTERM to SIGKILL. [check_misc.c] */
const graceMs = 2_000;

export const hostProber = (clock: Clock): Prober => ({
  probe(what, signal) {
    if (signal.aborted) return Promise.resolve(failed('ended'));
    if (what.kind === 'tcp') return connects(what, signal);
    return what.kind === 'http' ? gets(what, signal) : runs(what, signal, clock);
  },
});

const failed = (reason: string): ProbeResult => ({ ok: false, reason });

const codeOf = (error: Error): string => (error as NodeJS.ErrnoException).code ?? error.message;

function connects(
  { address, port, timeoutMs }: Of<'tcp'>,
  signal: AbortSignal,
): Promise<ProbeResult> {
  return new Promise((done) => {
    const socket = connect({ host: address, port, timeout: timeoutMs, signal });
    const end = (result: ProbeResult): void => {
      socket.destroy();
      done(result);
    };
    socket.once('connect', () => end({ ok: true, kind: 'tcp' }));
    socket.once('timeout', () => end(failed('connection timed out')));
    socket.on('error', (error) => end(failed(codeOf(error))));
  });
}

function gets(q: Of<'http'>, signal: AbortSignal): Promise<ProbeResult> {
  return new Promise((done) => {
    const options = {
      ...{
        host: q.address,
        port: q.port,
        path: q.path,
        agent: false,
        timeout: q.timeoutMs,
        signal,
      },
      headers: { host: q.host, 'user-agent': 'KeepAliveClient', connection: 'close' },
    };
    const asked = q.tls
      ? tlsRequest({
          ...{ ...options, rejectUnauthorized: false },
          ...{ servername: q.sni ? (q.host.split(':')[0] ?? '') : '' },
        })
      : plainRequest(options);
    const end = (result: ProbeResult): void => {
      asked.destroy();
      done(result);
    };
    asked.once('timeout', () => end(failed('no answer in time')));
    asked.on('error', (error) => end(failed(codeOf(error))));
    asked.once('response', (answer) => readBody(answer, end));
    asked.end();
  });
}

function readBody(answer: IncomingMessage, end: (result: ProbeResult) => void): void {
  const hash = createHash('md5');
  const first: Buffer[] = [];
  let [kept, length] = [0, 0];
  answer.on('data', (piece: Buffer) => {
    length += piece.length;
    if (length > bodyMax) return end(failed(`more than ${bodyMax / 2 ** 20} MiB`));
    hash.update(piece);
    if (kept < textMax) first.push(piece.subarray(0, textMax - kept));
    kept += piece.length;
  });
  answer.on('error', (error) => end(failed(codeOf(error))));
  answer.on('end', () => {
    const text = Buffer.concat(first).toString('latin1');
    end({ ok: true, kind: 'http', status: answer.statusCode ?? 0, md5: hash.digest('hex'), text });
  });
}

/** Its process group; gone already is as well. */
function kill({ pid }: ChildProcess, signal: NodeJS.Signals): void {
  try {
    if (pid !== undefined) process.kill(-pid, signal);
  } catch {}
}

function runs(q: Of<'script'>, signal: AbortSignal, clock: Clock): Promise<ProbeResult> {
  return new Promise((done) => {
    const [path = '', ...args] = q.argv;
    const child = spawn(path, args, { detached: true, stdio: 'ignore' });
    let late = false;
    let timer = clock.after(q.timeoutMs, () => {
      late = true;
      kill(child, 'SIGTERM');
      timer = clock.after(graceMs, () => kill(child, 'SIGKILL'));
    });
    const abort = (): void => kill(child, 'SIGKILL');
    const end = (result: ProbeResult): void => {
      timer.cancel();
      signal.removeEventListener('abort', abort);
      // What it left behind when it was told to end, or ended by itself.
      kill(child, 'SIGKILL');
      done(result);
    };
    signal.addEventListener('abort', abort, { once: true });
    child.once('error', (error) => end(failed(codeOf(error))));
    child.once('exit', (code, by) => {
      if (late) end(failed(`timed out after ${q.timeoutMs} ms`));
      else if (code === null) end(failed(`ended by ${by}`));
      else end({ ok: true, kind: 'script', exitCode: code });
    });
  });
}
