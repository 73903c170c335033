// OpenSSI's libcluster by its own names, on top of the handle: what a program written for OpenSSI looks
// for first. Each is one call of `Ssi`. [OpenSSI libcluster, section 3ssi]
import { hostname } from 'node:os';
import { type ExitStatus, fail, ok, type Reply } from '@ssi/contracts';
import type { ActorDefinition, ActorRef } from './actor/define.ts';
import type { ClusterEvent } from './events.ts';
import type { NodeInfo, Ssi } from './handle.ts';
import { isOnNode } from './own-process.ts';

/** One node's number, name, state, incarnation and services. ENOENT: never seen. [clusternode_info(3ssi)] */
export async function clusternodeInfo(ssi: Ssi, num: number): Promise<Reply<NodeInfo>> {
  const nodes = await ssi.nodes();
  if (!nodes.ok) return nodes;
  const found = nodes.value.find((n) => n.num === num);
  return found ? ok(found) : fail('ENOENT', `no node ${num} in this cluster`);
}

/**
 * Number of the node this process runs on; ENOENT: on none. A program that moved is told by its node's
 * host name, since its environment stays what it was. [clusternode_num(3ssi)]
 */
export function clusternodeNum(env: NodeJS.ProcessEnv = process.env): Reply<number, 'ENOENT'> {
  const named = isOnNode() ? /^n(\d+)$/.exec(hostname())?.[1] : undefined;
  const num = Number(named ?? env.SSI_NODE);
  return Number.isInteger(num) && num > 0
    ? ok(num)
    : fail('ENOENT', 'this process does not run on a node; start it with: ssi onnode NUM');
}

/** Transition id and every node's state. [cluster_membership(3ssi)] */
export async function clusterMembership(
  ssi: Ssi,
): Promise<Reply<{ transid: number; nodes: { num: number; state: NodeInfo['state'] }[] }>> {
  const view = await ssi.view();
  if (!view.ok) return view;
  const { transid, members } = view.value;
  return ok({ transid, nodes: members.map(({ num, state }) => ({ num, state })) });
}

/** Transitions after `transid`, oldest first, as far as the cluster remembers; then each as it comes. [cluster_detailedtransition(3ssi)] */
export async function* clusterDetailedtransition(
  ssi: Ssi,
  transid: number,
  signal?: AbortSignal,
): AsyncGenerator<ClusterEvent> {
  for await (const event of ssi.events(signal ? { signal } : {}))
    if (event.transid > transid) yield event;
}

/** True where the node is UP. [clusternode_avail(3ssi)] */
export async function clusternodeAvail(ssi: Ssi, num: number): Promise<Reply<boolean>> {
  const view = await ssi.view();
  return view.ok ? ok(view.value.members.some((m) => m.num === num && m.state === 'UP')) : view;
}

/** Replaces a process's program by another on another node, same pid. [rexec(3ssi)] */
export const rexec = (
  ssi: Ssi,
  pid: number,
  node: number,
  argv: readonly string[],
  env: Readonly<Record<string, string>>,
): Promise<Reply<{ pid: number; node: number }>> => ssi.rexec(pid, node, argv, env);

/** A copy of an actor on another node. A program calls that of libssi by itself. [rfork(3ssi)] */
export const rfork = <D extends ActorDefinition>(
  ssi: Ssi,
  ref: ActorRef<D>,
  node: number,
): Promise<Reply<ActorRef<D>>> => ssi.rfork(ref, node);

/** Moves a process. [migrate(3ssi)] */
export const migrate = (ssi: Ssi, pid: number, node: number): ReturnType<Ssi['migrate']> =>
  ssi.migrate(pid, node);

/**
 * kill(2) for a process that must be on `node`; 0: wherever it is. ESRCH: it is not there.
 * It may move between the look and the signal: then it gets it where it is. [kill3(3ssi)]
 */
export async function kill3(
  ssi: Ssi,
  pid: number,
  signal: number,
  node = 0,
): Promise<Reply<{ delivered: number }>> {
  if (node !== 0) {
    const entry = await ssi.where(Math.abs(pid));
    if (!entry.ok) return entry;
    if (entry.value.node !== node) return fail('ESRCH', `${pid} is on node ${entry.value.node}`);
  }
  return ssi.kill(pid, signal);
}

/** Waits for any process of the cluster, child or not. `noHang`: EAGAIN while it runs. [waitpid(2)] */
export const waitpid = (
  ssi: Ssi,
  pid: number,
  options: { noHang?: boolean } = {},
): Promise<Reply<ExitStatus>> => ssi.wait(pid, options);
