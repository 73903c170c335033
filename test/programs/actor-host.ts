// An actor host as a process of its own, for tests: node SSI_NODE of the cluster on SSI_NATS.
import { createSsi, natsLink } from '@ssi/client';
import { notes } from './notes-actor.ts';

const { SSI_CLUSTER: cluster = '', SSI_NATS: nats = '', SSI_NODE } = process.env;
const node = Number(SSI_NODE);
const link = await natsLink({ cluster, nats, seeds: [node], uid: 0, waitMs: 20_000 });
if (!link.ok) throw new Error(`${link.errno} ${link.detail}`);
const effects = { notes: { rang: () => {} } };
const host = await createSsi(link.value).host({ node, actors: [notes], effects });
if (!host.ok) throw new Error(`${host.errno} ${host.detail}`);
