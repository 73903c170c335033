// Source: large memory goes to the target while the tree still runs; in the freeze only what changed goes,
// beside the images, which hold the rest.
import { fail, ok, type Reply } from '@ssi/contracts';
import { withSpan } from '@ssi/telemetry';
import type { SourceMove } from './move-source.ts';
import type { SendingAhead } from './ports.ts';

/** What takes longer than this is not sent ahead: the target's reservation would end. */
const readyMs = 90_000;

/** undefined: nothing can go ahead, all goes with the images. */
export async function sendAhead(move: SourceMove): Promise<SendingAhead | undefined> {
  const { ports, clock, tracer, log } = move.parts.node.deps;
  const connection = move.negotiation?.ahead;
  if (!connection) return undefined;
  const pids = move.record.tasks.map((t) => t.pid);
  const sending = ports.ahead?.send(move.moveId, pids, connection, move.record.postCopy ?? false);
  if (!sending) return undefined;
  const parent = move.context.traceparent;
  const late = clock.after(readyMs, () => sending.stop());
  const ready = await withSpan(tracer, 'ahead', { parent }, () => sending.ready);
  late.cancel();
  if (ready.ok) {
    move.ahead = sending;
    return sending;
  }
  log.warn('no memory was sent ahead', { move: move.moveId, detail: ready.detail });
  sending.stop();
  return undefined;
}

/** What was sent ahead is of no use: the same move without it may well succeed. */
export const aheadFailed = 'memory sent ahead: ';

/** The target has what was sent ahead: its bytes. */
export async function finishAhead(
  sending: SendingAhead | undefined,
): Promise<Reply<number, 'ECANCELED'>> {
  if (!sending) return ok(0);
  const done = await sending.done;
  if (!done.ok) return fail('ECANCELED', `${aheadFailed}${done.detail}`);
  return ok(done.value.bytes);
}

/** Post-copy: has the target lost its source of pages already? Known only where it has. */
export const aheadBroke = async (move: SourceMove): Promise<string | undefined> => {
  const all = await Promise.race([move.ahead?.all, Promise.resolve()]);
  return all && !all.ok ? all.detail : undefined;
};

/** Post-copy: until the stopped copy's memory has gone, or there is nobody to send it to. */
export async function sendTheRest(move: SourceMove): Promise<void> {
  const { node } = move.parts;
  const { tracer, log } = node.deps;
  const { ahead } = move;
  if (!ahead) return;
  ahead.rest();
  const stopIfGone = (): void => {
    if (move.peerGone()) ahead.stop();
  };
  const off = node.onView(stopIfGone);
  stopIfGone();
  const all = await withSpan(
    tracer,
    'post-copy',
    { parent: move.context.traceparent },
    () => ahead.all,
  );
  off();
  if (!all.ok) log.error('post-copy: the target kills its copy', { detail: all.detail });
}
