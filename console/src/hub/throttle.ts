/**
 * throttle calls f for a key at once, and then, while more calls come, again after the
 * longer of least and three times what f last took.
 */
export function throttle(f: (key: string) => Promise<unknown>, least: number): (key: string) => void {
  const state = new Map<string, { busy: boolean; again: boolean }>();
  const run = async (key: string, s: { busy: boolean; again: boolean }) => {
    s.busy = true;
    const began = performance.now();
    try {
      await f(key);
    } catch {
      // The query itself shows its error.
    }
    setTimeout(
      () => {
        s.busy = false;
        if (s.again) {
          s.again = false;
          void run(key, s);
        }
      },
      Math.max(least, 3 * (performance.now() - began)),
    );
  };
  return (key) => {
    let s = state.get(key);
    if (!s) state.set(key, (s = { busy: false, again: false }));
    if (s.busy) s.again = true;
    else void run(key, s);
  };
}
