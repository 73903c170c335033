// What may be done to the virtual server table, and what is refused with which words.
import type { RealServer, ServiceId } from '@ssi/contracts';
import { describe, expect, test } from 'vitest';
import {
  addServer,
  addService,
  deleteServer,
  deleteService,
  editServer,
  editService,
  type ServiceOptions,
  type Table,
  type TableReply,
  tableOf,
} from '../src/index.ts';

const id: ServiceId = { protocol: 'tcp', address: '10.9.0.1', port: 80 };
const service: ServiceOptions = { id, scheduler: 'wlc', flags: [] };
const server: RealServer = {
  ...{ address: '10.1.0.1', port: 8080, forward: 'masq', weight: 1, upper: 0, lower: 0 },
};
const persistence = { timeoutS: 300, netmask: '255.255.255.255' };

function sure(reply: TableReply): Table {
  if (!reply.ok) throw new Error(reply.detail);
  return reply.value;
}
const one = sure(addServer(sure(addService([], service)), id, server));

describe('LVS: table', () => {
  test('a service is edited with its servers kept; a server is edited in its place', () => {
    const edited = sure(editService(one, { ...service, scheduler: 'mh', flags: ['mh-port'] }));
    expect(edited).toEqual([
      { ...service, scheduler: 'mh', flags: ['mh-port'], servers: [server] },
    ]);
    const two = sure(addServer(one, id, { ...server, port: 81 }));
    const quiesced = sure(editServer(two, id, { ...server, weight: 0 }));
    expect(quiesced[0]?.servers.map((s) => [s.port, s.weight])).toEqual([
      [8080, 0],
      [81, 1],
    ]);
    expect(one[0]?.servers).toEqual([server]);
  });

  test('deleted: a server from its service, a service with its servers', () => {
    expect(sure(deleteServer(one, id, server))[0]?.servers).toEqual([]);
    expect(sure(deleteService(one, id))).toEqual([]);
  });

  test('TCP and UDP of one port, and marks, are services beside each other', () => {
    const ids: ServiceId[] = [
      { protocol: 'udp', address: '10.9.0.1', port: 80 },
      { protocol: 'fwmark', mark: 1 },
    ];
    const table = ids.reduce<Table>(
      (t, next) => sure(addService(t, { ...service, id: next })),
      one,
    );
    expect(sure(tableOf(table))).toEqual(table);
  });

  const other: ServiceId = { ...id, port: 81 };
  const refused: [string, TableReply, string, string][] = [
    [
      'a service twice',
      addService(one, service),
      'EEXIST',
      '-t 10.9.0.1:80: there is this service',
    ],
    [
      'all ports beside one of them',
      addService(one, { ...service, id: { ...id, port: 0 }, persistence }),
      ...(['EBUSY', '-t 10.9.0.1:0: overlaps -t 10.9.0.1:80'] as const),
    ],
    [
      'all ports without persistence',
      addService([], { ...service, id: { ...id, port: 0 } }),
      ...(['EINVAL', '-t 10.9.0.1:0: port 0 (all ports) goes with -p only'] as const),
    ],
    [
      'no address',
      addService([], { ...service, id: { ...id, address: '0.0.0.0' } }),
      ...(['EINVAL', '-t 0.0.0.0:80: not an address that clients could ask for'] as const),
    ],
    [
      "another scheduler's flag",
      addService([], { ...service, flags: ['sh-port'] }),
      ...(['EINVAL', '-t 10.9.0.1:80: flag sh-port is not one of scheduler wlc'] as const),
    ],
    [
      'a netmask with a hole',
      addService([], { ...service, persistence: { ...persistence, netmask: '255.0.255.0' } }),
      ...(['EINVAL', '-t 10.9.0.1:80: 255.0.255.0 is not a netmask'] as const),
    ],
    ['edit of none', editService([], service), 'ENOENT', '-t 10.9.0.1:80: no such service'],
    ['delete of none', deleteService(one, other), 'ENOENT', '-t 10.9.0.1:81: no such service'],
    [
      'a server of none',
      addServer(one, { protocol: 'fwmark', mark: 7 }, server),
      ...(['ENOENT', '-f 7: no such service'] as const),
    ],
    [
      'a server twice',
      addServer(one, id, server),
      ...(['EEXIST', '-t 10.9.0.1:80 -r 10.1.0.1:8080: it is there'] as const),
    ],
    [
      'a server that is not there',
      deleteServer(one, id, { address: '10.1.0.1', port: 1 }),
      ...(['ENOENT', '-t 10.9.0.1:80 -r 10.1.0.1:1: no such server'] as const),
    ],
    [
      'edit of one that is not there',
      editServer(one, id, { ...server, port: 1 }),
      ...(['ENOENT', '-t 10.9.0.1:80 -r 10.1.0.1:1: no such server'] as const),
    ],
    [
      'itself as its server',
      addServer(one, id, { ...server, address: '10.9.0.1', port: 80 }),
      ...(['EINVAL', '-t 10.9.0.1:80 -r 10.9.0.1:80: a service cannot be its own server'] as const),
    ],
    [
      'a port that direct routing cannot change',
      addServer(one, id, { ...server, forward: 'route' }),
      ...(['EINVAL', '-t 10.9.0.1:80 -r 10.1.0.1:8080: with route the port stays 80'] as const),
    ],
    [
      'thresholds the wrong way round',
      addServer(one, id, { ...server, port: 1, upper: 2, lower: 3 }),
      'EINVAL',
      '-t 10.9.0.1:80 -r 10.1.0.1:1: lower threshold 3 is above upper 2',
    ],
    [
      'a server without port',
      addServer(one, id, { ...server, port: 0 }),
      ...(['EINVAL', '-t 10.9.0.1:80 -r 10.1.0.1:0: without a port'] as const),
    ],
  ];
  test.each(refused)('refused: %s', (_, reply, errno, detail) => {
    expect(reply).toEqual({ ok: false, errno, detail });
  });
});
