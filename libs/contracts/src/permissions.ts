// What each credential may publish and subscribe on the bus, made from the contracts: its own source and
// its own destination, and of operations those whose `callers` name it. [NATS: subject permissions]
import type { Contract } from './contract.ts';
import { mayCall, type Principal, principalName } from './roles.ts';
import { type Endpoint, endpointToken, libraryInbox, serverSubject } from './subjects.ts';

export interface BusPermissions {
  readonly publish: readonly string[];
  readonly subscribe: readonly string[];
}

/** A node that is nobody's: what is allowed towards it is allowed towards any. */
const elsewhere = 0;

/** Requests of `from` (its token in subjects: `source`) that the contracts let it make. */
function requests(
  cluster: string,
  contracts: readonly Contract[],
  from: Endpoint,
  source: string,
): string[] {
  const subjects: string[] = [];
  for (const { name, ops } of contracts) {
    const targets = new Set<string>();
    for (const [op, { callers }] of Object.entries(ops)) {
      const anywhere = mayCall(callers, from, from.node === 0 ? 1 : elsewhere);
      if (!anywhere && !mayCall(callers, from, from.node)) continue;
      const to = anywhere ? '*' : String(from.node);
      targets.add(to);
      subjects.push(`ssi.${cluster}.${name}.*.${to}.${op}.${source}`);
    }
    // Who may ask for anything there may ask who serves, and say what it is done with.
    const to = targets.has('*') ? '*' : [...targets][0];
    if (to !== undefined)
      for (const op of ['hello', 'ack'])
        subjects.push(`ssi.${cluster}.${name}.*.${to}.${op}.${source}`);
  }
  return subjects;
}

/** Adding spans; the stream is made by membership. */
const spanWriting = (cluster: string): string[] => [
  '$JS.API.INFO',
  `$JS.API.STREAM.INFO.ssi_${cluster}_spans`,
  `ssi.${cluster}.spans.*`,
];

const spanReading = (cluster: string): string[] =>
  ['CREATE', 'INFO', 'DELETE', 'MSG.NEXT'].map(
    (verb) => `$JS.API.CONSUMER.${verb}.ssi_${cluster}_spans.>`,
  );

/** Membership's own: the view's bucket, the streams, heartbeats, events. */
const membershipOwn = (cluster: string, self: Endpoint): string[] => {
  const bucket = `ssi_${cluster}`;
  return [
    ...['CREATE', 'INFO', 'MSG.GET'].map((verb) => `$JS.API.STREAM.${verb}.KV_${bucket}`),
    `$JS.API.STREAM.CREATE.${bucket}_spans`,
    ...['CREATE', 'INFO', 'DELETE'].map((verb) => `$JS.API.CONSUMER.${verb}.KV_${bucket}.>`),
    '$JS.FC.>',
    `$KV.${bucket}.>`,
    `ssi.${cluster}.hb.*.*.beat.${endpointToken(self)}`,
    `ssi.${cluster}.event.*`,
  ];
};

/** A service of a node. */
export function servicePermissions(
  cluster: string,
  contracts: readonly Contract[],
  self: { readonly node: number; readonly service: string },
): BusPermissions {
  const token = endpointToken(self);
  const isMembership = self.service === 'clms';
  return {
    publish: [
      ...requests(cluster, contracts, self, token),
      // To services, and to clients, which have one token more.
      `ssi.${cluster}.reply.*.${token}`,
      `ssi.${cluster}.reply.*.*.${token}`,
      ...spanWriting(cluster),
      ...(isMembership ? membershipOwn(cluster, self) : []),
    ],
    subscribe: [
      serverSubject({ cluster, contract: self.service, to: self.node }),
      `ssi.${cluster}.reply.${token}.>`,
      `${libraryInbox(cluster, self)}.>`,
      ...(isMembership ? [serverSubject({ cluster, contract: 'hb', to: self.node })] : []),
    ],
  };
}

/** A person: asks, listens to events, reads and adds spans; serves nothing. */
export function userPermissions(
  cluster: string,
  contracts: readonly Contract[],
  principal: Principal,
): BusPermissions {
  const self: Endpoint = { node: 0, service: principalName(principal) };
  const token = endpointToken(self);
  return {
    publish: [
      ...requests(cluster, contracts, self, `${token}.*`),
      ...spanWriting(cluster),
      ...spanReading(cluster),
    ],
    subscribe: [
      `ssi.${cluster}.reply.${token}.>`,
      `${libraryInbox(cluster, self)}.>`,
      `ssi.${cluster}.event.>`,
    ],
  };
}
