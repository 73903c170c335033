// Who may say what on the bus: for every operation of every contract, and every kind of party, the
// subjects it may publish are exactly those the contract's `callers` mean, and it hears only its own.
import { describe, expect, test } from 'vitest';
import * as all from '../src/index.ts';
import {
  type BusPermissions,
  type Contract,
  inboxSubject,
  mayActFor,
  mayCall,
  parsePrincipal,
  principalName,
  replySubject,
  requestSubject,
  roles,
  serverSubject,
  servicePermissions,
  userPermissions,
} from '../src/index.ts';

const isContract = (v: unknown): v is Contract =>
  typeof v === 'object' && v !== null && 'ops' in v && 'version' in v;
const contracts = Object.values<unknown>(all).filter(isContract);
const cluster = 'c';

/** As nats-server matches. [NATS: subject-based messaging] */
function matches(pattern: string, subject: string): boolean {
  const want = pattern.split('.');
  const have = subject.split('.');
  for (const [i, token] of want.entries()) {
    if (token === '>') return have.length > i;
    if (have[i] === undefined || (token !== '*' && token !== have[i])) return false;
  }
  return have.length === want.length;
}
const may = (patterns: readonly string[], subject: string): boolean =>
  patterns.some((p) => matches(p, subject));

interface Party {
  readonly title: string;
  readonly node: number;
  readonly service: string;
  readonly instance?: string;
  readonly permissions: BusPermissions;
}
const rank = (word: string): number => (roles as readonly string[]).indexOf(word);
const services = contracts.map((c) => c.name);
const servicesOf3: Party[] = services.map((service) => ({
  title: `3-${service}`,
  node: 3,
  service,
  permissions: servicePermissions(cluster, contracts, { node: 3, service }),
}));
const people: Party[] = roles.map((role) => {
  const principal = { role, uid: 1000, gid: 100 };
  const permissions = userPermissions(cluster, contracts, principal);
  const service = principalName(principal);
  return { title: role, node: 0, service, instance: 'ab12', permissions };
});

/** What the words in `callers` mean, written out by hand. */
function expected(contract: Contract, op: string, party: Party, to: number): boolean {
  for (const caller of contract.ops[op]?.callers ?? []) {
    const [name, place] = caller.split('@');
    const role = rank(name ?? '');
    if (party.node === 0) {
      if (role >= 0 && rank(party.title) >= role) return true;
    } else if (role < 0 && (place === undefined || to === party.node))
      if (name === 'service' || name === party.service) return true;
  }
  return false;
}

describe('contracts: permissions on the bus', () => {
  test('every operation says who may call it', () => {
    for (const c of contracts)
      for (const [op, { callers }] of Object.entries(c.ops))
        expect(callers?.length, `${c.name}.${op}`).toBeGreaterThan(0);
  });

  test.each([...servicesOf3, ...people])(
    '$title may request exactly what the contracts say',
    (party) => {
      for (const contract of contracts)
        for (const op of Object.keys(contract.ops))
          for (const to of [3, 4]) {
            const subject = requestSubject({
              ...{ cluster, contract: contract.name, version: 1, to, op, from: party },
            });
            const right = expected(contract, op, party, to);
            expect(may(party.permissions.publish, subject), subject).toBe(right);
            expect(mayCall(contract.ops[op]?.callers, party, to), subject).toBe(right);
          }
    },
  );

  test.each([...servicesOf3, ...people])('$title speaks for nobody else', (party) => {
    const others = [...servicesOf3, ...people, { node: 4, service: party.service }]
      .filter((o) => o.node !== party.node || o.service !== party.service)
      .map(({ node, service }) =>
        node === 0 ? { node, service, instance: 'ff' } : { node, service },
      );
    for (const from of others) {
      for (const contract of contracts)
        for (const op of [...Object.keys(contract.ops), 'hello', 'ack']) {
          const q = { cluster, contract: contract.name, version: 1, to: 3, op, from };
          expect(may(party.permissions.publish, requestSubject(q))).toBe(false);
        }
      const caller = { node: 4, service: 'vproc' };
      expect(may(party.permissions.publish, replySubject(cluster, caller, from))).toBe(false);
      expect(may(party.permissions.subscribe, `${inboxSubject(cluster, from)}`)).toBe(false);
      expect(may(party.permissions.subscribe, replySubject(cluster, from, caller))).toBe(false);
    }
    expect(may(party.permissions.publish, '$KV.ssi_c.view')).toBe(party.service === 'clms');
    expect(may(party.permissions.publish, 'ssi.other.vproc.v1.3.list.3-vproc')).toBe(false);
  });

  test('a service hears its own requests and replies, a person only replies', () => {
    for (const party of [...servicesOf3, ...people])
      for (const contract of services)
        for (const to of [3, 4]) {
          const right = party.node === to && party.service === contract;
          const subject = serverSubject({ cluster, contract, to });
          expect(may(party.permissions.subscribe, subject), subject).toBe(right);
        }
    const [vproc] = servicesOf3.filter((s) => s.service === 'vproc');
    expect(
      may(vproc?.permissions.subscribe ?? [], inboxSubject(cluster, { node: 3, service: 'vproc' })),
    ).toBe(true);
    for (const { permissions, node, service, instance } of people)
      expect(may(permissions.subscribe, `ssi.c.reply.${node}-${service}.${instance}.>`)).toBe(true);
  });

  test('a principal is read back; an operator acts for himself only, an admin and a service for anybody', () => {
    const alice = { role: 'operate', uid: 1000, gid: 100 } as const;
    expect(parsePrincipal(principalName(alice))).toEqual(alice);
    expect(parsePrincipal('client_0123456789abcdef')).toBeUndefined();
    expect(parsePrincipal('root_0_0')).toBeUndefined();
    const asAlice = { node: 0, service: principalName(alice) };
    expect(mayActFor(asAlice, 1000)).toBe(true);
    expect(mayActFor(asAlice, 1000, 0)).toBe(false);
    expect(mayActFor(asAlice, 0)).toBe(false);
    expect(mayActFor({ node: 0, service: 'admin_0_0' }, 1000)).toBe(true);
    expect(mayActFor({ node: 3, service: 'vproc' }, 1000)).toBe(true);
  });
});
