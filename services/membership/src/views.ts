// The view this node has applied: in transid order, kept on disk, told to the local services and to
// listeners. A node that missed some asks whoever is ahead.
import { clms, type View } from '@ssi/contracts';
import { type MembershipDeps, type NodeState, selfIn } from './state.ts';
import { transitions } from './view.ts';

export interface HistoryEvent {
  readonly transid: number;
  readonly atMs: number;
  readonly num: number;
  readonly from: View['members'][number]['state'];
  readonly to: View['members'][number]['state'];
  readonly detail: string;
}

/** Events kept for people. */
const historyMax = 1_000;

export interface Views {
  /** False: not newer than the one applied. */
  apply(view: View): boolean;
  /** Another cluster, or a life that never was: nothing applied any more. */
  forget(): void;
  /** Asks `num` for its view, once at a time. */
  fetch(num: number): Promise<void>;
  history(since: number): HistoryEvent[];
}

export function createViews(
  deps: MembershipDeps,
  state: NodeState,
  onApplied: (view: View, before: View | undefined) => void,
): Views {
  const { log, clock, disk } = deps;
  let events: HistoryEvent[] = [];
  let fetching = false;
  let saving = false;
  let unsaved: { clusterId: string; view: View } | undefined;

  /** Newest wins: views that came while one was being written are skipped. */
  async function save(): Promise<void> {
    if (saving) return;
    saving = true;
    for (let next = unsaved; next; next = unsaved) {
      unsaved = undefined;
      await disk.saveView(next).catch((e: unknown) => {
        log.error('view not saved', { error: String(e), transid: next.view.transid });
      });
    }
    saving = false;
  }

  const views: Views = {
    apply(view) {
      const before = state.view;
      if (before && view.transid <= before.transid) return false;
      state.view = view;
      if (state.clusterId) {
        unsaved = { clusterId: state.clusterId, view };
        void save();
      }
      for (const t of transitions(before, view)) {
        events.push({ transid: view.transid, atMs: clock.wallMs(), ...t });
        log.info('transition', { transid: view.transid, term: view.term, ...t });
      }
      if (events.length > historyMax) events = events.slice(-historyMax);
      const isMember = selfIn(state) !== undefined;
      deps.ics.setView(view, isMember ? state.id : undefined);
      if (isMember) deps.onMember?.(state.id);
      onApplied(view, before);
      return true;
    },
    forget() {
      state.view = undefined;
      events = [];
    },
    async fetch(num) {
      if (fetching || num === state.id.num) return;
      fetching = true;
      const reply = await deps.ics.call(clms, 'members', num, {}, { timeoutMs: 1_000 });
      fetching = false;
      if (reply.ok) views.apply(reply.value.view);
    },
    history: (since) => events.filter((e) => e.transid > since),
  };
  return views;
}
