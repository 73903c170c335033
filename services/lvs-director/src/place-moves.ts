// What of a change is only that places go to other servers which are in the table already: that can be done ahead of the
// rest, and fast. A server that leaves has then no place any more, and one that comes gets its places after it is there.
import type { Numbered } from './nft-rules.ts';

export interface PlaceChange {
  /** Of a map in `ip ssi_lvs` from mark to mark. */
  readonly map: string;
  readonly gone: readonly number[];
  readonly come: readonly (readonly [place: number, mark: number])[];
}

export interface Moves {
  readonly changes: readonly PlaceChange[];
  /** What puts it back. */
  readonly back: readonly PlaceChange[];
  /** What is in the table after `changes`. */
  readonly moved: readonly Numbered[];
}

export function placeMoves(before: readonly Numbered[], after: readonly Numbered[]): Moves {
  const changes: PlaceChange[] = [];
  const back: PlaceChange[] = [];
  const moved = before.map((was): Numbered => {
    const is = after.find((s) => s.number === was.number);
    if (!is || is.places.servers.length !== was.places.servers.length) return was;
    const known = new Map(was.marks.map((mark, at) => [mark, at]));
    const [gone, come, wasThere, isThere]: [
      number[],
      [number, number][],
      [number, number][],
      number[],
    ] = [[], [], [], []];
    const servers = was.places.servers.map((at, place) => {
      const to = is.places.servers[place] ?? -1;
      const [old, next] = [was.marks[at], is.marks[to]];
      // For one that is new its place waits.
      if (old === next || (next !== undefined && !known.has(next))) return at;
      if (old !== undefined) {
        gone.push(place);
        wasThere.push([place, old]);
      }
      if (next === undefined) return -1;
      come.push([place, next]);
      isThere.push(place);
      return known.get(next) ?? -1;
    });
    if (gone.length + come.length === 0) return was;
    const map = `s${was.number}_places`;
    changes.push({ map, gone, come });
    back.push({ map, gone: isThere, come: wasThere });
    return { ...was, places: { ...was.places, servers } };
  });
  return { changes, back, moved };
}
