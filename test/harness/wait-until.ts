// Waiting for a condition, never for a time: the only way a test of the real cluster waits.

/**
 * Polls until `condition` gives something truthy and returns that. At the deadline it fails with
 * `describe()`'s picture of the world, which is what one needs to understand why.
 */
export async function waitUntil<T>(
  what: string,
  condition: () => Promise<T | undefined | false> | T | undefined | false,
  deadlineMs: number,
  describe: () => Promise<string> | string = () => '',
): Promise<T> {
  const end = performance.now() + deadlineMs;
  for (;;) {
    const value = await condition();
    if (value) return value;
    if (performance.now() > end)
      throw new Error(`not within ${deadlineMs} ms: ${what}\n${await describe()}`);
    await new Promise((done) => setTimeout(done, 20));
  }
}
