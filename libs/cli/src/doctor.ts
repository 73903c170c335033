// What `ssi doctor` looks at: the machine first, then the cluster if there is one.
import { connect as connectTcp } from 'node:net';
import { findCluster, probeBus, type Ssi } from '@ssi/client';
import type { Reply } from '@ssi/contracts';
import { atLeast, bad, type Check, good, type Look } from './finding.ts';
import { localClock, machineChecks } from './machine-checks.ts';

/** A bus and the machines whose clocks it compares; membership needs no agreement, traces do. */
const skewMaxMs = 100;

function busChecks(env: NodeJS.ProcessEnv, cluster: string | undefined): Check[] {
  const found = findCluster({ env, cluster });
  if (!found.ok)
    return [
      {
        name: 'cluster',
        optional: true,
        look: () => bad(found.detail, found.errno === 'ENOENT' ? 'ssi up --nodes 3' : found.detail),
      },
      { name: 'clocks', look: localClock },
    ];
  const { nats, file, credential } = found.value;
  // An embedded cluster has no bus, and one clock.
  if (file?.mode === 'embedded') return [{ name: 'clocks', look: localClock }];
  const probe = probeBus(nats.split(',')[0] ?? nats, 3_000, credential);
  const checks: Check[] = [
    {
      name: 'NATS',
      look: async () => {
        const reply = await probe;
        if (!reply.ok)
          return bad(
            reply.detail,
            'look at nats.log in the folder of the cluster; ssi down, then ssi up',
          );
        const { version, rttMs, jetstream } = reply.value;
        if (!jetstream) return bad(`${version} without JetStream`, 'start nats-server with -js');
        return atLeast(version, '2.10.0')
          ? good(`${version}, round trip ${rttMs.toFixed(1)} ms`)
          : bad(`${version}: acknowledges before it is on disk`, 'use 2.10 or later');
      },
    },
    {
      name: 'clocks',
      look: async () => {
        const local = localClock();
        const reply = await probe;
        if (!local.ok || !reply.ok || reply.value.skewMs === undefined) return local;
        const skew = reply.value.skewMs;
        const detail = `${local.detail}; the bus's wall clock differs by ${Math.abs(skew).toFixed(0)} ms`;
        return Math.abs(skew) <= skewMaxMs + reply.value.rttMs
          ? good(detail)
          : bad(detail, 'run an NTP daemon on every machine: traces and logs will not line up');
      },
    },
  ];
  if (file?.redis) {
    const url = file.redis;
    checks.push({ name: 'Redis', optional: true, look: () => redisAnswers(url) });
  }
  return checks;
}

const redisAnswers = (url: string): Promise<Look> =>
  new Promise((done) => {
    const { hostname, port, password } = new URL(url);
    const socket = connectTcp({ host: hostname, port: Number(port), timeout: 3_000 });
    const failed = (text: string): void => {
      socket.destroy();
      done(
        bad(text, 'look at redis.log in the folder of the cluster; it is a cache, nothing is lost'),
      );
    };
    socket.once('error', (error) => failed(error.message));
    socket.once('timeout', () => failed('no answer in 3 s'));
    socket.once('connect', () => socket.write(`AUTH ${decodeURIComponent(password)}\r\nPING\r\n`));
    let text = '';
    socket.on('data', (chunk) => {
      text += chunk;
      if (text.includes('+PONG')) {
        socket.destroy();
        done(good(`answers at ${hostname}:${port}`));
      } else if (text.startsWith('-')) failed(text.trim());
    });
  });

function nodeChecks(connect: () => Promise<Reply<Ssi>>): Check[] {
  return [
    {
      name: 'refused',
      optional: true,
      look: async () => {
        const connected = await connect();
        if (!connected.ok) return bad(`${connected.errno} ${connected.detail}`, 'ssi up');
        const counted = await connected.value.refusals();
        await connected.value.close();
        if (!counted.ok) return bad(`${counted.errno} ${counted.detail}`, 'ssi nodes');
        const some = Object.entries(counted.value).filter(([, n]) => n > 0);
        const text = some.map(([why, n]) => `${n} ${why}`).join(', ');
        return text === ''
          ? good('nobody sent what it may not')
          : bad(text, 'somebody sends what it may not: look who holds credentials, ssi user list');
      },
    },
    {
      name: 'nodes',
      look: async () => {
        const connected = await connect();
        if (!connected.ok) return bad(`${connected.errno} ${connected.detail}`, 'ssi up');
        try {
          const nodes = await connected.value.nodes();
          if (!nodes.ok)
            return bad(
              `${nodes.errno} ${nodes.detail}`,
              'look at the logs in the folder of the cluster',
            );
          const silent = nodes.value.filter((n) => n.state === 'UP' && !n.answers);
          const up = nodes.value.filter((n) => n.state === 'UP');
          const missing = up.flatMap((n) =>
            n.services
              .filter((s) => s.state === 'missing')
              .map((s) => `${s.name} of node ${n.num}`),
          );
          if (silent.length > 0)
            return bad(
              `do not answer: ${silent.map((n) => n.num).join(' ')}`,
              'look at membership.log of those nodes',
            );
          return missing.length === 0
            ? good(`UP: ${up.map((n) => n.num).join(' ') || 'none'}`)
            : bad(`not there: ${missing.join(', ')}`, 'look at its log in the folder of that node');
        } finally {
          await connected.value.close();
        }
      },
    },
  ];
}

export function checksFor(
  env: NodeJS.ProcessEnv,
  cluster: string | undefined,
  connect: () => Promise<Reply<Ssi>>,
): Check[] {
  return [
    ...machineChecks,
    ...busChecks(env, cluster),
    ...(findCluster({ env, cluster }).ok ? nodeChecks(connect) : []),
  ];
}
