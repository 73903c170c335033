// Bugs of a lock manager, planted at its ports, and the checkers that are meant for each.
import { ok } from '@ssi/contracts';
import { bend, bendServed, type Plant } from './plants.ts';

interface LockPlant extends Plant {
  readonly checkers: readonly string[];
  /** Seen only where locks are under locks, or byte ranges are used. */
  readonly more?: true;
}

const doubled = ['linearizable'];

/** What a node tells the new master of each resource that it holds locks of. */
const rebuilding =
  (bent: (locks: readonly object[]) => object[]): NonNullable<Plant['ics']> =>
  (ics, service) =>
    service === 'dlm'
      ? bendServed(ics, 'dlm.rebuild', async (plain, q) => {
          const reply = (await plain(q)) as { ok: boolean; value?: { locks: object[][] } };
          const { value } = reply;
          return value ? ok({ ...value, locks: value.locks.map(bent) }) : reply;
        })
      : ics;

export const lockPlants: readonly LockPlant[] = [
  {
    name: 'a directory asks nobody which resources have a master',
    checkers: doubled,
    ics: (ics, service) =>
      service === 'dlm'
        ? bend(ics, 'dlm.census', async (plain) => {
            const reply = (await plain()) as { ok: boolean; value?: object };
            return reply.ok ? ok({ ...reply.value, masters: [], more: false }) : reply;
          })
        : ics,
  },
  {
    name: 'an unlock is acknowledged and not made',
    checkers: ['no lock leaked', 'calls end'],
    ics: (ics, service) => {
      let times = 0;
      return service === 'dlm'
        ? bendServed(ics, 'dlm.release', (plain, q) => (++times % 20 === 0 ? ok({}) : plain(q)))
        : ics;
    },
  },
  {
    name: 'a master grants twice in a while what is asked from another node',
    checkers: doubled,
    ics: (ics, service) => {
      let times = 0;
      return service === 'dlm'
        ? bendServed(ics, 'dlm.ask', async (plain, q) => {
            const reply = (await plain(q)) as { ok: boolean; value?: { state: string } };
            if (reply.value?.state !== 'queued' || ++times % 10 !== 0) return reply;
            const { mode } = q as { mode: string };
            const value = { state: 'granted', mode, valueSeq: 0, valueInvalid: true };
            return ok({ ...value, altMode: false, demoted: false });
          })
        : ics;
    },
  },
  {
    name: 'value blocks are lost between agent and master',
    checkers: doubled,
    ics: (ics, service) =>
      service === 'dlm'
        ? bendServed(ics, 'dlm.release', (plain, q) => plain({ ...q, value: undefined }))
        : ics,
  },
  {
    name: 'a mastership moves without the word of who holds locks',
    checkers: doubled,
    ics: (ics, service) =>
      service === 'dlm'
        ? bendServed(ics, 'dlm.yield', (plain, q) => plain({ ...q, users: [] }))
        : ics,
  },
  {
    name: 'a mastership moves with the value block of the move before',
    checkers: doubled,
    ics: (ics, service) => {
      const values = new Map<string, object>();
      return service === 'dlm'
        ? bendServed(ics, 'dlm.yield', (plain, q) => {
            const { key, moved } = q as { key: string; moved: { value?: Uint8Array } };
            const value = values.get(key) ?? moved.value;
            values.set(key, moved.value ?? new Uint8Array());
            return plain({ ...q, moved: { ...moved, value } });
          })
        : ics;
    },
  },
  {
    name: 'a new master is told of no lock that is held',
    checkers: doubled,
    ics: rebuilding(() => []),
  },
  {
    name: 'a new master is told of no byte range that is held',
    checkers: doubled,
    more: true,
    ics: rebuilding((locks) => locks.map((lock) => ({ ...lock, ranges: undefined }))),
  },
];
