// An actor host as a process of its own, for tests: node SSI_NODE of cluster SSI_CLUSTER.
import { connect } from '@ssi/client';
import { notes } from './notes-actor.ts';

const node = Number(process.env.SSI_NODE);
const ssi = await connect({ waitMs: 20_000 });
if (!ssi.ok) throw new Error(`${ssi.errno} ${ssi.detail}`);
const effects = { notes: { rang: () => {} } };
const host = await ssi.value.host({ node, actors: [notes], effects });
if (!host.ok) throw new Error(`${host.errno} ${host.detail}`);
