// Process entry: environment -> lock manager; SIGTERM -> stop.
import { enter, serviceEnvironment } from '@ssi/entry';
import { z } from 'zod';
import { fileSessionRecord } from './adapters/session-record.file.ts';
import { fileTokenRecord } from './adapters/token-record.file.ts';
import { moveLeadDefault } from './moving.ts';
import { createDlm, deadlockDefaultMs } from './service.ts';

const entry = await enter({
  name: 'dlm',
  environment: serviceEnvironment.extend({
    /** Where what outlives the service is kept: tmpfs, gone with the node's boot. */
    SSI_NODE_DIR: z.string().min(1),
    /** A folder of the node on its machine, for the socket of clients there. */
    SSI_STATE_DIR: z.string().optional(),
    /** Longest wait, ms, before it is looked for deadlocks over several resources; 0: never. [DEADLOCK_WAIT] */
    SSI_DEADLOCK_WAIT: z.coerce.number().int().min(0).max(3_600_000).default(deadlockDefaultMs),
    /** By so many operations on a resource a node must lead to become its master; 0: masterships stay. */
    SSI_LOCK_MOVE_LEAD: z.coerce.number().int().min(0).max(1_000_000).default(moveLeadDefault),
  }),
  localSocket: (env) => env.SSI_STATE_DIR && `${env.SSI_STATE_DIR}/dlm.sock`,
});
const { clock, log, tcp } = entry;
const { ics, setMap } = entry.endpoint;
const dlm = createDlm({
  ...{ ics, clock, log, tcp, setMap },
  tokens: fileTokenRecord(`${entry.env.SSI_NODE_DIR}/dlm`),
  sessions: fileSessionRecord(`${entry.env.SSI_NODE_DIR}/dlm/sessions`),
  servicePid: process.pid,
  deadlockMs: entry.env.SSI_DEADLOCK_WAIT,
  moveLead: entry.env.SSI_LOCK_MOVE_LEAD,
});
entry.stopWith(() => dlm.stop());
void dlm.outlived.then(() => entry.giveUp('the life of the node is over, and with it this one'));
await dlm.start();
entry.ready();
