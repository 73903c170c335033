// Entry of the membership process: environment -> adapters -> service. SIGTERM ends this process (and
// the one that waits to take over), not the node's membership: leaving is `clms.shutdown`.
import { flushCompileCache } from 'node:module';
import { eventSubject } from '@ssi/contracts';
import { createEndpoint, credentialOf, linkRouter } from '@ssi/ics';
import { goFirst, jsonLog, keepHealthFile, systemClock, systemRandom } from '@ssi/linux';
import { openJetStreamKv } from '@ssi/stores';
import { natsSpanStore, startTelemetry } from '@ssi/telemetry';
import { openDisk } from './adapters/disk.file.ts';
import { commandFence, commandScript } from './adapters/fence.command.ts';
import { noGuard, openGuardSocket } from './adapters/guard.socket.ts';
import { openHeartbeats } from './adapters/heartbeats.net.ts';
import { readConfig } from './config.ts';
import { machineFacts } from './facts.ts';
import { createMembership } from './service.ts';
import { takeTurn } from './standby.ts';
import { timing } from './timing.ts';

/** The caretaker may just be starting; an engine kills a container 10 s after it told it to stop. */
const heirWaitMs = 4_000;

const env = readConfig(process.env);
const clock = systemClock();
const random = systemRandom();
const log = jsonLog({ level: env.logLevel }).with({ service: 'clms', node: env.num });

// Starved heartbeats look like a dead node: ahead of everything but the guard.
const raised = goFirst();
if (!raised.ok) log.warn('priority not raised', { detail: raised.detail });

const end = (status: number): void => {
  // Lines on their way out first.
  setImmediate(() => process.exit(status));
};

const credential = credentialOf(process.env, 'clms');
if (!credential.ok) {
  log.error('no credential', { errno: credential.errno, detail: credential.detail });
  process.exit(1);
}
const endpoint = await createEndpoint({
  cluster: env.cluster,
  node: env.num,
  service: 'clms',
  clock,
  random,
  log,
  nats: env.nats,
  credential: credential.value,
  tcp: {},
});
if (!endpoint.ok) {
  log.error('no bus', { errno: endpoint.errno, detail: endpoint.detail });
  process.exit(1);
}
const { ics, nats, tcpPort, setMap } = endpoint.value;
if (!nats) throw new Error('membership needs a bus');
const telemetry = await startTelemetry({
  service: 'clms',
  node: env.num,
  cluster: env.cluster,
  bootId: ics.self.bootId,
  clock,
  otlpEndpoint: process.env.OTEL_EXPORTER_OTLP_ENDPOINT,
  sample: env.sample,
  store: natsSpanStore(nats, env.cluster),
});

// All that takes long is done here: afterwards a node's lease runs while it waits for this process.
flushCompileCache();
const turn = await takeTurn({
  name: `ssi-membership-${env.cluster}-${env.num}`,
  clock,
  onEnd: () => process.exit(0),
});

// Known to the router, this service is reached directly too: with the broker away everything local goes on.
let revoked: readonly string[] = [];
const router = linkRouter({
  ics,
  clock,
  tcp: env.addresses.map((host) => ({ host, port: tcpPort })),
  setMap: (map, gone = []) => {
    revoked = gone;
    setMap(map, gone);
  },
});
const heartbeats = await openHeartbeats({
  cluster: env.cluster,
  num: env.num,
  nats,
  clock,
  random,
  log,
  portsFile: `${env.nodeDir}/heartbeat-ports.json`,
  key: credential.value?.heartbeatKey,
  isRevoked: (bootId) => revoked.includes(bootId),
});
const membership = await createMembership({
  config: {
    cluster: env.cluster,
    num: env.num,
    name: env.name,
    facts: machineFacts(env),
    pidBits: env.pidBits,
    services: env.services,
    quorum: env.quorum,
    timing,
  },
  clock,
  random,
  log,
  kv: openJetStreamKv({
    connection: nats,
    bucket: `ssi_${env.cluster}`,
    replicas: env.replicas,
    timeoutMs: 1_000,
  }),
  ics,
  heartbeats,
  guard: env.native ? openGuardSocket({ path: `${env.nodeDir}/guard.sock`, clock, log }) : noGuard,
  disk: openDisk({ stateDir: env.stateDir, lifeDir: env.nodeDir }),
  ...(env.fence ? { fence: commandFence({ command: env.fence, clock }) } : {}),
  ...(env.script ? { script: commandScript({ command: env.script, clock }) } : {}),
  publishEvent: (event, body) =>
    nats.publish(eventSubject(env.cluster, event), JSON.stringify(body)),
  onMember: router.self,
});
log.info('membership runs', { tcpPort, heartbeats: heartbeats.ports });
keepHealthFile(env.healthFile, () => membership.lifeState() === 'UP');

/** Whoever goes on finds the ports free, and need not wait for the end of this process, which takes long. */
const leave = async (): Promise<void> => {
  membership.stop();
  router.stop();
  await heartbeats.close();
  if (env.standby !== 'ends') turn.pass();
  await telemetry.stop();
  end(0);
};
if (env.standby === 'caretaker') void turn.heir().then(leave);
for (const signal of ['SIGTERM', 'SIGINT'] as const)
  process.once(signal, async () => {
    // Replaced, container and all: whoever goes on must be there.
    if (env.standby === 'elsewhere') await turn.heir(heirWaitMs);
    if (env.standby === 'ends') turn.end();
    await leave();
  });
const reason = await membership.ended;
if (reason !== undefined) {
  log.error('this node can not be a member', { reason });
  turn.end();
  membership.stop();
  end(1);
}
