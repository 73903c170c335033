// How many votes decide. Every member that may still be talked to has one vote; a nodedown shrinks the
// count only by a committed view, a graceful leave at once. Options as votequorum(5) names them.
import { talksIn, type View } from '@ssi/contracts';

export interface QuorumOptions {
  /** Static number of votes expected; absent: the members of the last committed view. [expected_votes] */
  readonly expectedVotes?: number;
  /** Two voters of whom one is enough; implies waitForAll. Meant with a fence agent. [two_node] */
  readonly twoNode?: boolean;
  /** A cold start needs every voter once. [wait_for_all] */
  readonly waitForAll?: boolean;
  /** Of an even split the half with the lowest node number goes on. [auto_tie_breaker] */
  readonly autoTieBreaker?: boolean;
}

/** Node numbers with a vote in this view, ascending. */
export const votersOf = (view: View): number[] =>
  view.members.filter((m) => talksIn(m.state)).map((m) => m.num);

export const expectedVotes = (voters: readonly number[], options: QuorumOptions): number =>
  Math.max(options.expectedVotes ?? 0, voters.length);

/** Whether `have` (a part of `voters`) may decide. */
export function isQuorum(
  have: readonly number[],
  voters: readonly number[],
  options: QuorumOptions,
): boolean {
  const given = new Set(have);
  const votes = voters.filter((v) => given.has(v));
  const expected = expectedVotes(voters, options);
  if (expected === 0) return true;
  if (options.twoNode && expected === 2) return votes.length >= 1;
  if (votes.length * 2 > expected) return true;
  return (
    options.autoTieBreaker === true &&
    votes.length * 2 === expected &&
    votes.includes(Math.min(...voters))
  );
}

/** Whether `have` may start a cluster of which nobody runs. [wait_for_all] */
export const isColdQuorum = (
  have: readonly number[],
  voters: readonly number[],
  options: QuorumOptions,
): boolean =>
  (options.waitForAll ?? options.twoNode)
    ? voters.every((v) => have.includes(v))
    : isQuorum(have, voters, options);
