// The health check of a container of a node: what it is for answers, asked the way the cluster asks it.
import { connect as connectSocket } from 'node:net';
import { findCluster, natsLink } from '@ssi/client';
import {
  clms,
  dlm,
  type Errno,
  fail,
  findMember,
  ics,
  ipc,
  ok,
  type Reply,
  vproc,
} from '@ssi/contracts';
import { nodeDir } from './node.ts';

const answerMs = 2_000;

/** `what`: otlp (the receiver), node (its guard), membership (this node is UP), ics-router, dlm, ipc-nameserver, vproc. */
export async function healthOf(name: string, num: number, what: string): Promise<Reply<string>> {
  if (what === 'otlp') return otlpStatus();
  if (what === 'node') return guardStatus(`${nodeDir(name)}/guard.sock`);
  const found = findCluster({ cluster: name });
  if (!found.ok) return found;
  const { nats, credential } = found.value;
  const opened = await natsLink({
    ...{ cluster: name, nats, credential, seeds: [num], uid: 0, waitMs: answerMs },
  });
  if (!opened.ok) return opened;
  const link = opened.value;
  try {
    if (what === 'membership') {
      const told = await link.ics.call(clms, 'members', num, {}, { timeoutMs: answerMs });
      if (!told.ok) return told;
      const state = findMember(told.value.view, num)?.state ?? 'NEVERUP';
      return state === 'UP' ? ok('UP') : fail('EAGAIN', `node ${num} is ${state}`);
    }
    const contracts = new Map<string, typeof vproc | typeof dlm | typeof ics | typeof ipc>([
      ...([
        ['vproc', vproc],
        ['dlm', dlm],
        ['ics-router', ics],
        ['ipc-nameserver', ipc],
      ] as const),
    ]);
    const contract = contracts.get(what);
    if (!contract) return fail('EINVAL', `no such part of a node: ${what}`);
    const told = await link.ics.call(contract, 'status', num, {}, { timeoutMs: answerMs });
    return told.ok ? ok(told.value.state) : told;
  } finally {
    await link.close();
  }
}

/** An empty request is a request: it is taken, and stores nothing. */
async function otlpStatus(): Promise<Reply<string>> {
  try {
    const headers = { 'content-type': 'application/json' };
    const signal = AbortSignal.timeout(answerMs);
    const url = 'http://127.0.0.1:4318/v1/traces';
    const response = await fetch(url, { method: 'POST', headers, body: '{}', signal });
    return response.ok ? ok('takes spans') : fail('EIO', `HTTP ${response.status}`);
  } catch (error) {
    return fail('ECONNREFUSED', String(error));
  }
}

function guardStatus(path: string): Promise<Reply<string, Errno>> {
  return new Promise((done) => {
    const socket = connectSocket(path, () => socket.write('status\n'));
    const end = (reply: Reply<string, Errno>): void => {
      socket.destroy();
      done(reply);
    };
    socket.setTimeout(answerMs, () => end(fail('ETIMEDOUT', `the guard at ${path} is silent`)));
    socket.once('error', (e) => end(fail('ECONNREFUSED', `${path}: ${e.message}`)));
    socket.once('data', (bytes) => end(ok(bytes.toString().trim())));
  });
}
