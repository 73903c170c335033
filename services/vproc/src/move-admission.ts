// Target: may this tree come here? One reason for each thing that stands against it, and where nothing
// does, room, numbers and a stream are kept for it.
import {
  fail,
  ics,
  type MoveReason,
  ok,
  type Reply,
  type ReplyOf,
  type RequestOf,
  type vproc,
} from '@ssi/contracts';
import type { ServedCall } from '@ssi/ports';
import { addressOf } from './floating-addresses.ts';
import type { LocalNode } from './local-node.ts';
import type { MoveParts } from './move-parts.ts';
import { roomReasons } from './move-room.ts';
import { numbersOf } from './move-set.ts';

export type NegotiateRequest = RequestOf<(typeof vproc)['ops']['moveNegotiate']>;
export type NegotiateReply = ReplyOf<(typeof vproc)['ops']['moveNegotiate']>;

/** Trees that may be on their way here at one time. */
const incomingMax = 8;

/** Everything at this node that stands against the tree. */
export async function objections(
  parts: MoveParts,
  request: NegotiateRequest,
): Promise<MoveReason[]> {
  const { node, holds, moves } = parts;
  const { preflight } = node.deps.ports;
  const reasons: MoveReason[] = [];
  if (node.frozen || !node.leased)
    reasons.push({ code: 'EFROZEN', detail: `node ${node.num} has no lease` });
  if (request.kind === 'native') reasons.push(...(await unlikeness(node, request)));
  const files = request.files.map(({ path, sizeBytes, digest }) =>
    digest === undefined ? { path, sizeBytes } : { path, sizeBytes, digest },
  );
  reasons.push(...(await preflight.checkFiles(files)));
  for (const { pid } of request.tasks)
    if (parts.stubs.has(pid))
      reasons.push({
        code: 'EPARENT',
        pid,
        detail: `its stub has the number on node ${node.num}, for its parent: any other node will do`,
      });
  const addr = addressOf(request.tasks);
  if (addr !== undefined && !node.deps.ports.addresses?.reaches(addr))
    reasons.push({ code: 'ETCPADDR', detail: `${addr} is in no network of node ${node.num}` });
  const numbers = numbersOf(request.tasks);
  reasons.push(...(await preflight.checkNumbers(numbers, holds.all())));
  for (const move of moves.active.values()) {
    if (move.moveId === request.moveId) continue;
    for (const pid of move.pids)
      if (numbers.includes(pid))
        reasons.push({ code: 'EPIDBUSY', pid, detail: 'another move here concerns it' });
  }
  reasons.push(...(await roomReasons(node, request.bytesEstimate)));
  return reasons;
}

/** What of this machine differs from the source's, where a native tree would notice. */
async function unlikeness(node: LocalNode, request: NegotiateRequest): Promise<MoveReason[]> {
  const { criu, preflight } = node.deps.ports;
  const reasons: MoveReason[] = [];
  const version = await criu.version();
  if (!version.ok)
    reasons.push({
      code: 'EKERNELFEATURE',
      detail: `no criu on node ${node.num}: ${version.detail}`,
    });
  else if (version.value !== request.criu)
    reasons.push({
      code: 'EKERNELFEATURE',
      detail: `criu is ${version.value} on node ${node.num}, ${request.criu} at the source`,
    });
  if (preflight.kernel() !== request.kernel)
    reasons.push({
      code: 'EKERNELFEATURE',
      detail: `the kernel is ${preflight.kernel()} on node ${node.num}, ${request.kernel} at the source`,
    });
  const flags = new Set(preflight.cpuFlags());
  const lacking = request.cpuFlags.filter((f) => !flags.has(f));
  if (lacking.length > 0)
    reasons.push({ code: 'ECPU', detail: `node ${node.num} lacks ${lacking.join(' ')}` });
  return reasons;
}

export async function admit(
  parts: MoveParts,
  request: NegotiateRequest,
  call: ServedCall,
): Promise<Reply<NegotiateReply, 'EAGAIN' | 'ESTALE' | 'ENETDOWN'>> {
  const { node, moves } = parts;
  const source = { num: request.source.node, incarnation: request.source.incarnation };
  if (!(await node.atView(call.transid, 2_000))) return fail('EAGAIN', 'not at your view yet');
  if (node.isGone(source)) return fail('ESTALE', 'that incarnation is DOWN');
  // Where membership does not answer, a copy that was committed here could never be resumed: the source
  // must learn that while it still has its own.
  const [reasons, confirmed] = await Promise.all([
    objections(parts, request),
    request.dryRun ? ok() : node.confirm(source, call.context),
  ]);
  if (reasons.length > 0 || request.dryRun) return ok({ reasons });
  if (!confirmed.ok) return fail('EAGAIN', `${confirmed.errno} ${confirmed.detail}`);
  const incoming = [...moves.active.values()].filter((m) => m.side === 'target').length;
  if (incoming >= incomingMax) return fail('EAGAIN', `${incoming} trees are on their way here`);
  if (!node.listener) return fail('EAGAIN', 'no listener for streams yet');
  const grant = await node.deps.ics.call(
    ics,
    'grant',
    node.num,
    { service: 'vproc', peer: source.num, purpose: 'move' },
    { context: call.context },
  );
  if (!grant.ok) return fail('EAGAIN', `no grant: ${grant.errno} ${grant.detail}`);
  const { port, acceptBare } = node.listener;
  const takesAhead = request.ahead && node.deps.ports.ahead && acceptBare;
  const second = takesAhead
    ? await node.deps.ics.call(
        ics,
        'grant',
        node.num,
        { service: 'vproc', peer: source.num, purpose: 'ahead' },
        { context: call.context },
      )
    : undefined;
  const aheadToken = second?.ok ? { aheadToken: second.value.token } : {};
  return ok({ reasons, grant: { ...grant.value, port, ...aheadToken } });
}
